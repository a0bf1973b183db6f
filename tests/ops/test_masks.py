"""COCO segmentations to arrays, crops to RLE and back."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from yolor_mtl.ops.masks import (
    CroppedMasks,
    PackedCrops,
    check_rle,
    decode_segmentation,
    run_lengths,
    segmentation_to_rle,
)

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
        ({"size": [10, 12], "counts": [5, 5]}, "the 120 pixels"),
        ({"size": [10, 12], "counts": [-5, 125]}, "the 120 pixels"),
        ({"size": [10, 12], "counts": [2**63 - 1, 2**63 - 1, 122]}, "the 120 pixels"),
        ({"size": [10, 12], "counts": [2**70]}, "the 120 pixels"),
        ({"size": [10, 12], "counts": []}, "the 120 pixels"),
        ({"size": [10, 12], "counts": "5"}, "the 120 pixels"),
        ({"size": [10, 12], "counts": b"5"}, "the 120 pixels"),
        ({"size": [10, 12], "counts": ""}, "compressed RLE"),
        ({"size": [10, 12], "counts": "hello ~~"}, "compressed RLE"),
        ({"size": [10, 12], "counts": "oooooooo1"}, "compressed RLE"),
        ([[1.0, 1, 5, 1, 5, 5, 1]], "odd number"),
        ([[1.0, 1, 2, 2]], "three points"),
        ([], "three points"),
    ],
)
def test_refused(segmentation: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segmentation_to_rle(segmentation, 10, 12)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=30))
def test_runs_of_a_compressed_rle(runs: list[int]) -> None:
    height = sum(runs) + 1
    runs[0] += 1
    text = coco_mask.frPyObjects({"size": [height, 1], "counts": runs}, height, 1)["counts"]
    assert run_lengths(text).tolist() == run_lengths(text.decode()).tolist() == runs
    check_rle((height, 1), text, height, 1)
    with pytest.raises(ValueError, match=f"the {height + 1} pixels"):
        check_rle((height + 1, 1), text, height + 1, 1)


def test_crops_do_not_keep_the_masks() -> None:
    made: list[weakref.ref[np.ndarray]] = []

    def masks() -> Iterator[np.ndarray]:
        for kind in (bool, np.uint8, bool):
            gc.collect()
            assert sum(mask() is not None for mask in made) <= 1  # the one that the loop still names
            mask = _square().astype(kind)
            made.append(weakref.ref(mask))
            yield mask
            del mask

    crops = CroppedMasks.from_dense((10, 12), masks())
    assert not any(mask() is not None for mask in made)
    assert all(crop.base is None and crop.dtype == bool for crop in crops.crops)
    assert all(np.array_equal(mask, _square()) for mask in crops)


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


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 3), st.booleans(), st.integers(0, 2**31))
@example(1, 1, 0, True, 0)
@example(700, 700, 0, True, 0)
@example(700, 700, 3, True, 0)
def test_packed_crops_come_back(height: int, width: int, kind: int, first: bool, seed: int) -> None:
    """Nothing, everything, something round, and noise; with the first pixel set and clear."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[:height, :width]
    crop = [
        np.zeros((height, width), bool),
        np.ones((height, width), bool),
        (y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 3) ** 2,
        rng.random((height, width)) < 0.5,
    ][kind].copy()
    crop[0, 0] = first
    packed = PackedCrops([crop, ~crop])
    assert len(packed) == 2
    assert packed.shape(0) == crop.shape
    assert packed[0].dtype == bool
    assert np.array_equal(packed[0], crop)
    assert np.array_equal(packed[1], ~crop)
    assert np.array_equal(packed.select([1])[0], ~crop)
    assert np.array_equal(packed[1:][0], ~crop)


def test_large_crops_take_little_memory() -> None:
    y, x = np.ogrid[:3000, :4000]
    tracemalloc.start()
    packed = PackedCrops((y - 1500) ** 2 + (x - 10 * n) ** 2 < 1400**2 for n in range(20))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(packed) == 20
    assert kept < 20 * 3000 * 4000 / 50


@pytest.mark.parametrize("far", [1e3, 1e6, 1e8, 1e12, 1e200])
def test_a_point_far_away(far: float) -> None:
    """It takes no memory, and what is in the picture stays where it is."""
    square = decode_segmentation([[2.0, 3.0, far, 3.0, far, 8.0, 2.0, 8.0]], 10, 12)
    assert np.array_equal(square, np.pad(np.ones((5, 10), np.uint8), ((3, 2), (2, 0))))
    below = decode_segmentation([[0.0, 0.0, 2 * far, far, 0.0, far]], 100, 120)
    rows, columns = np.mgrid[:100, :120] + 0.5
    clear = abs(rows - columns / 2) > 1
    assert np.array_equal(below[clear] == 1, (rows > columns / 2)[clear])


def test_far_away_altogether() -> None:
    assert not decode_segmentation([[1e9, 1e9, 2e9, 1e9, 2e9, 2e9]], 10, 12).any()


def test_a_long_zigzag() -> None:
    """Each of its lines would take a million steps."""
    heights = np.arange(2000) / 20
    points = np.stack((np.where(np.arange(2000) % 2, 1e5, -1e5), heights), axis=1)
    around = [*points.ravel().tolist(), -1e5, 100.0]
    assert decode_segmentation([around], 100, 120).shape == (100, 120)
