"""Checks of COCO segmentations: what passes here decodes later, in a worker, without a surprise."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from yolor_mtl.data.coco_json import JsonObject, JsonRle, JsonSegmentation
from yolor_mtl.records import UserError

_REMEDY = "expected polygons [[x1, y1, x2, y2, ...], ...] or an RLE {size, counts}"
_MAX_DIGITS = 7  # Of five bits: more than any image's pixels need.


def mask_text(path: Path, label: JsonObject, height: int, width: int) -> bytes:
    """JSON text of the segmentation as it stands in the file; empty where the object has no mask.

    An object without a segmentation, or none of whose polygons has three points, has no mask.

    Raises:
        UserError: neither polygons nor an RLE of the image's size.
    """
    where = f"{path}: annotation {label.id}: segmentation"
    try:
        content: JsonSegmentation = msgspec.json.decode(label.segmentation, type=JsonSegmentation)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: {error}; {_REMEDY}") from error
    if isinstance(content, JsonRle):
        _check_rle(where, content, height, width)
    elif not content or max(map(len, content)) < 6:
        return b""
    elif any(len(part) % 2 for part in content):
        raise UserError(f"{where}: a polygon with an odd number of coordinates; {_REMEDY}")
    return bytes(label.segmentation)


def run_lengths(counts: str) -> np.ndarray:
    """Runs of a compressed RLE, (runs,) int64, in pixels: background, mask, background...

    Raises:
        ValueError: the text is no compressed RLE.
    """
    digits = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - 48
    if not len(digits) or digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise ValueError("not a compressed RLE")
    # A number is some digits of five bits, lowest first; bit 32 says that more follow, and bit 16 of the
    # last one is the sign.
    last = np.flatnonzero(digits & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > _MAX_DIGITS:
        raise ValueError("not a compressed RLE")
    places = np.arange(len(digits)) - np.repeat(first, lengths)
    numbers = np.add.reduceat((digits & 31) << (5 * places), first)
    numbers -= np.where(digits[last] & 16, np.int64(1) << (5 * lengths), 0)
    # From the fourth on, a number is the difference to the run two before it.
    for start in (1, 2):
        numbers[start::2] = np.cumsum(numbers[start::2])
    return np.asarray(numbers)


def _check_rle(where: str, rle: JsonRle, height: int, width: int) -> None:
    if rle.size != (height, width):
        raise UserError(f"{where}: size {list(rle.size)} is not the image's [height, width] {[height, width]}")
    try:
        runs = run_lengths(rle.counts) if isinstance(rle.counts, str) else np.array(rle.counts, np.int64)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{where}: counts: {error}; {_REMEDY}") from error
    # pycocotools trusts these numbers and writes outside its memory where they are wrong.
    if not len(runs) or runs.min() < 0 or runs.max() > height * width or runs.sum() != height * width:
        raise UserError(f"{where}: counts do not describe the {height * width} pixels of the image; export it again")
