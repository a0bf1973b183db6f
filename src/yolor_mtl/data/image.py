"""Reading photographs: upright, RGB, whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torchvision import tv_tensors

MAX_PIXELS = 120_000_000
"""Greatest picture that is decoded; a small file can claim to be gigabytes."""


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what turns the picture upright."""


class UnreadableImageError(Exception):
    """A picture that cannot be read whole. The message says why, without the path."""


class TooManyPixelsError(UnreadableImageError):
    """A picture that is larger than what is decoded."""


FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Formats that are opened, whatever a file calls itself; Pillow knows others that start external programs."""


def read_image(source: Path | BinaryIO) -> tv_tensors.Image:
    """A picture as (3, H, W) uint8 RGB, turned upright by its EXIF orientation.

    Args:
        source: a file or an open stream.

    Raises:
        UnreadableImageError: missing, empty, truncated, not a picture, or larger than :data:`MAX_PIXELS`.
    """
    return tv_tensors.Image(torch.from_numpy(np.array(open_upright(source))).permute(2, 0, 1).contiguous())


def open_upright(source: Path | BinaryIO) -> Image.Image:
    """As :func:`read_image`, as a PIL picture."""
    with _opened(source) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise TooManyPixelsError(f"{width} x {height} pixels, more than the limit of {MAX_PIXELS}")
        return upright_rgb(picture)


def read_header(source: Path | BinaryIO) -> tuple[str, int, int]:
    """Format, width and height as a file's header says, before any turn; no pixel is decoded.

    Raises:
        UnreadableImageError: missing, empty, or not a picture.
    """
    with _opened(source) as picture:
        return str(picture.format), picture.width, picture.height


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[Image.Image]:
    """A picture whose header is read; whatever goes wrong while it is open means that it cannot be read."""
    try:
        with warnings.catch_warnings():
            # Pillow warns at half of its own limit; whoever decodes checks ours.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as picture:
                yield picture
    except UnreadableImageError:
        raise
    except FileNotFoundError as error:
        raise UnreadableImageError("no such file") from error
    except Image.DecompressionBombError as error:
        # Pillow's own limit lies above ours; its message is about attacks.
        raise TooManyPixelsError(f"more pixels than the limit of {MAX_PIXELS}") from error
    # Decoders raise what they like on broken bytes: SyntaxError, struct.error, EOFError, ValueError, OSError...
    except Exception as error:
        raise UnreadableImageError(_reason(source, error)) from error


def _reason(source: Path | BinaryIO, error: Exception) -> str:
    if isinstance(source, Path) and source.is_file() and source.stat().st_size == 0:
        return "the file is empty (0 bytes)"
    if isinstance(error, UnidentifiedImageError):
        return "not a picture in a known format"
    # The whole text of an error of the system ends in the path.
    system = error.strerror if isinstance(error, OSError) else None
    return system or str(error) or type(error).__name__


def upright_rgb(picture: Image.Image) -> Image.Image:
    """An opened picture, turned upright and in RGB."""
    return _rgb(_upright(picture))


def _upright(picture: Image.Image) -> Image.Image:
    """Turned by its EXIF orientation.

    Pillow's own ``exif_transpose`` also writes the other EXIF entries anew and fails where one of them is broken.
    """
    picture.load()
    turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
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
