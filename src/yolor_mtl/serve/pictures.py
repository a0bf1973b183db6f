"""Files to pixels, and results to JSON: what is done beside the event loop."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import PurePosixPath, PureWindowsPath

from PIL import Image
from torch import Tensor

from yolor_mtl.data.image import UnreadableImageError, read_header
from yolor_mtl.inference.predictor import to_tensor
from yolor_mtl.inference.result import Result
from yolor_mtl.serve.limits import RefusedError

MAX_SCANS = 64
"""Greatest number of scans of a JPEG. Encoders write about ten; each is a pass over all pixels for a few bytes."""

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_SCAN, _END = 0xDA, 0xD9
_ALONE = frozenset({0x01, 0xD8, _END})
"""Markers without a segment."""


def check_picture(file: bytes, max_pixels: int) -> int:
    """Pixels of a picture, by its header.

    Raises:
        RefusedError: 422 where it is empty, no picture, too large, or made to keep a decoder busy.
    """
    if not file:
        raise RefusedError(422, "unreadable", "the file is empty (0 bytes)")
    try:
        kind, width, height = read_header(io.BytesIO(file))
    except UnreadableImageError as error:
        if error.kind == "huge":
            raise RefusedError(422, "too_many_pixels", f"the picture has more than {max_pixels} pixels") from error
        raise _unreadable(error) from error
    if width * height > max_pixels:
        raise RefusedError(
            422, "too_many_pixels", f"the picture has {width} x {height} pixels; the limit is {max_pixels} in all"
        )
    if kind in ("JPEG", "MPO") and jpeg_scans(file, MAX_SCANS + 1) > MAX_SCANS:
        raise RefusedError(422, "unreadable", f"a JPEG of more than {MAX_SCANS} scans; save it anew")
    return width * height


def decode_picture(file: bytes) -> Tensor:
    """A picture as (3, H, W) uint8 RGB, upright.

    Raises:
        RefusedError: 422 where it cannot be read whole.
    """
    try:
        return to_tensor(file)
    except UnreadableImageError as error:
        raise _unreadable(error) from error


def encode_result(result: Result, path: str) -> bytes:
    """A line of ``predictions.jsonl`` whose images are data URIs."""
    record = result.to_json() | {"path": path}
    for name, image in result.images().items():
        record.setdefault(name, {})["png"] = _data_uri(image)
    return json.dumps(record, ensure_ascii=False).encode()


def base_name(given: str) -> str:
    """The last part of the path that a client says a file has, whatever its system; printable, and not long."""
    name = PurePosixPath(PureWindowsPath(given).name).name
    return "" if name == ".." else "".join(letter for letter in name if letter.isprintable())[:255]


def jpeg_scans(file: bytes, most: int) -> int:
    """Scans of the first picture in a JPEG file, counted up to ``most`` and to where the file stops making sense."""
    scans, place = 0, 2
    while scans < most and (marker := _MARKER.search(file, place)):
        kind = marker[1][0]
        if kind == _END:
            break
        scans += kind == _SCAN
        # What a segment holds may look like markers; what follows a scan's does not: there, FF is followed by 00.
        place = marker.end()
        if kind not in _ALONE:
            place += int.from_bytes(file[place : place + 2], "big")
    return scans


def _unreadable(error: UnreadableImageError) -> RefusedError:
    return RefusedError(422, "unreadable", f"the picture cannot be read: {error}")


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getbuffer()).decode()}"
