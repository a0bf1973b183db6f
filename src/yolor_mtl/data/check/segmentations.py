"""Segmentations of objects: polygons and RLEs, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from yolor_mtl.data.check.reading import not_finite
from yolor_mtl.data.coco_json import JsonRle, JsonSegmentation
from yolor_mtl.ops.masks import RleError, check_rle

_DECODER = msgspec.json.Decoder(JsonSegmentation)
_LOOSE = msgspec.json.Decoder(list[msgspec.Raw])
_POLYGON = msgspec.json.Decoder(list[float])


class Segmentation(NamedTuple):
    """What is wrong with a segmentation, and what of it can be used.

    Attributes:
        faults: check and message.
        polygons: those with three points and more, coordinates in pairs and finite.
        masked: whether it gives a mask.
    """

    faults: Sequence[tuple[str, str]] = ()
    polygons: Sequence[list[float]] = ()
    masked: bool = False


NONE = Segmentation()


def examine(raw: msgspec.Raw, height: int, width: int, margin: float = 1.0) -> Segmentation:
    """Looks at a segmentation as it stands in a file.

    Args:
        raw: its JSON text.
        height: of the picture as annotated.
        width: the same.
        margin: how far polygons may leave the picture.
    """
    try:
        content = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _damaged(raw, str(error), height, width, margin)
    if not content:
        return NONE
    if isinstance(content, JsonRle):
        return _rle(content, height, width)
    return _polygons(content, height, width, margin)


def _rle(content: JsonRle, height: int, width: int) -> Segmentation:
    try:
        runs = check_rle(content.size, content.counts, height, width)
    except RleError as error:
        return Segmentation([(f"rle-{error.kind}", str(error))])
    if not sum(runs[1::2]):
        return Segmentation([("mask-empty", "the RLE covers no pixel")], masked=True)
    return Segmentation(masked=True)


def _polygons(content: Sequence[list[float]], height: int, width: int, margin: float) -> Segmentation:
    faults: list[tuple[str, str]] = []
    usable: list[list[float]] = []
    for number, part in enumerate(content):
        if len(part) % 2:
            faults.append(("polygon-odd", f"polygon {number} has {len(part)} coordinates"))
            continue
        if len(part) < 6:
            faults.append(("polygon-short", f"polygon {number} has {len(part) // 2} points"))
            continue
        usable.append(part)
        xs, ys = part[::2], part[1::2]
        left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
        if left < -margin or top < -margin or right > width + margin or bottom > height + margin:
            spans = f"{left:g}, {top:g} to {right:g}, {bottom:g}"
            faults.append(("polygon-outside", f"polygon {number} spans {spans} in a picture of {width} x {height}"))
        if left == right or top == bottom:
            faults.append(("mask-empty", f"polygon {number} is a line"))
    return Segmentation(faults, usable, bool(usable))


def _damaged(raw: msgspec.Raw, message: str, height: int, width: int, margin: float) -> Segmentation:
    """Polygons some of which may be sound, or nothing of the kind."""
    if not not_finite(bytes(raw), message):
        return Segmentation([("segmentation-type", message)])
    try:
        parts = _LOOSE.decode(raw)
    except msgspec.DecodeError:
        return Segmentation([("segmentation-type", message)])
    sound: list[list[float]] = []
    faults: list[tuple[str, str]] = []
    for number, part in enumerate(parts):
        try:
            sound.append(_POLYGON.decode(part))
        except msgspec.DecodeError:
            faults.append(("polygon-not-finite", f"polygon {number} holds a number that is none or is out of range"))
    rest = _polygons(sound, height, width, margin)
    return Segmentation([*faults, *rest.faults], rest.polygons, rest.masked)
