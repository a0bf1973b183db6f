"""COCO segmentations to arrays, crops to RLE and back."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from yolor_mtl.ops.masks import CroppedMasks, decode_segmentation, segmentation_to_rle

SQUARE = [2.0, 3.0, 6.0, 3.0, 6.0, 8.0, 2.0, 8.0]


def _square() -> np.ndarray:
    mask = np.zeros((10, 12), dtype=np.uint8)
    mask[3:8, 2:6] = 1
    return mask


def test_polygon() -> None:
    assert np.array_equal(decode_segmentation([SQUARE], 10, 12), _square())


def test_parts_are_united_and_slivers_skipped() -> None:
    other = [8.0, 0, 10, 0, 10, 2, 8, 2]
    found = decode_segmentation([SQUARE, [1.0, 1, 2, 2], other], 10, 12)
    assert found.sum() == _square().sum() + 4


@pytest.mark.parametrize("kind", ["list", "str", "bytes"])
def test_every_rle(kind: str) -> None:
    encoded = coco_mask.encode(np.asfortranarray(_square()))
    flat = _square().flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = {
        "list": np.diff(np.concatenate(([0], edges, [flat.size]))).tolist(),
        "str": encoded["counts"].decode(),
        "bytes": encoded["counts"],
    }[kind]
    assert np.array_equal(decode_segmentation({"size": [10, 12], "counts": counts}, 10, 12), _square())


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [3, 3], "counts": [9]}, "size"),
        ({"size": [10, 12], "counts": [5, 5]}, "add up"),
        ([[1.0, 1, 2, 2]], "three points"),
        ([], "three points"),
    ],
)
def test_refused(segmentation: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segmentation_to_rle(segmentation, 10, 12)  # type: ignore[arg-type]


def test_crops() -> None:
    crop = _square()[3:8, 2:6].astype(bool)
    masks = CroppedMasks((10, 12), [(2, 3), (0, 0)], [crop, np.ones((1, 2), dtype=bool)])
    assert len(masks) == 2
    assert np.array_equal(masks.dense(0), _square().astype(bool))
    assert [mask.shape for mask in masks] == [(10, 12)] * 2
    assert masks.areas() == [20, 2]
    assert np.array_equal(coco_mask.decode(masks.rle(0)), _square())
    assert masks.select([1]).areas() == [2]
    assert masks.select([]).areas() == []
