"""One object of an instances file, mended as far as what is sound in it allows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from yolor_mtl.data.check.entries import Entry
from yolor_mtl.data.check.segmentations import examine
from yolor_mtl.data.labels import clipped_box
from yolor_mtl.ops.masks import segmentation_to_rle

_BOX = frozenset({"box-not-finite", "box-inverted", "box-empty", "box-outside"})


def mended_object(entry: Entry, checks: Collection[str], height: int, width: int) -> Entry | None:
    """The object without the faults that were found; ``None`` where nothing of it can be used.

    Args:
        entry: as the file has it.
        checks: what was found.
        height: of the picture as annotated.
        width: the same.
    """
    mended = dict(entry)
    _mend_mask(mended, height, width)
    if not _BOX.isdisjoint(checks):
        box = _mask_box(mended.get("segmentation"), height, width)
        if box is None and "box-inverted" in checks:
            x, y, w, h = entry["bbox"]
            box = (min(x, x + w), min(y, y + h), max(x, x + w), max(y, y + h))
    else:
        x, y, w, h = entry["bbox"]
        box = (x, y, x + w, y + h)
    clipped = None if box is None else clipped_box(box, height, width)
    if clipped is None:
        return None
    if not _BOX.isdisjoint(checks) or "box-leaves" in checks:
        x1, y1, x2, y2 = clipped
        mended["bbox"] = [x1, y1, x2 - x1, y2 - y1]
    return mended


def _mend_mask(entry: Entry, height: int, width: int) -> None:
    """Leaves out what of a segmentation cannot be used, and moves points that left the picture to its edge."""
    mask = entry.get("segmentation")
    if mask is None:
        return
    found = examine(msgspec.Raw(msgspec.json.encode(mask)), height, width)
    faults = {check for check, _ in found.faults}
    if not faults:
        return
    polygons = [_inside(part, height, width) for part in found.polygons]
    polygons = [part for part in polygons if len(set(part[::2])) > 1 and len(set(part[1::2])) > 1]
    if polygons:
        entry["segmentation"] = polygons
    else:
        del entry["segmentation"]


def _inside(polygon: Sequence[float], height: int, width: int) -> list[float]:
    limits = np.array([width, height], dtype=float)
    points: list[float] = np.asarray(polygon, dtype=float).reshape(-1, 2).clip(0, limits).ravel().tolist()
    return points


def _mask_box(mask: Any, height: int, width: int) -> tuple[float, float, float, float] | None:
    """The box around a sound segmentation, xyxy."""
    if not mask:
        return None
    x, y, w, h = (float(value) for value in coco_mask.toBbox(segmentation_to_rle(mask, height, width)))
    return x, y, x + w, y + h
