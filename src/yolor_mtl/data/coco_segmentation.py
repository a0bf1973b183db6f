"""Checks of COCO segmentations: what passes here decodes later, in a worker, without a surprise."""

from __future__ import annotations

from pathlib import Path

import msgspec

from yolor_mtl.data.coco_json import JsonObject, JsonRle, JsonSegmentation
from yolor_mtl.ops.masks import check_rle
from yolor_mtl.records import UserError

_REMEDY = "expected polygons [[x1, y1, x2, y2, ...], ...] or an RLE {size, counts}"


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
        try:
            check_rle(content.size, content.counts, height, width)
        except ValueError as error:
            raise UserError(f"{where}: {error}; export it again") from error
    elif not content or max(map(len, content)) < 6:
        return b""
    elif any(len(part) % 2 for part in content):
        raise UserError(f"{where}: a polygon with an odd number of coordinates; {_REMEDY}")
    return bytes(label.segmentation)
