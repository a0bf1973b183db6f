"""Masks of result files, and of labels as answers: checked before pycocotools decodes them, one at a time."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from yolor_mtl.records import Annotations, Category, LabelSpace, ObjectLabel, Prediction, UserError
from yolor_mtl.tasks.instance.results import read_masks
from yolor_mtl.tasks.instance.truth import mask_truth

SPACE = LabelSpace(things=(Category(9, "cat"), Category(4, "dog")))
POLYGON = [[2.0, 3, 6, 3, 6, 8, 2, 8]]


def row(segmentation: object, **more: object) -> dict[str, object]:
    return {"image_id": 3, "category_id": 4, "segmentation": segmentation, "score": 0.5} | more


def write(folder: Path, *rows: Any) -> Path:
    (folder / "segmentations.json").write_text(json.dumps(rows))
    return folder


def image(height: int = 10, width: int = 12, objects: tuple[ObjectLabel, ...] = ()) -> Annotations:
    return Annotations(3, Path("3.jpg"), height, width, objects=objects, has_masks=True)


def square(height: int, width: int) -> tuple[np.ndarray, dict[str, Any]]:
    mask = np.zeros((height, width), np.uint8, order="F")
    mask[3:8, 2:6] = 1
    rle = coco_mask.encode(mask)
    return mask, {"size": rle["size"], "counts": rle["counts"].decode()}


def test_masks(tmp_path: Path) -> None:
    assert read_masks(tmp_path, SPACE) is None
    mask, rle = square(10, 12)
    rows = [row(rle), row([[0, 0, 1, 0, 1, 1]], image_id=8), row(POLYGON, category_id=9)]
    answers = read_masks(write(tmp_path, *rows), SPACE)
    assert answers is not None
    found = answers(image())
    assert [np.array_equal(one, mask) for one in found["masks"]] == [True, True]
    assert found["classes"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("segmentation", "part"),
    [
        ({"size": [10, 12], "counts": "5"}, "the 120 pixels"),
        ({"size": [10, 12], "counts": "hello world ~~"}, "compressed RLE"),
        ({"size": [10, 12], "counts": [5, 5]}, "the 120 pixels"),
        ({"size": [5, 5], "counts": "0"}, r"\[10, 12\]"),
        ([], "three points"),
        ([[1, 1, 5, 1, 5, 5, 1]], "odd number"),
    ],
)
def test_no_mask_of_the_image(tmp_path: Path, segmentation: object, part: str) -> None:
    answers = read_masks(write(tmp_path, row(POLYGON), row(segmentation)), SPACE)
    assert answers is not None
    with pytest.raises(UserError, match=rf"segmentations\.json: entry 1: the mask of image 3 .*{part}"):
        answers(image())


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        "0",
        {"size": [10, 12]},
        {"size": [10], "counts": "0"},
        {"size": [10, 12], "counts": [-5, 125]},
        [1, 1, 5, 1, 5, 5],
        [[0, 0, 1e9, 0, 5, 5]],
    ],
)
def test_no_segmentation(tmp_path: Path, segmentation: object) -> None:
    with pytest.raises(UserError, match=r"segmentations\.json: entry 1.* segmentation"):
        read_masks(write(tmp_path, row(POLYGON), row(segmentation)), SPACE)


def from_file(folder: Path, rle: dict[str, Any], size: tuple[int, int], masks: int) -> Callable[[], Prediction]:
    answers = read_masks(write(folder, *[row(rle)] * masks), SPACE)
    assert answers is not None
    return lambda: answers(image(*size))


def from_labels(folder: Path, rle: dict[str, Any], size: tuple[int, int], masks: int) -> Callable[[], Prediction]:
    item = ObjectLabel(1, 0, (2.0, 3.0, 6.0, 8.0), 20.0, False, rle)
    return lambda: mask_truth(image(*size, (item,) * masks))


@pytest.mark.parametrize("source", [from_file, from_labels])
def test_memory_is_that_of_one_mask(tmp_path: Path, source: Callable[..., Callable[[], Prediction]]) -> None:
    size, masks = (1000, 1000), 20
    mask, rle = square(*size)
    answer = source(tmp_path, rle, size, masks)
    tracemalloc.start()
    found = answer()
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found["masks"]) == masks
    assert np.array_equal(found["masks"].dense(masks - 1), mask)
    # pycocotools' own memory is freed with the array and not traced: what is traced is what we add to it.
    assert kept < mask.size / 10
    assert peak < 3 * mask.size
