"""Masks: COCO segmentations in, cropped masks and COCO RLE out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from contourpy import contour_generator
from pycocotools import mask as coco_mask

from yolor_mtl.records import Segmentation


class RleError(ValueError):
    """An RLE that cannot be used.

    Attributes:
        kind: it is of another size than the image, its text is no code, or its runs do not add up to the image.
    """

    def __init__(self, message: str, kind: Literal["size", "code", "sum"]) -> None:
        super().__init__(message)
        self.kind = kind


_MAX_DIGITS = 7  # Of five bits: more than any image's pixels need.


def run_lengths(counts: str | bytes) -> np.ndarray:
    """Runs of a compressed RLE, (runs,) int64, in pixels: background, mask, background...

    Raises:
        RleError: the text is no compressed RLE.
    """
    text = counts.encode() if isinstance(counts, str) else counts
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(digits) or digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise RleError("counts: not a compressed RLE", "code")
    # A number is some digits of five bits, lowest first; bit 32 says that more follow, and bit 16 of the
    # last one is the sign.
    last = np.flatnonzero(digits & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > _MAX_DIGITS:
        raise RleError("counts: not a compressed RLE", "code")
    places = np.arange(len(digits)) - np.repeat(first, lengths)
    numbers = np.add.reduceat((digits & 31) << (5 * places), first)
    numbers -= np.where(digits[last] & 16, np.int64(1) << (5 * lengths), 0)
    # From the fourth on, a number is the difference to the run two before it.
    for start in (1, 2):
        numbers[start::2] = np.cumsum(numbers[start::2])
    return np.asarray(numbers)


def check_rle(size: Sequence[int], counts: str | bytes | Sequence[int], height: int, width: int) -> Sequence[int]:
    """Refuses an RLE that does not describe every pixel of an image of that size exactly once; returns its runs.

    pycocotools trusts the numbers: with too many pixels it writes outside its memory, with too few it hands out what
    that memory held before.

    Returns:
        Lengths in pixels: background, mask, background...

    Raises:
        RleError: another size, no RLE, or runs that are negative or do not add up to the image's pixels.
    """
    if list(size) != [height, width]:
        raise RleError(f"RLE of size {list(size)}, but the image's [height, width] is {[height, width]}", "size")
    # Python's own numbers: no sum of them wraps around.
    runs = run_lengths(counts).tolist() if isinstance(counts, str | bytes) else counts
    if not len(runs) or min(runs) < 0 or sum(runs) != height * width:
        raise RleError(f"counts do not describe the {height * width} pixels of the image", "sum")
    return runs


def segmentation_to_rle(segmentation: Segmentation, height: int, width: int) -> dict[str, Any]:
    """One compressed RLE ``{"size", "counts": bytes}`` from polygons (parts are united) or any RLE.

    Raises:
        ValueError: not a segmentation of an image of that size; see :func:`check_rle`.
    """
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        check_rle(segmentation["size"], counts, height, width)
        if isinstance(counts, list):
            return dict(coco_mask.frPyObjects(segmentation, height, width))
        return {"size": [height, width], "counts": counts.encode() if isinstance(counts, str) else counts}
    return dict(coco_mask.merge(coco_mask.frPyObjects(_polygon_parts(segmentation, height, width), height, width)))


def _polygon_parts(polygons: Sequence[Sequence[float]], height: int, width: int) -> list[Sequence[float]]:
    """The parts that have an inside, as pycocotools may draw them in a picture of that size.

    It walks along every edge in steps of a fifth of a pixel and remembers each: a point that lies a thousand million
    pixels away takes all memory and the process. So parts that leave the picture by more than its own sides are cut.

    Raises:
        ValueError: there is none, or one has an odd number of coordinates.
    """
    parts = [part for part in polygons if len(part) >= 6]
    if not parts:
        raise ValueError("no polygon of three points or more")
    if any(len(part) % 2 for part in parts):
        raise ValueError("a polygon with an odd number of coordinates")
    sides = np.array([width, height])
    found: list[Sequence[float]] = []
    for part in parts:
        points = np.asarray(part, dtype=np.float64).reshape(-1, 2)
        far = bool((points < -sides).any() or (points > 2 * sides).any())
        found += _cut_polygon(points, sides) if far else [part]
    # Nothing of it is in the picture: pycocotools must be given something to draw.
    return found or [[-1.0] * 6]


def _cut_polygon(points: np.ndarray, sides: np.ndarray) -> list[Sequence[float]]:
    """What of a polygon (P, 2) lies in the picture or within its own (width, height) of it."""
    # Only here: it takes longer to load than all else in this module.
    from matplotlib.path import Path as Outline
    from matplotlib.transforms import Bbox

    closed = Outline(np.concatenate((points, points[:1])), closed=True)
    cut = closed.clip_to_bbox(Bbox(np.stack((-sides, 2 * sides))), inside=True)
    outlines = [np.asarray(each) for each in cut.to_polygons()]
    return [each.ravel().tolist() for each in outlines if len(each) >= 3]


def decode_segmentation(segmentation: Segmentation, height: int, width: int) -> np.ndarray:
    """Mask (height, width) uint8 of zeros and ones, pycocotools' rasterisation.

    Raises:
        ValueError: see :func:`segmentation_to_rle`.
    """
    return np.asarray(coco_mask.decode(segmentation_to_rle(segmentation, height, width)))


LARGE = 2**18
"""Pixels from which on a crop is packed."""


class PackedCrops(Sequence[np.ndarray]):
    """Arrays (h, w) bool that are asked for one by one; large ones are kept as runs or as bits, whichever is less.

    Args:
        crops: taken one after the other, so that no two large ones are held at a time if they are made that way.
    """

    def __init__(self, crops: Iterable[np.ndarray]) -> None:
        self._kept = [crop if crop.size < LARGE else _packed(crop) for crop in crops]

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> PackedCrops: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | PackedCrops:
        """An array, unpacked anew at each call; of a slice the arrays as they are kept."""
        if isinstance(index, slice):
            return self.select(range(len(self))[index])
        kept = self._kept[index]
        return kept if isinstance(kept, np.ndarray) else kept.unpacked()

    def shape(self, index: int) -> tuple[int, int]:
        """(h, w) of an array."""
        height, width = self._kept[index].shape
        return height, width

    def select(self, keep: Iterable[int]) -> PackedCrops:
        """The arrays at the positions ``keep``, as they are kept."""
        chosen = PackedCrops(())
        chosen._kept = [self._kept[index] for index in keep]
        return chosen


@dataclass(frozen=True)
class _Packed:
    """A mask as lengths of runs, clear and set in turn, or as bits, both row by row."""

    shape: tuple[int, ...]
    runs: np.ndarray | None
    bits: np.ndarray | None

    def unpacked(self) -> np.ndarray:
        if self.runs is not None:
            values = np.arange(len(self.runs)) % 2 == 1
            return np.repeat(values, self.runs).reshape(self.shape)
        assert self.bits is not None
        return np.unpackbits(self.bits, count=math.prod(self.shape)).view(bool).reshape(self.shape)


def _packed(crop: np.ndarray) -> _Packed:
    flat = crop.reshape(-1)
    # A run of clear pixels comes first, of none where the first one is set.
    places = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0] if flat[0] else [], places])
    if 4 * len(starts) > flat.size / 8:
        return _Packed(crop.shape, None, np.packbits(flat))
    return _Packed(crop.shape, np.diff(starts, prepend=0, append=flat.size).astype(np.int32), None)


@dataclass(frozen=True)
class CroppedMasks:
    """N masks of one picture, each kept as a crop, large ones packed: 300 masks of a 12-megapixel photograph
    stay small.

    Attributes:
        size: (height, width) of the picture.
        corners: N (left, top) pixels of each crop.
        crops: N arrays (h, w) bool.
    """

    size: tuple[int, int]
    corners: Sequence[tuple[int, int]]
    crops: Sequence[np.ndarray]

    def __post_init__(self) -> None:
        object.__setattr__(self, "crops", self._packed)

    @property
    def _packed(self) -> PackedCrops:
        return self.crops if isinstance(self.crops, PackedCrops) else PackedCrops(self.crops)

    @classmethod
    def from_dense(cls, size: tuple[int, int], masks: Iterable[np.ndarray]) -> CroppedMasks:
        """From masks (height, width) bool or of zeros and ones, each cut to its own extent and let go at once.

        ``masks`` may make them one by one: no more than one of them is held beside the crops.
        """
        corners: list[tuple[int, int]] = []

        def crops() -> Iterator[np.ndarray]:
            for mask in masks:
                rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
                if not len(rows):
                    rows = columns = np.zeros(1, dtype=int)
                corners.append((int(columns[0]), int(rows[0])))
                # A copy, whatever the type: a view would keep the whole mask alive.
                yield mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(bool)

        packed = PackedCrops(crops())
        return cls(size, corners, packed)

    def __len__(self) -> int:
        return len(self.crops)

    def select(self, keep: Sequence[int]) -> CroppedMasks:
        """The masks at the positions ``keep``, in that order."""
        return CroppedMasks(self.size, [self.corners[i] for i in keep], self._packed.select(keep))

    def window(self, index: int) -> tuple[slice, slice]:
        """Where crop ``index`` lies in the picture, as (rows, columns)."""
        (left, top), (height, width) = self.corners[index], self._packed.shape(index)
        return slice(top, top + height), slice(left, left + width)

    def dense(self, index: int) -> np.ndarray:
        """Mask ``index`` as (height, width) bool."""
        full = np.zeros(self.size, dtype=bool)
        full[self.window(index)] = self.crops[index]
        return full

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.dense(index) for index in range(len(self)))

    def areas(self) -> list[int]:
        """Pixels of each mask."""
        return [int(np.count_nonzero(crop)) for crop in self.crops]

    def outline(self, index: int) -> np.ndarray:
        """Outline of the largest part of mask ``index``, (P, 2) float32 of x, y in pixels; (0, 2) for an empty one."""
        crop = np.pad(self.crops[index], 1).astype(np.float32)
        lines = contour_generator(z=crop).lines(0.5)
        if not lines:
            return np.zeros((0, 2), dtype=np.float32)
        left, top = self.corners[index]
        # Contours run between pixel centres of the padded crop; half a pixel takes them to pixel edges.
        shift = np.array([left - 0.5, top - 0.5])
        return np.asarray(max(lines, key=_enclosed) + shift, dtype=np.float32)

    def rle(self, index: int) -> dict[str, Any]:
        """Mask ``index`` as COCO's compressed RLE with text counts, fit for JSON."""
        encoded = coco_mask.frPyObjects({"size": list(self.size), "counts": self._runs(index)}, *self.size)
        return {"size": list(self.size), "counts": encoded["counts"].decode()}

    def _runs(self, index: int) -> np.ndarray:
        """Lengths of runs of zeros and ones in turn, zeros first, down the columns of the whole picture.

        Worked out from the crop: a full-size mask takes ten times as long to make and to read.
        """
        height, width = self.size
        (left, top), crop = self.corners[index], self.crops[index]
        # Below every column stands a zero where the picture has one, so that runs end with their column; columns as
        # high as the picture run on into the next. One more zero stands in front of all, and one behind.
        column = crop.shape[0] + (crop.shape[0] < height)
        line = np.zeros(column * crop.shape[1] + 2, dtype=bool)
        line[1:-1].reshape(crop.shape[1], column)[:, : crop.shape[0]] = crop.T
        x, y = np.divmod(np.flatnonzero(line[1:] != line[:-1]), column)
        counts = np.diff((left + x) * height + top + y, prepend=0, append=height * width)
        return counts[:-1] if len(x) and not counts[-1] else counts


def _enclosed(line: Any) -> float:
    """Area inside a closed line (P, 2), the shoelace formula."""
    x, y = np.asarray(line).T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)
