"""The same number for the same thing from frame to frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from yolor_mtl import YOLORMTL, Result
from yolor_mtl.inference.tracking import Tracker
from yolor_mtl.records import UserError

pytest.importorskip("trackers", reason="tracking needs a library: pip install 'yolor-mtl[track]'")


def result(boxes: list[list[float]], classes: list[int], tasks: tuple[Any, ...] = ()) -> Result:
    prediction = {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "scores": torch.full((len(boxes),), 0.9),
        "classes": torch.tensor(classes, dtype=torch.int64),
    }
    picture = np.zeros((200, 300, 3), np.uint8)
    return Result("film", picture, {"detection": prediction}, {0: "dog", 1: "cat"}, tasks)


def test_two_things_cross_the_picture() -> None:
    """One goes right, the other left; the detector's order changes from frame to frame."""
    follow = Tracker(25.0)
    numbers: list[dict[int, int]] = []
    for step in range(20):
        boxes = [[10.0 + 5 * step, 20, 50 + 5 * step, 80], [240.0 - 4 * step, 120, 290 - 4 * step, 190]]
        order = [0, 1] if step % 2 else [1, 0]
        found = follow(result([boxes[i] for i in order], order))
        assert torch.equal(found.boxes.cls, torch.tensor(order))
        numbers.append(dict(zip(found.boxes.cls.tolist(), found.boxes.id.tolist(), strict=True)))
    followed = numbers[3:]
    assert all(entry == followed[0] for entry in followed)
    assert len(set(followed[0].values())) == 2
    assert min(followed[0].values()) >= 0


def test_frames_without_boxes() -> None:
    follow = Tracker(25.0)
    for boxes in ([], [[0.0, 0, 50, 50]], []):
        found = follow(result(boxes, [0] * len(boxes)))
        assert found.boxes.id.shape == (len(boxes),)
    with pytest.raises(UserError, match="keep detection"):
        follow(Result("", np.zeros((4, 4, 3), np.uint8), {}, {}, ()))


def test_ids_in_pictures_and_records(trained: Path, scenes: Path) -> None:
    model = YOLORMTL(trained, device="cpu", half=False)
    picture = sorted((scenes / "val").glob("*.jpg"))[0]
    found = model.predict([picture] * 4, conf=0.0, max_det=3, track=True)
    record = found[-1].to_json()
    wanted = [number if number >= 0 else None for number in found[-1].boxes.id.tolist()]
    assert [entry.get("id") for entry in record["detections"]] == wanted
    assert found[-1].plot(overlay=True).size == found[-1].image.shape[1::-1]
