"""Boxes of result files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from yolor_mtl.records import Annotations, Category, LabelSpace, UserError
from yolor_mtl.tasks.detection.results import read_boxes

SPACE = LabelSpace(things=(Category(9, "cat"), Category(4, "dog")))
GOOD = {"image_id": 3, "category_id": 4, "bbox": [1, 2, 30.5, 40], "score": 0.5}


def write(folder: Path, *rows: Any) -> Path:
    (folder / "detections.json").write_text(json.dumps(rows))
    return folder


def test_boxes(tmp_path: Path) -> None:
    assert read_boxes(tmp_path, SPACE) is None
    answers = read_boxes(write(tmp_path, GOOD, GOOD | {"image_id": 5}, GOOD | {"category_id": 9}), SPACE)
    assert answers is not None
    found = answers(Annotations(3, Path("3.jpg"), 100, 100))
    assert found["boxes"].tolist() == [[1, 2, 31.5, 42]] * 2
    assert found["classes"].tolist() == [1, 0]
    assert found["scores"].tolist() == [0.5, 0.5]
    assert answers(Annotations(4, Path("4.jpg"), 100, 100))["boxes"].shape == torch.Size([0, 4])


@pytest.mark.parametrize(
    ("bad", "part"),
    [
        ({"bbox": [1, 2, 3]}, "bbox"),
        ({"bbox": [1, 2, 3, 4, 5, 6, 7, 8]}, "bbox"),
        ({"bbox": [1, 2, "3", 4]}, r"bbox\[2\]"),
        ({"bbox": [1, 2, None, 4]}, r"bbox\[2\]"),
        ({"bbox": [1, 2, float("nan"), 4]}, "NaN"),
        ({"bbox": None}, "bbox"),
        ({"image_id": "abc"}, "image_id"),
        ({"category_id": None}, "category_id"),
        ({"category_id": 5, "image_id": 77}, "category_id 5 is not one of the data's"),
        ({"score": "high"}, "score"),
    ],
)
def test_refused(tmp_path: Path, bad: dict[str, object], part: str) -> None:
    with pytest.raises(UserError, match=rf"detections\.json: entry 1: .*{part}"):
        read_boxes(write(tmp_path, GOOD, GOOD | bad), SPACE)
