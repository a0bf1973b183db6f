"""The order of tasks, the total loss, joint steps with labels missing, and answers of the whole table of tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import BLOCKS, boxes_table, build, images, targets
from torch import Tensor

from yolor_mtl.ops.frame import letterbox_frame
from yolor_mtl.records import IGNORE, LossOutput, UserError
from yolor_mtl.tasks import TASKS
from yolor_mtl.tasks.base import (
    Canvas,
    DecodeOptions,
    Task,
    decode_all,
    ordered,
    task_losses,
    task_totals,
    total_loss,
    view_named,
)

PARTS: Any = {"decode": None, "scoring": None, "show": None}


def _task(name: str, **changes: Any) -> Task:
    return replace(Task(name=name, **PARTS), **changes)


def test_order() -> None:
    found = ordered([_task("c", uses=("b",)), _task("b", reads=("a",)), _task("a"), _task("d")])
    assert [task.name for task in found] == ["a", "b", "c", "d"]
    assert ordered([]) == []


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([_task("a", uses=("b",))], r"task 'a' needs \['b'\]"),
        ([_task("a", uses=("b",)), _task("b", reads=("a",))], "circle"),
        ([_task("a", uses=("a",))], "circle"),
    ],
)
def test_order_refused(tasks: list[Task], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ordered(tasks)


def test_total() -> None:
    losses = {
        "a": LossOutput({"x": (torch.tensor(6.0), torch.tensor(3.0)), "y": (torch.tensor(5.0), torch.tensor(0.0))})
    }
    tasks = [_task("a", weights={"x": 10.0}), _task("b")]
    total, parts = total_loss(tasks, losses)
    # 10 * 6 / 3, and 5 / 1: a count below one divides by one.
    assert total.item() == 25
    assert {name: part.item() for name, part in parts.items()} == {"a/x": 20, "a/y": 5}
    assert total_loss(tasks, losses, {"a/x": 6.0, "a/y": 1.0})[0].item() == 15
    assert total_loss(tasks, {})[0].item() == 0


def test_totals_by_task() -> None:
    losses = {
        name: LossOutput({"x": (torch.tensor(6.0), torch.tensor(3.0)), "y": (torch.tensor(1.0), torch.tensor(1.0))})
        for name in ("a", "b")
    }
    totals, parts = task_totals([_task("a"), _task("b", weights={"x": 0.5}), _task("c")], losses)
    assert {name: total.item() for name, total in totals.items()} == {"a": 3, "b": 2}
    assert len(parts) == 4
    assert task_totals([_task("a")], {}) == ({}, {})


def test_views() -> None:
    assert view_named("vision", "k") == "vision"
    with pytest.raises(UserError, match=r"k='lang'.*known: vision, language"):
        view_named("lang", "k")


def _step(wanted: dict[str, dict[str, Tensor]], rows: dict[str, Tensor] | None = None) -> dict[str, float]:
    """A joint step; returns its terms after asserting that they and all gradients are finite."""
    torch.manual_seed(0)
    tasks, network = build()
    network.train()
    outputs = network(
        images(), rows=rows, inputs={"captioning": wanted["captioning"]} if "captioning" in wanted else None
    )
    total, parts = total_loss(tasks, task_losses(tasks, outputs, wanted))
    assert torch.isfinite(total)
    total.backward()
    grads = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert grads
    assert all(torch.isfinite(grad).all() for grad in grads)
    return {name: part.item() for name, part in parts.items()}


def test_a_batch_without_any_object_mask_or_labelled_pixel() -> None:
    wanted = targets()
    wanted["detection"] = boxes_table([[], []])
    wanted["instance"] = {
        "masks": torch.zeros(0, 16, 24, dtype=torch.uint8),
        "mask_index": torch.zeros(2, 0, dtype=torch.int64),
    }
    wanted["semantic"]["maps"].fill_(IGNORE)
    terms = _step(wanted)
    assert [terms[name] for name in ("detection/box", "detection/dfl", "instance/mask")] == [0, 0, 0]
    assert terms["semantic/cross_entropy"] == 0
    assert terms["detection/class"] > 0


@pytest.mark.parametrize("missing", ["detection", "semantic", "captioning"])
def test_a_batch_in_which_a_task_has_no_rows(missing: str) -> None:
    gone = {missing, "instance"} if missing == "detection" else {missing}
    wanted = {name: target for name, target in targets().items() if name not in gone}
    none, both = torch.zeros(0, dtype=torch.int64), torch.arange(2)
    terms = _step(wanted, {name: none if name in gone else both for name in BLOCKS})
    assert {name.split("/")[0] for name in terms} == {"detection", "instance", "semantic", "captioning"} - gone


def test_rows_of_each_task() -> None:
    wanted = targets()
    wanted["semantic"]["maps"] = wanted["semantic"]["maps"][:1]
    wanted["captioning"]["image"] = torch.zeros(3, dtype=torch.int64)
    one, two = torch.tensor([1]), torch.arange(2)
    terms = _step(wanted, {"detection": two, "instance": two, "semantic": one, "captioning": one})
    assert len(terms) == 6


def test_tasks_of_the_table() -> None:
    tasks, _ = build()
    assert {task.name for task in tasks} == set(TASKS)
    for task in tasks:
        assert (task.head is None) == (task.loss is None) == (task.labels is None)
        assert set(task.reads) | set(task.uses) <= set(TASKS)
        assert task.metric().compute() == {}


@pytest.mark.parametrize("conf", [0.0, 0.999])
def test_every_task_answers_in_the_user_s_pixels(conf: float) -> None:
    torch.manual_seed(0)
    tasks, network = build()
    sizes = [(100, 150), (641, 33), (7, 7)]
    with torch.inference_mode():
        outputs = network.eval()(images(3))
        frames = [letterbox_frame(size, (64, 96)) for size in sizes]
        found = decode_all(tasks, outputs, frames, DecodeOptions(conf=conf, max_det=6, beam=2))
    for size, answers in zip(sizes, found, strict=True):
        assert list(answers) == [task.name for task in tasks]
        boxes = answers["detection"]["boxes"]
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([size[1], size[0], size[1], size[0]])).all()
        assert len(answers["instance"]["masks"]) == len(boxes) <= 6
        assert answers["instance"]["masks"].size == size
        assert answers["semantic"]["map"].shape == size
        assert answers["panoptic"]["map"].shape == size
        assert answers["captioning"]["text"]
        _check_shown(tasks, answers, size)


def _check_shown(tasks: list[Task], answers: dict[str, Any], size: tuple[int, int]) -> None:
    canvas, record = Canvas(np.full((*size, 3), 90, dtype=np.uint8)), dict[str, Any]()
    pictures: dict[str, Any] = {}
    for task in tasks:
        task.show.draw(canvas, answers[task.name])
        task.show.to_json(answers[task.name], record)
        pictures |= task.show.images(answers[task.name])
    assert (canvas.image == 90).all()
    assert set(canvas.panels) == {"boxes", "masks", "semantic", "panoptic"}
    assert all(panel.shape == (*size, 3) and panel.dtype == np.uint8 for panel in canvas.panels.values())
    assert canvas.lines == [answers["captioning"]["text"]]
    assert set(record) == {"detections", "semantic", "caption", "panoptic"}
    assert all(detection["mask"]["size"] == list(size) for detection in record["detections"])
    assert sum(record["semantic"]["classes"].values()) == pytest.approx(1, abs=1e-3)
    assert np.array_equal(np.asarray(pictures["semantic"]), np.asarray(answers["semantic"]["map"]))
    coded = np.asarray(pictures["panoptic"]).astype(int) @ np.array([1, 256, 65536])
    assert np.array_equal(coded, answers["panoptic"]["map"])
