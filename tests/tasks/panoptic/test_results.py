"""Panoptic result files and their PNGs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_builder import panoptic_png

from yolor_mtl.records import Annotations, Category, LabelSpace, UserError
from yolor_mtl.tasks.panoptic.results import read_segments

SPACE = LabelSpace(semantic=(Category(4, "cat"), Category(90, "sky", isthing=False)), semantic_protocol="own")
IMAGE = Annotations(3, Path("3.jpg"), 4, 5)
IDS = np.array([[0, 0, 7, 7, 7]] * 2 + [[300, 300, 300, 70_000, 70_000]] * 2)
SEGMENTS = [{"id": 7, "category_id": 4}, {"id": 300, "category_id": 90}, {"id": 70_000, "category_id": 4}]


def entry(**more: Any) -> dict[str, Any]:
    return {"image_id": 3, "file_name": "x.png", "segments_info": SEGMENTS} | more


def write(folder: Path, *rows: Any) -> Path:
    (folder / "panoptic.json").write_text(json.dumps({"annotations": rows}))
    panoptic_png(folder / "panoptic" / "x.png", IDS)
    return folder


def test_segments(tmp_path: Path) -> None:
    assert read_segments(tmp_path, SPACE) is None
    answers = read_segments(write(tmp_path, entry(image_id=2), entry()), SPACE)
    assert answers is not None
    found = answers(IMAGE)
    assert np.array_equal(found["map"], IDS)
    assert found["segments"] == [{"id": 7, "category": 0}, {"id": 300, "category": 1}, {"id": 70_000, "category": 0}]
    void = answers(Annotations(9, Path("9.jpg"), 2, 2))
    assert not void["map"].any()
    assert void["segments"] == []


@pytest.mark.parametrize(
    ("bad", "part"),
    [
        ({"file_name": None}, "file_name"),
        ({"file_name": "../x.png"}, "file_name '../x.png'"),
        ({"file_name": ".."}, r"file_name '\.\.'"),
        ({"file_name": ""}, "file_name ''"),
        ({"segments_info": 3}, "segments_info"),
        ({"segments_info": [SEGMENTS[0], {"category_id": 4}]}, r"no 'id' in segments_info\[1\]"),
        ({"segments_info": [{"id": "7", "category_id": 4}]}, r"segments_info\[0\]\.id"),
        ({"segments_info": [{"id": 2**24, "category_id": 4}]}, r"segments_info\[0\]\.id"),
        ({"segments_info": [SEGMENTS[0], SEGMENTS[0]]}, "two segments have the id 7"),
        ({"segments_info": [{"id": 7, "category_id": 5}]}, "category_id 5"),
        ({"image_id": 2}, "image_id 2 has an answer already, entry 0"),
    ],
)
def test_refused(tmp_path: Path, bad: dict[str, Any], part: str) -> None:
    with pytest.raises(UserError, match=rf"panoptic\.json: entry 1.*{part}"):
        read_segments(write(tmp_path, entry(image_id=2), entry(**bad)), SPACE)


def test_ids_that_are_not_listed(tmp_path: Path) -> None:
    answers = read_segments(write(tmp_path, entry(segments_info=SEGMENTS[:1])), SPACE)
    assert answers is not None
    with pytest.raises(UserError, match=r"panoptic\.json: entry 0: 2 segment ids of .*x\.png .* the first is 300"):
        answers(IMAGE)


def test_a_missing_picture(tmp_path: Path) -> None:
    answers = read_segments(write(tmp_path, entry(file_name="y.png")), SPACE)
    assert answers is not None
    with pytest.raises(UserError, match=r"y\.png: missing, the predicted map of image 3"):
        answers(IMAGE)
