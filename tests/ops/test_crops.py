"""Masks kept as rectangles, against whole planes moved by torch and drawn by pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from yolor_mtl.ops.crops import MaskCrops, decode_crop, join_crops
from yolor_mtl.ops.masks import decode_segmentation

SIDES = st.integers(1, 40)
COORDINATES = st.one_of(
    st.integers(-100, 600).map(lambda tenth: tenth / 10),  # half of pycocotools' steps, where it has to round
    st.floats(-20, 60, allow_nan=False).map(lambda value: round(value, 2)),
    st.floats(-1e4, 1e4, allow_nan=False),
    st.sampled_from([-1e12, 1e12]),
)
POLYGONS = st.lists(
    st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=9).map(lambda points: [*sum(points, ())]),
    min_size=1,
    max_size=3,
)


def plane(found: tuple[tuple[int, int], np.ndarray], height: int, width: int) -> np.ndarray:
    """A crop in its place."""
    return MaskCrops.of((height, width), [found]).dense()[0].numpy()


@settings(deadline=None)
@example([[0.4, 2.6, 36.4, 24.4, 0.4, 24.4]], 40, 40)
@given(POLYGONS, SIDES, SIDES)
def test_polygons(polygons: list[list[float]], height: int, width: int) -> None:
    found = decode_crop(polygons, height, width)
    assert np.array_equal(plane(found, height, width), decode_segmentation(polygons, height, width))


@settings(deadline=None)
@given(st.integers(0, 2**32), SIDES, SIDES, st.booleans())
def test_runs(seed: int, height: int, width: int, compressed: bool) -> None:
    rng = np.random.default_rng(seed)
    mask = (rng.random((height, width)) < rng.choice([0.0, 0.1, 0.5, 1.0])).astype(np.uint8)
    mask[: rng.integers(0, height + 1)] = 0
    rle: dict[str, Any] = coco_mask.encode(np.asfortranarray(mask))
    if not compressed:
        flat = mask.T.ravel()
        edges = np.flatnonzero(np.diff(flat, prepend=0, append=0))
        rle = {"size": [height, width], "counts": np.diff([0, *edges, len(flat)]).tolist()}
    corner, crop = decode_crop(rle, height, width)
    assert np.array_equal(plane((corner, crop), height, width), mask)
    rows = np.flatnonzero(mask.any(axis=1))
    assert crop.shape[0] == (rows[-1] + 1 - rows[0] if len(rows) else 0)


def test_runs_of_no_pixels() -> None:
    """Empty runs join their neighbours."""
    corner, crop = decode_crop({"size": [2, 3], "counts": [1, 1, 0, 2, 2, 0]}, 2, 3)
    assert plane((corner, crop), 2, 3).T.ravel().tolist() == [0, 1, 1, 1, 0, 0]


def test_only_what_is_asked_for_is_decoded() -> None:
    square = {"size": [4, 4], "counts": [5, 2, 2, 2, 5]}
    masks = MaskCrops.of((4, 4), [{"size": [4, 4], "counts": [3]}, square, None])
    assert len(masks) == 3
    kept = masks.select(torch.tensor([False, True, True]))
    assert kept.dense().tolist() == [[[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], [[0] * 4] * 4]
    with pytest.raises(ValueError, match="counts"):
        masks.dense()


def test_more_runs_than_a_byte_counts() -> None:
    mask = np.indices((30, 30)).sum(axis=0).astype(np.uint8) & 1
    rle: dict[str, Any] = coco_mask.encode(np.asfortranarray(mask))
    assert np.array_equal(plane(decode_crop(rle, 30, 30), 30, 30), mask)


@pytest.mark.parametrize("wrong", [[[1.0, 2.0, 3.0, 4.0]], {"size": [4, 4], "counts": [3]}, [[1.0] * 7]])
def test_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"polygon|counts"):
        decode_crop(wrong, 4, 4)


def drawn(rng: np.random.Generator, height: int, width: int, number: int = 4) -> tuple[MaskCrops, torch.Tensor]:
    """Some rectangles of noise and one mask that is absent, as crops and as planes."""
    planes = np.zeros((number, height, width), np.uint8)
    crops = []
    for mask in planes[1:]:
        (top, bottom), (left, right) = (np.sort(rng.integers(0, side + 1, 2)) for side in (height, width))
        mask[top:bottom, left:right] = rng.random((bottom - top, right - left)) < 0.7
        crops.append(((int(top), int(left)), mask[top:bottom, left:right]))
    absent = MaskCrops.absent((height, width), 1)
    return join_crops([absent, MaskCrops.of((height, width), crops)]), torch.from_numpy(planes)


@settings(deadline=None)
@given(st.integers(0, 2**32), SIDES, SIDES, SIDES, SIDES)
def test_resized(seed: int, height: int, width: int, tall: int, wide: int) -> None:
    rng = np.random.default_rng(seed)
    crops, planes = drawn(rng, height, width)
    (top, bottom), (left, right) = (
        np.sort(rng.choice(side + 1, 2, replace=False)).tolist() for side in (height, width)
    )
    found = crops.resized((top, left, bottom - top, right - left), (tall, wide))
    wanted = F.resize_image(
        planes[:, top:bottom, left:right], [tall, wide], interpolation=InterpolationMode.NEAREST_EXACT
    )
    assert found.size == (tall, wide)
    assert torch.equal(found.dense(), wanted)


@settings(deadline=None)
@given(st.integers(0, 2**32), SIDES, SIDES)
def test_moved(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    crops, planes = drawn(rng, height, width)
    assert torch.equal(crops.dense(), planes)
    assert torch.equal(crops.mirrored().dense(), planes.flip(2))
    placed = crops.placed(3, 5, (height + 4, width + 8)).dense()
    assert torch.equal(placed, torch.nn.functional.pad(planes, (5, 3, 3, 1)))
    keep = torch.from_numpy(rng.random(len(crops)) < 0.5)
    assert torch.equal(crops.select(keep).dense(), planes[keep])
    assert torch.equal(join_crops([crops, crops.select(keep)]).dense(), torch.cat((planes, planes[keep])))


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 2, 4, 8]))
def test_cells(seed: int, height: int, width: int, stride: int) -> None:
    crops, planes = drawn(np.random.default_rng(seed), height * stride, width * stride)
    wanted = planes.unflatten(2, (-1, stride)).unflatten(1, (-1, stride)).sum(dim=(2, 4), dtype=torch.uint8)
    assert torch.equal(crops.cells(stride), wanted)


def test_none_at_all() -> None:
    none = MaskCrops.of((8, 12), [])
    assert none.dense().shape == (0, 8, 12)
    assert none.cells(4).shape == (0, 2, 3)
    assert len(none.resized((0, 0, 8, 12), (4, 4)).mirrored()) == 0
    assert MaskCrops.of((8, 12), [None]).dense().tolist() == torch.zeros(1, 8, 12).tolist()
