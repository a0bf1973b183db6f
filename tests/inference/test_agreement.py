"""How two runs are compared, on answers made by hand."""

from typing import Any

import numpy as np
import pytest
import torch

from yolor_mtl.inference.agreement import Gap, compare, gaps
from yolor_mtl.inference.result import Result
from yolor_mtl.ops.masks import CroppedMasks

SIZE = (10, 20)


def dense(box: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def result(boxes: list[tuple[int, int, int, int]], classes: list[int], text: str = "a", fill: int = 0) -> Result:
    """An answer whose masks are its boxes."""
    found: dict[str, Any] = {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "scores": torch.full((len(boxes),), 0.5),
        "classes": torch.tensor(classes, dtype=torch.int64),
    }
    semantic = torch.zeros(SIZE, dtype=torch.uint8)
    semantic[:, :fill] = 1
    ids = np.ones(SIZE, dtype=np.int32)
    ids[:, :fill] = 2
    segments = [{"id": 1, "category": 0}, {"id": 2, "category": 3}]
    predictions = {
        "detection": found,
        "instance": {**found, "masks": CroppedMasks.from_dense(SIZE, [dense(box) for box in boxes])},
        "semantic": {"map": semantic},
        "panoptic": {"map": ids, "segments": segments},
        "captioning": {"text": text},
    }
    return Result("", np.zeros((*SIZE, 3), dtype=np.uint8), predictions, {}, ())


def test_the_same_answers_agree_whatever_their_order() -> None:
    boxes = [(0, 0, 4, 4), (10, 2, 18, 9)]
    found = compare([result(boxes, [0, 1])], [result(boxes[::-1], [1, 0])])
    assert (found.pictures, found.boxes) == (1, 2)
    assert [found.box_iou, found.mask_iou, found.semantic, found.panoptic, found.captions] == [1.0] * 5


def test_by_hand() -> None:
    first = result([(0, 0, 4, 4), (10, 0, 14, 4)], [0, 1], fill=0)
    second = result([(0, 0, 2, 4), (10, 0, 14, 4)], [0, 2], "b", fill=5)  # half of the one, another class for the other
    found = compare([first, first], [second, first])
    assert found.box_iou == pytest.approx((0.5 + 0 + 1 + 1) / 4)
    assert found.mask_iou == pytest.approx((0.5 + 0 + 1 + 1) / 4)
    assert found.semantic == pytest.approx((0.75 + 1) / 2)
    assert found.panoptic == pytest.approx((0.75 + 1) / 2)
    assert found.captions == 0.5


def test_boxes_that_nobody_else_has() -> None:
    assert compare([result([(0, 0, 4, 4)], [0])], [result([], [])]).box_iou == 0.0
    assert compare([result([], [])], [result([(0, 0, 4, 4)], [0])]).box_iou is None


def test_segments_count_by_their_class_and_not_by_their_number() -> None:
    first, second = result([], []), result([], [])
    second.predictions["panoptic"]["map"] += 6  # type: ignore[index]
    second.predictions["panoptic"]["segments"][0]["id"] = 7
    assert compare([first], [second]).panoptic == 1.0
    second.predictions["panoptic"]["segments"][0]["category"] = 2
    assert compare([first], [second]).panoptic == 0.0


def test_gaps() -> None:
    first = {"a": {"x": torch.tensor([1.0, -4.0]), "y": torch.zeros(2)}}
    second = {"a": {"x": torch.tensor([1.5, -4.0]), "y": torch.zeros(3)}}
    found = gaps(first, second)
    assert found == {"a.x": Gap(0.5, 4.0), "a.y": Gap(float("inf"))}
    assert found["a.x"].joined(Gap(0.1, 9.0)) == Gap(0.5, 9.0)
