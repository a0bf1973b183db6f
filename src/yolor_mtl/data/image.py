"""Reading photographs: upright, RGB, whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torchvision import tv_tensors

MAX_PIXELS = 120_000_000
"""Greatest picture that is decoded; a small file can claim to be gigabytes."""


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what turns the picture upright."""


_SIDEWAYS = (5, 6, 7, 8)

Unreadable = Literal["missing", "empty", "format", "huge", "broken"]


class UnreadableImageError(Exception):
    """A picture that cannot be read whole. The message says why, without the path.

    Attributes:
        kind: no such file, no bytes, no known format, too many pixels, or anything else.
    """

    def __init__(self, reason: str, kind: Unreadable = "broken") -> None:
        super().__init__(reason)
        self.kind = kind


FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Formats that are opened, whatever a file calls itself; Pillow knows others that start external programs."""


@dataclass(frozen=True)
class PictureHead:
    """What a picture says of itself before its pixels are decoded.

    Attributes:
        height: of the upright picture, pixels.
        width: of the upright picture, pixels.
        orientation: the EXIF orientation, 1 where the picture has none; 5 to 8 lie on a side.
        format: Pillow's name of its format.
    """

    height: int
    width: int
    orientation: int
    format: str

    @property
    def sideways(self) -> bool:
        """Whether the stored picture has its sides exchanged."""
        return self.orientation in _SIDEWAYS


def read_head(path: Path) -> PictureHead:
    """The head of a picture; pixels are decoded for TIFF only.

    Raises:
        UnreadableImageError: missing, empty, not a picture, or larger than :data:`MAX_PIXELS`.
    """
    with _opened(path) as picture:
        _check_pixels(picture)
        # Not the format's own: that of PNG decodes all pixels in search of an entry behind them.
        orientation = int(Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1))
        kind, (width, height) = str(picture.format), picture.size
        if kind == "TIFF":
            # Pillow turns this format itself, and its versions disagree about when the size says so.
            width, height = upright_rgb(picture).size
        elif orientation in _SIDEWAYS:
            width, height = height, width
    return PictureHead(height, width, orientation if orientation in TURNS else 1, kind)


Source = Path | BinaryIO
"""A file, or an open stream."""

Opener = Callable[[Path], Source]
"""Gives what to read a path from."""


def read_image(source: Source, opened: Opener | None = None) -> tv_tensors.Image:
    """A picture as (3, H, W) uint8 RGB, turned upright by its EXIF orientation.

    Args:
        source: a file or an open stream.
        opened: gives what to read a file from that is a part of another.

    Raises:
        UnreadableImageError: missing, empty, truncated, not a picture, or larger than :data:`MAX_PIXELS`.
    """
    return tv_tensors.Image(torch.from_numpy(np.array(open_upright(source, opened))).permute(2, 0, 1).contiguous())


def open_upright(source: Source, opened: Opener | None = None) -> Image.Image:
    """As :func:`read_image`, as a PIL picture."""
    with _opened(source, opened) as picture:
        _check_pixels(picture)
        return upright_rgb(picture)


def read_header(source: Source) -> tuple[str, int, int]:
    """Format, width and height as a file's header says, before any turn; no pixel is decoded, whatever the format.

    Raises:
        UnreadableImageError: missing, empty, or not a picture.
    """
    with _opened(source) as picture:
        return str(picture.format), picture.width, picture.height


@contextmanager
def _opened(source: Source, opened: Opener | None = None) -> Iterator[Image.Image]:
    """A picture whose header is read; whatever goes wrong while it is open means that it cannot be read."""
    try:
        stream = opened(source) if opened and isinstance(source, Path) else source
        # Pillow warns of what it reads all the same; whoever decodes checks the size.
        with warnings.catch_warnings(action="ignore"), Image.open(stream, formats=FORMATS) as picture:
            yield picture
    # Decoders raise what they like on broken bytes: SyntaxError, struct.error, EOFError, ValueError, OSError...
    except Exception as error:
        raise _unreadable(source, error) from error


def _check_pixels(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(f"{width} x {height} pixels, more than the limit of {MAX_PIXELS}", "huge")


def _unreadable(source: Source, error: Exception) -> UnreadableImageError:
    """Why a picture cannot be read, whatever was raised."""
    if isinstance(error, UnreadableImageError):
        return error
    if isinstance(error, FileNotFoundError):
        return UnreadableImageError("no such file", "missing")
    if isinstance(source, Path) and source.is_file() and source.stat().st_size == 0:
        return UnreadableImageError("the file is empty (0 bytes)", "empty")
    if isinstance(error, UnidentifiedImageError):
        return UnreadableImageError("not a picture in a known format", "format")
    if isinstance(error, Image.DecompressionBombError):
        return UnreadableImageError(str(error), "huge")
    # The whole text of an error of the system ends in the path.
    system = error.strerror if isinstance(error, OSError) else None
    return UnreadableImageError(system or str(error) or type(error).__name__)


def upright_rgb(picture: Image.Image) -> Image.Image:
    """An opened picture, turned upright and in RGB."""
    return _rgb(_upright(picture))


def _upright(picture: Image.Image) -> Image.Image:
    """Turned by its EXIF orientation.

    Pillow's own ``exif_transpose`` also writes the other EXIF entries anew and fails where one of them is broken.
    """
    picture.load()
    turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None else picture.transpose(turn)


def _rgb(picture: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white, 16-bit grey is scaled instead of clipped."""
    if picture.mode in ("I;16", "I;16B", "I;16L", "I"):
        grey = np.asarray(picture, dtype=np.float64) / 257
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")
