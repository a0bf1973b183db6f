"""Label maps of a cleaned copy that cannot be taken as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from yolor_mtl.data.check.entries import Entry
from yolor_mtl.data.check.turned import turned_map
from yolor_mtl.data.semantic_maps import panoptic_ids, panoptic_pixels


def map_size(source: Path) -> tuple[int, int]:
    """Height and width of a label map."""
    with Image.open(source) as picture:
        return picture.height, picture.width


def write_panoptic(source: Path, target: Path, segments: Sequence[Entry], turn: int | None) -> list[Entry]:
    """Writes a panoptic PNG of the listed segments only.

    Args:
        source: the PNG of the data set.
        target: its place in the copy.
        segments: those that its annotation lists.
        turn: the EXIF orientation that its picture is turned by.

    Returns:
        The segments that have pixels, each id once, with their number as area.
    """
    with Image.open(source) as picture:
        ids = panoptic_ids(np.asarray(turned_map(picture, turn) if turn else picture))
    found, counts = np.unique(ids, return_counts=True)
    areas = dict(zip(found.tolist(), counts.tolist(), strict=True))
    kept = {segment["id"]: segment for segment in reversed(segments) if segment["id"] in areas}
    ids[~np.isin(ids, np.fromiter(kept, ids.dtype, len(kept)))] = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(panoptic_pixels(ids)).save(target)
    return [segment | {"area": areas[number]} for number, segment in reversed(kept.items())]


def write_turned(source: Path, target: Path, turn: int) -> None:
    """Writes a COCO-Stuff map, turned as its picture."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as picture:
        turned_map(picture, turn).save(target)
