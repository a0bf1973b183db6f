"""COCO segmentations to arrays, crops to RLE and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
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


@st.composite
def placed_crops(draw: st.DrawFn) -> CroppedMasks:
    """One crop anywhere in a picture: empty, full, a single row or column, at any edge."""
    height, width = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    top, left = draw(st.tuples(st.integers(0, height), st.integers(0, width)))
    rows, columns = draw(st.tuples(st.integers(0, height - top), st.integers(0, width - left)))
    pixels = draw(st.integers(0, 2 ** (rows * columns) - 1) | st.sampled_from([0, 2 ** (rows * columns) - 1]))
    flat = [bool(pixels >> place & 1) for place in range(rows * columns)]
    return CroppedMasks((height, width), [(left, top)], [np.array(flat, dtype=bool).reshape(rows, columns)])


def _whole(size: tuple[int, int]) -> CroppedMasks:
    return CroppedMasks(size, [(0, 0)], [np.ones(size, dtype=bool)])


@settings(max_examples=400, deadline=None)
@given(placed_crops())
@example(_whole((5, 4)))
@example(_whole((1, 1)))
@example(CroppedMasks((5, 4), [(1, 0)], [np.ones((5, 2), dtype=bool)]))
@example(CroppedMasks((5, 4), [(3, 0)], [np.eye(5, 1, -4, dtype=bool)]))
@example(CroppedMasks((5, 4), [(0, 0)], [np.zeros((0, 0), dtype=bool)]))
def test_rle_of_a_crop_is_that_of_the_whole_mask(masks: CroppedMasks) -> None:
    encoded = coco_mask.encode(np.asfortranarray(masks.dense(0), dtype=np.uint8))
    assert masks.rle(0) == {"size": list(masks.size), "counts": encoded["counts"].decode()}
