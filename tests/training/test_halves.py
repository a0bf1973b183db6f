"""Batches that are too large for the memory: halved, said aloud, and as good as the whole."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import runs
import tiny
import torch

from yolor_mtl.build import ModelConfig, build_model
from yolor_mtl.models.network import Network
from yolor_mtl.records import Batch, Fault
from yolor_mtl.tasks.base import task_losses, total_loss
from yolor_mtl.training.config import TrainConfig
from yolor_mtl.training.halves import Halving, halves
from yolor_mtl.training.history import read_rows
from yolor_mtl.training.module import JointStep
from yolor_mtl.training.plan import Plan

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB."
TWO = {"tasks": "[semantic,captioning]"}
"""One of each view: the quickest to score."""
TRAINED = ("detection", "instance", "semantic", "captioning")


def precision(scaler: torch.amp.GradScaler | None = None) -> SimpleNamespace:
    """What Lightning computes in: here always float32, with or without a scaled loss."""
    return SimpleNamespace(forward_context=nullcontext, scaler=scaler)


@pytest.fixture
def module() -> JointStep:
    model = build_model(ModelConfig(64, tiny.TRUNK, tiny.BLOCKS), tiny.space())
    # In eval mode a picture does not feel the others, and nothing is dropped.
    model.network.eval()
    step = JointStep(model, TrainConfig(), Plan(50))
    step._trainer = SimpleNamespace(world_size=1, global_step=7, precision_plugin=precision())
    return step


def batch(rows: int = 2) -> Batch:
    """The two labelled pictures over and over."""
    images, targets = tiny.images(), tiny.targets()
    assert len(images) == 2
    if rows == 1:
        images = images[:1]
    of_task = {name: torch.arange(len(images)) for name in TRAINED}
    return Batch(images, of_task, {name: targets[name] for name in TRAINED})


def test_halves_have_pictures_of_each_view(module: JointStep) -> None:
    captions = {"tokens": torch.tensor([[1, 2], [3, 4], [5, 6]]), "image": torch.tensor([0, 0, 1])}
    given = Batch(
        torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 3, 4, 4),
        {"semantic": torch.tensor([0, 1, 3]), "captioning": torch.tensor([4, 5])},
        {"semantic": {"maps": torch.arange(3)[:, None]}, "captioning": captions},
    )
    even, odd = halves(given, module.halving.labels)
    assert even.batch.images[:, 0, 0, 0].tolist() == [0, 2, 4]
    assert odd.batch.images[:, 0, 0, 0].tolist() == [1, 3, 5]
    assert {name: rows.tolist() for name, rows in even.batch.rows.items()} == {"semantic": [0], "captioning": [2]}
    assert {name: rows.tolist() for name, rows in odd.batch.rows.items()} == {"semantic": [0, 1], "captioning": [2]}
    assert odd.batch.targets["semantic"]["maps"].tolist() == [[1], [2]]
    assert even.batch.targets["captioning"]["tokens"].tolist() == [[1, 2], [3, 4]]
    assert odd.batch.targets["captioning"]["image"].tolist() == [0]
    assert even.shares == {"semantic": 1 / 3, "captioning": 1 / 2}
    assert odd.shares == {"semantic": 2 / 3, "captioning": 1 / 2}


def test_a_task_in_one_half_alone_counts_whole(module: JointStep) -> None:
    given = batch()
    given.rows["captioning"] = torch.tensor([1])
    given.targets["captioning"] = {"tokens": torch.tensor([[1, 2]]), "image": torch.tensor([0])}
    even, odd = halves(given, module.halving.labels)
    assert (even.shares["captioning"], odd.shares["captioning"]) == (0, 1)
    assert even.batch.targets["captioning"] == {}


def test_a_single_picture_stays_whole(module: JointStep) -> None:
    (piece,) = halves(batch(1), module.halving.labels)
    assert not piece.shares


def test_the_gradient_is_that_of_the_halves_together(module: JointStep) -> None:
    other, given = copy.deepcopy(module.network), batch()
    module.halving.on = True
    loss = module.training_step(given, 0)
    assert loss is not None
    module.backward(loss)
    pieces = [piece.batch for piece in halves(given, module.halving.labels)]
    totals = []
    for piece in pieces:
        outputs = other(piece.images, rows=piece.rows, inputs=piece.targets)
        totals.append(total_loss(module.tasks, task_losses(module.tasks, outputs, piece.targets))[0])
    (sum(totals) / 2).backward()
    assert sum(module.parts.values()) == pytest.approx(float(sum(totals).detach()) / 2, rel=1e-5)
    for (name, found), expected in zip(module.network.named_parameters(), other.parameters(), strict=True):
        if found.requires_grad:
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_scaled_losses_are_scaled_in_both_halves(module: JointStep) -> None:
    plain = copy.deepcopy(module)
    plain._trainer, module.halving.on, plain.halving.on = copy.copy(module._trainer), True, True
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    given = batch()
    plain.backward(plain.training_step(given, 0))
    module._trainer.precision_plugin = precision(scaler)
    module.backward(scaler.scale(module.training_step(given, 0)))
    for found, expected in zip(module.network.parameters(), plain.network.parameters(), strict=True):
        if found.requires_grad:
            torch.testing.assert_close(found.grad / 2**12, expected.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("on", "world", "possible"), [(True, 1, True), (False, 2, True), (False, 1, False)])
def test_where_halves_do_not_help(on: bool, world: int, possible: bool) -> None:
    halving = Halving({}, 16, 1, pytest.fail, possible=possible)
    halving.on = on
    with pytest.raises(Fault, match=r"out of memory at step 3 with batch=16.*; batch=8 accumulate=2, or"):
        halving.begin(torch.OutOfMemoryError(FULL), 3, world)


def test_any_other_error_is_raised() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        Halving({}, 16, 1, pytest.fail).begin(RuntimeError("shape"), 3, 1)


def limited(monkeypatch: pytest.MonkeyPatch, room: int) -> list[int]:
    """The network, with memory for so many pictures in training; the sizes that went through."""
    forward, sizes = Network.forward, []

    def checked(self: Network, images: torch.Tensor, *given: Any, **more: Any) -> Any:
        if self.training:
            if len(images) > room:
                raise torch.OutOfMemoryError(FULL)
            sizes.append(len(images))
        return forward(self, images, *given, **more)

    monkeypatch.setattr(Network, "forward", checked)
    return sizes


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_goes_on_in_halves(
    command: runs.Command, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    sizes, out = limited(monkeypatch, 2), tmp_path / "run"
    said = command("train", *runs.words(**TWO, data=scenes, out=out, accumulate=accumulate))
    assert said.code == 0, said.err
    told = " ".join(said.out.split())
    assert told.count("out of memory at step 0 with batch=4: this one is left out") == 1
    assert f"batch=2 accumulate={2 * accumulate}" in told
    assert set(sizes) == {2}
    assert len(sizes) == 2 * (8 - 1)
    assert int(read_rows(out / "metrics.csv")[-1]["step"]) == 8 // accumulate
    assert all(value == value for row in read_rows(out / "losses.csv") for value in row.values())


def test_a_training_that_does_not_fit_even_so(
    command: runs.Command, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, 1)
    said = command("train", *runs.words(**TWO, data=scenes, out=tmp_path / "run"))
    assert said.code == 3
    assert "with batch=4 in halves; batch=2 accumulate=2" in said.err
    assert f"the state is kept, go on with resume={tmp_path / 'run'}" in said.err
    assert "Traceback" not in said.out + said.err


def test_no_memory_for_the_gradients(
    command: runs.Command, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward, calls = pl.LightningModule.backward, iter(range(1000))

    def once(self: Any, loss: torch.Tensor, *given: Any, **more: Any) -> None:
        if next(calls) == 5:
            raise torch.OutOfMemoryError(FULL)
        backward(self, loss, *given, **more)

    monkeypatch.setattr(pl.LightningModule, "backward", once)
    out = tmp_path / "run"
    said = command("train", *runs.words(**TWO, data=scenes, out=out))
    assert said.code == 0, said.err
    assert "out of memory at step 5 with batch=4" in said.out
    assert int(read_rows(out / "metrics.csv")[-1]["step"]) == 8
    assert next(calls) == 8 + 2  # the last two steps in halves
