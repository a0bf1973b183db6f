"""Cosines between tasks' gradients, against a network whose gradients are known."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

from yolor_mtl.build import Model, ModelConfig
from yolor_mtl.data.coco import open_coco
from yolor_mtl.data.labels import Labels
from yolor_mtl.models.gelan import Gelan
from yolor_mtl.models.network import Network
from yolor_mtl.models.trunks import TRUNKS, Trunk, build_trunk
from yolor_mtl.models.trunks.base import FeatureInfo
from yolor_mtl.records import Batch, LossOutput, Outputs
from yolor_mtl.tasks.base import Task
from yolor_mtl.training.diagnose import (
    PLACES,
    Cosines,
    draw_pictures,
    gradient_cosines,
    settle,
    still_batches,
    trunk_stages,
)

STAGES = ("stem", "p3", "trunk")


class Value(nn.Module):
    """Two numbers to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))


class ToyTrunk(Trunk):
    """``c2`` is two numbers, ``p3`` is these plus two others: gradients are what the losses multiply them with."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_info = {name: FeatureInfo(2, 1) for name in ("c2", "p3")}
        self.multiple = 1
        # Registered against the order in which the picture passes them.
        self.neck = nn.ModuleDict({"top_3": Value()})
        self.backbone = nn.ModuleDict({"stem": Value()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        stem, neck = self.backbone["stem"].weight, self.neck["top_3"].weight
        rows = images.new_zeros(len(images), 2)
        return {"c2": rows + stem, "p3": rows + stem + neck}


class Passing(nn.Module):
    """A head that gives what it reads."""

    def forward(self, features: Mapping[str, Tensor], read: Any, inputs: Any = None) -> Outputs:
        (feature,) = features.values()
        return {"value": feature}


def along(out: Outputs, targets: Mapping[str, Tensor], used: Any) -> LossOutput:
    """A loss whose gradient is the mean of the targets."""
    value = (out["value"] * targets["direction"]).sum()
    return LossOutput({"dot": (value, torch.tensor(float(len(out["value"]))))})


def toy(features: Mapping[str, str], weights: Mapping[str, float] | None = None) -> Model:
    """Tasks by the feature that each reads."""
    absent = cast("Any", None)
    tasks = tuple(
        Task(
            name,
            decode=absent,
            scoring=absent,
            show=absent,
            features=(feature,),
            head=Passing(),
            loss=along,
            weights={"dot": (weights or {}).get(name, 1.0)},
        )
        for name, feature in features.items()
    )
    heads = {task.name: cast("nn.Module", task.head) for task in tasks}
    network = Network(ToyTrunk(), heads, {task.name: task.features for task in tasks}, {})
    return Model(ModelConfig(), tiny.space(), tasks, network)


def batch(**directions: list[list[float]]) -> Batch:
    """Task -> a direction for each of its rows, which are the first ones of the batch."""
    targets = {name: {"direction": torch.tensor(rows)} for name, rows in directions.items()}
    rows = {name: torch.arange(len(found)) for name, found in directions.items()}
    return Batch(torch.zeros(max(map(len, directions.values())), 3, 4, 4), rows, targets)


def mean(found: Cosines, stage: str, first: str, second: str) -> float:
    agreement = found.between(stage, first, second)
    assert agreement is not None
    return agreement.mean


def test_by_hand() -> None:
    batches = [batch(a=[[1.0, 0.0]], b=[[1.0, 1.0]]), batch(a=[[1.0, 0.0], [0.0, 0.0]], b=[[-2.0, 4.0], [0.0, -4.0]])]
    found = gradient_cosines(toy({"a": "p3", "b": "p3"}), batches)
    assert (found.tasks, found.stages) == (("a", "b"), STAGES)
    # (1, 0) and (1, 1), then (1/2, 0) and (-1, 0); the trunk has every gradient twice, in the stem and in p3.
    values = [1 / math.sqrt(2), -1.0]
    for stage in STAGES:
        assert found.cosines[:, found.stages.index(stage), 0, 1].tolist() == pytest.approx(values)
        agreement = found.between(stage, "a", "b")
        assert agreement is not None
        assert agreement.mean == pytest.approx(np.mean(values))
        assert agreement.deviation == pytest.approx(np.std(values, ddof=1))
        assert agreement.error == pytest.approx(np.std(values, ddof=1) / math.sqrt(2))
        assert (agreement.negative, agreement.batches, agreement.clear) == (0.5, 2, False)
    assert found.norm("stem", "b") == pytest.approx((math.sqrt(2) + 1) / 2)
    assert found.norm("trunk", "b") == pytest.approx((2 + math.sqrt(2)) / 2)


def test_symmetric_and_one_with_itself() -> None:
    tasks = {"a": "p3", "b": "p3", "c": "c2"}
    found = gradient_cosines(toy(tasks), [batch(**{name: torch.randn(3, 2).tolist() for name in tasks})])
    for stage in ("stem", "trunk"):
        means = found.means(stage)
        np.testing.assert_allclose(means, means.T)
        np.testing.assert_allclose(np.diagonal(means), 1.0)
    assert mean(found, "stem", "b", "a") == mean(found, "stem", "a", "b")


def test_opposite_losses() -> None:
    direction = torch.randn(2, 2)
    found = gradient_cosines(
        toy({"a": "p3", "b": "p3"}), [batch(a=direction.tolist(), b=(-3 * direction).tolist())] * 2
    )
    for stage in STAGES:
        agreement = found.between(stage, "a", "b")
        assert agreement is not None
        assert (agreement.mean, agreement.negative, agreement.clear) == (pytest.approx(-1.0), 1.0, True)
        assert found.clear(stage).all()


def test_the_scale_of_a_loss_changes_norms_alone() -> None:
    given = [batch(a=torch.randn(2, 2).tolist(), b=torch.randn(2, 2).tolist()) for _ in range(3)]
    tasks = {"a": "p3", "b": "p3"}
    plain = gradient_cosines(toy(tasks), given)
    scaled = gradient_cosines(toy(tasks, {"a": 1000.0}), given)
    np.testing.assert_allclose(scaled.cosines, plain.cosines, rtol=1e-5)
    np.testing.assert_allclose(scaled.norms, plain.norms * [1000.0, 1.0], rtol=1e-5)


def test_a_pair_never_labelled_together_has_no_number() -> None:
    tasks = {"a": "p3", "b": "p3", "c": "p3", "d": "p3"}
    one = [[1.0, 1.0]]
    found = gradient_cosines(toy(tasks), [batch(a=one, b=one, d=[]), batch(a=one, c=one)])
    assert found.tasks == ("a", "b", "c")
    assert found.between("p3", "b", "c") is None
    assert np.isnan(found.means("p3")[1, 2])
    agreement = found.between("p3", "a", "b")
    assert agreement is not None
    assert (agreement.batches, agreement.deviation, agreement.error) == (1, None, None)
    assert not agreement.clear
    numbers = found.numbers()
    assert not any("b+c" in key for key in numbers)
    assert "p3/a+b/deviation" not in numbers
    assert json.loads(json.dumps(numbers)) == numbers


def test_a_stage_that_a_task_does_not_reach() -> None:
    one = [[1.0, 1.0]]
    found = gradient_cosines(toy({"a": "p3", "b": "c2"}), [batch(a=one, b=one)])
    assert found.norm("p3", "b") is None
    assert found.between("p3", "a", "b") is None
    assert mean(found, "stem", "a", "b") == pytest.approx(1.0)
    # Of the whole trunk b has the stem's half.
    assert mean(found, "trunk", "a", "b") == pytest.approx(1 / math.sqrt(2))
    assert "p3/b/norm" not in found.numbers()


def test_a_gradient_of_zero_and_batches_of_nothing() -> None:
    nothing = Batch(torch.zeros(0, 3, 0, 0))
    found = gradient_cosines(toy({"a": "p3", "b": "p3"}), [nothing, batch(a=[[0.0, 0.0]], b=[[1.0, 0.0]])])
    assert found.tasks == ("b",)
    assert len(found.cosines) == 1
    assert gradient_cosines(toy({"a": "p3"}), [nothing]).tasks == ()


def test_no_gradient_is_left_behind() -> None:
    model = toy({"a": "p3", "b": "p3"})
    gradient_cosines(model, [batch(a=[[1.0, 0.0]], b=[[1.0, 0.0]])])
    assert all(parameter.grad is None for parameter in model.network.parameters())
    assert not model.network.training


@pytest.mark.parametrize("kind", TRUNKS)
def test_every_part_of_every_trunk_is_in_a_stage(kind: str) -> None:
    demand = {"c3", "p3", "p4", "p5"} | ({"s2", "m2", "a3"} if kind == "gyolo" else set())
    trunk = build_trunk({"kind": kind, "width": 0.25}, demand)
    trunk.align()
    stages = trunk_stages(trunk)
    named = [*dict.fromkeys(PLACES.values())]
    known = [stage for stage in stages if stage in named]
    assert known == [stage for stage in named if stage in stages]
    assert known[:10] == ["stem", "c2", "c3", "c4", "c5", "pool", "n4", "p3", "p4", "p5"]
    assert list(stages)[len(known) :] == (["auxiliary"] if kind == "gyolo" else [])
    held = [id(parameter) for part in stages.values() for parameter in part]
    assert sorted(held) == sorted(id(parameter) for parameter in trunk.parameters())


def test_what_training_cuts_is_cut() -> None:
    block = nn.Sequential(Gelan(16, 16, 16, 8, 1, shares=2))
    settle(block)
    images = torch.randn(1, 16, 4, 4, requires_grad=True)
    block(images)[:, 8:].sum().backward()
    assert images.grad is None or not images.grad.any()
    assert not any(module.training for module in block.modules() if isinstance(module, nn.BatchNorm2d))


def joint(model_tasks: list[Task]) -> dict[str, Labels]:
    return {task.name: task.labels for task in model_tasks if task.labels is not None}


@pytest.fixture
def still(scenes: Path) -> tuple[list[Batch], dict[str, Labels]]:
    tasks, _ = tiny.build()
    labels = {name: each for name, each in joint(tasks).items() if name in ("detection", "captioning")}
    dataset = open_coco(scenes, ["train"])
    pictures = draw_pictures(dataset, labels, 5)
    assert sorted(pictures) != pictures
    assert len({*pictures}) == 5
    assert draw_pictures(dataset, labels, 100, seed=1) != draw_pictures(dataset, labels, 100)
    return list(still_batches(dataset, labels, pictures, (64, 64), batch=2)), labels


def test_all_tasks_read_the_same_pictures(still: tuple[list[Batch], dict[str, Labels]]) -> None:
    batches, labels = still
    assert [len(each.images) for each in batches] == [2, 2, 1]
    for each in batches:
        assert each.rows["detection"].tolist() == each.rows["captioning"].tolist() == [*range(len(each.images))]
    assert {name: each.view for name, each in labels.items()} == {"detection": "vision", "captioning": "language"}
