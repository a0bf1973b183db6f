"""Instance masks on their way through geometry, each kept as the rectangle that it lies in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from yolor_mtl.ops.masks import check_rle, run_lengths, segmentation_to_rle
from yolor_mtl.records import Segmentation

Corner = tuple[int, int]
"""(top, left), pixels."""

Crop = tuple[Corner, np.ndarray]
"""A mask's rectangle: its corner, and (h, w) uint8 of zeros and ones; without a pixel where there is nothing of it."""


@dataclass(frozen=True)
class MaskCrops:
    """N masks of one picture. As whole planes they would be moved, resized and joined for their zeros mostly.

    Attributes:
        size: (height, width) of the picture.
        masks: N masks, each a crop, or COCO's segmentation, which is decoded when somebody asks for its pixels: many of
            a picture's objects lie outside of what is cut out of it. ``None`` is no mask.
    """

    size: tuple[int, int]
    masks: tuple[Crop | Segmentation | None, ...]

    @classmethod
    def of(cls, size: tuple[int, int], masks: Iterable[Crop | Segmentation | None]) -> MaskCrops:
        """From any of the three."""
        return cls(size, tuple(masks))

    @classmethod
    def absent(cls, size: tuple[int, int], number: int) -> MaskCrops:
        """No mask, so many times."""
        return cls(size, (None,) * number)

    @cached_property
    def crops(self) -> tuple[Crop, ...]:
        """All masks as crops.

        Raises:
            ValueError: one is not a segmentation of a picture of that size.
        """
        return tuple(self._crop(mask) for mask in self.masks)

    def _crop(self, mask: Crop | Segmentation | None) -> Crop:
        if mask is None:
            return _nothing()
        return mask if isinstance(mask, tuple) else decode_crop(mask, *self.size)

    def __len__(self) -> int:
        return len(self.masks)

    def resized(self, source: tuple[int, int, int, int], goal: tuple[int, int]) -> MaskCrops:
        """A rectangle (top, left, height, width) of the picture at a size of its own, by the nearest pixel."""
        rows, columns = (nearest(source[axis], source[2 + axis], goal[axis]) for axis in (0, 1))

        def moved(corner: Corner, crop: np.ndarray) -> Crop:
            top, down = _hit(rows, corner[0], crop.shape[0])
            left, right = _hit(columns, corner[1], crop.shape[1])
            return (top, left), crop.take(down, axis=0).take(right, axis=1)

        return MaskCrops.of(goal, (moved(*crop) for crop in self.crops))

    def placed(self, top: int, left: int, size: tuple[int, int]) -> MaskCrops:
        """The same in a larger picture, in which this one begins at (top, left)."""
        return MaskCrops.of(size, (((y + top, x + left), crop) for (y, x), crop in self.crops))

    def mirrored(self) -> MaskCrops:
        """Left becomes right."""
        width = self.size[1]
        turned = (((y, width - x - crop.shape[1]), crop[:, ::-1]) for (y, x), crop in self.crops)
        return MaskCrops.of(self.size, turned)

    def select(self, keep: Tensor) -> MaskCrops:
        """The masks of which ``keep``, (N,) bool, says so."""
        return MaskCrops.of(self.size, (self.masks[place] for place in keep.nonzero()[:, 0].tolist()))

    def dense(self) -> Tensor:
        """(N, height, width) uint8 of zeros and ones."""
        planes = np.zeros((len(self), *self.size), dtype=np.uint8)
        for plane, ((top, left), crop) in zip(planes, self.crops, strict=True):
            plane[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        return torch.from_numpy(planes)

    def cells(self, stride: int) -> Tensor:
        """How many of the pixels of each cell are covered: (N, height / stride, width / stride) uint8.

        Args:
            stride: side of a cell, a divisor of the picture's sides, at most 15 pixels.
        """
        planes = np.zeros((len(self), *(side // stride for side in self.size)), dtype=np.uint8)
        for plane, ((top, left), crop) in zip(planes, self.crops, strict=True):
            if not crop.size:
                continue
            (rows, above), (columns, before) = divmod(top, stride), divmod(left, stride)
            down, right = -(-(above + crop.shape[0]) // stride), -(-(before + crop.shape[1]) // stride)
            whole = np.zeros((down * stride, right * stride), dtype=np.uint8)
            whole[above : above + crop.shape[0], before : before + crop.shape[1]] = crop
            across = whole.reshape(down * stride, right, stride).sum(axis=2, dtype=np.uint8)
            covered = across.reshape(down, stride, right).sum(axis=1, dtype=np.uint8)
            plane[rows : rows + down, columns : columns + right] = covered
        return torch.from_numpy(planes)


def join_crops(parts: Sequence[MaskCrops]) -> MaskCrops:
    """The masks of all parts, which are of one picture."""
    return MaskCrops.of(parts[0].size, (mask for part in parts for mask in part.masks))


def _nothing() -> Crop:
    """An empty mask, or none."""
    return (0, 0), np.zeros((0, 0), np.uint8)


def nearest(start: int, length: int, goal: int) -> np.ndarray:
    """Which pixel of ``length`` from ``start`` on lies nearest to the centre of each of ``goal``: (goal,) int64.

    As torch's ``nearest-exact`` has it, whose positions are float32.
    """
    scale = np.float32(length) / np.float32(goal)
    places = np.floor((np.arange(goal, dtype=np.float32) + np.float32(0.5)) * scale).astype(np.int64)
    return np.asarray(start + places.clip(max=length - 1))


def _hit(positions: np.ndarray, start: int, length: int) -> tuple[int, np.ndarray]:
    """Of ascending positions those within ``length`` from ``start`` on: the first one's number, and their distances."""
    first, end = np.searchsorted(positions, (start, start + length))
    return int(first), positions[first:end] - start


def decode_crop(segmentation: Segmentation, height: int, width: int) -> Crop:
    """A mask as ``decode_segmentation`` gives it, cut to the rectangle that it lies in: the corner, and (h, w) uint8.

    Raises:
        ValueError: not a segmentation of a picture of that size; see :func:`check_rle`.
    """
    if isinstance(segmentation, dict):
        return _crop_of_runs(check_rle(segmentation["size"], segmentation["counts"], height, width), height)
    # Drawn in the whole picture: moved to its corner, a polygon's edges are rounded to other pixels now and then.
    return _crop_of_runs(run_lengths(segmentation_to_rle(segmentation, height, width)["counts"]), height)


def _crop_of_runs(runs: Sequence[int] | np.ndarray, height: int) -> Crop:
    """From lengths of background and mask in turn, down the columns."""
    edges = np.cumsum(np.asarray(runs, dtype=np.int64))
    starts, ends = edges[:-1:2], edges[1::2]
    starts, ends = starts[starts < ends], ends[starts < ends]
    if not len(starts):
        return _nothing()
    left, right = int(starts[0]) // height, -(-int(ends[-1]) // height)
    bounds = np.empty(2 * len(starts) + 2, dtype=np.int64)
    bounds[0], bounds[-1], bounds[1:-1:2], bounds[2:-1:2] = left * height, right * height, starts, ends
    values = np.zeros(len(bounds) - 1, dtype=np.uint8)
    values[1::2] = 1
    mask = np.repeat(values, np.diff(bounds)).reshape(right - left, height).T
    rows = np.flatnonzero(mask.any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return (top, left), np.ascontiguousarray(mask[top:bottom])
