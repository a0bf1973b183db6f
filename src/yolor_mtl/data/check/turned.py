"""Labels of a picture as it is stored, turned as its EXIF orientation turns the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from yolor_mtl.data.check.entries import Entry
from yolor_mtl.data.image import TURNS
from yolor_mtl.ops.masks import decode_segmentation


def turned_points(points: Sequence[float], orientation: int, height: int, width: int) -> list[float]:
    """Points (x and y in turn) of the stored picture in the upright one.

    Args:
        points: pixels.
        orientation: 5 to 8.
        height: of the stored picture.
        width: the same.
    """
    xs, ys = points[::2], points[1::2]
    across = ys if orientation in (5, 8) else [height - y for y in ys]
    down = xs if orientation in (5, 6) else [width - x for x in xs]
    return [value for point in zip(across, down, strict=True) for value in point]


def turned_map(picture: Image.Image, orientation: int) -> Image.Image:
    """A label map, pixel by pixel."""
    return picture.transpose(TURNS[orientation])


def turned_object(entry: Mapping[str, Any], orientation: int, height: int, width: int) -> Entry:
    """An object of an instances file; its box and its segmentation must be sound."""
    x, y, w, h = entry["bbox"]
    x1, y1, x2, y2 = turned_points([x, y, x + w, y + h], orientation, height, width)
    turned: Entry = {**entry, "bbox": [min(x1, x2), min(y1, y2), abs(x2 - x1), abs(y2 - y1)]}
    mask = entry.get("segmentation")
    if isinstance(mask, dict):
        upright = turned_map(Image.fromarray(decode_segmentation(mask, height, width)), orientation)
        code = coco_mask.encode(np.asfortranarray(np.asarray(upright)))
        turned["segmentation"] = {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode()}
    elif mask:
        turned["segmentation"] = [turned_points(part, orientation, height, width) for part in mask]
    return turned


def already_upright(entries: Sequence[Mapping[str, Any]], height: int, width: int) -> bool:
    """Whether objects only fit the upright picture, so that nothing but the annotated size is wrong.

    Args:
        entries: the objects of one picture.
        height: as annotated, of the stored picture.
        width: the same.
    """

    def fits(box: Sequence[float], across: int, down: int) -> bool:
        x, y, w, h = box
        return x >= -1 and y >= -1 and x + w <= across + 1 and y + h <= down + 1

    boxes = [entry["bbox"] for entry in entries if _is_box(entry.get("bbox"))]
    sizes = [entry["segmentation"].get("size") for entry in entries if isinstance(entry.get("segmentation"), dict)]
    outside = any(not fits(box, width, height) for box in boxes) or [width, height] in sizes
    return outside and all(fits(box, height, width) for box in boxes) and [height, width] not in sizes


def _is_box(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(each, int | float) for each in value)
