"""Reading photographs: upright, RGB, whole or not at all."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision import tv_tensors

MAX_PIXELS = 120_000_000
"""Greatest picture that is decoded; a small file can claim to be gigabytes."""


class UnreadableImageError(Exception):
    """A picture that cannot be read whole. The message says why, without the path."""


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
    try:
        with warnings.catch_warnings():
            # Pillow warns at half of its own limit; ours is checked right below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise UnreadableImageError(f"{width} x {height} pixels, more than the limit of {MAX_PIXELS}")
                upright = ImageOps.exif_transpose(picture)
                return _rgb(upright)
    except UnreadableImageError:
        raise
    except FileNotFoundError as error:
        raise UnreadableImageError("no such file") from error
    # Decoders raise what they like on broken bytes: SyntaxError, struct.error, EOFError, ValueError, OSError...
    except Exception as error:
        reason = "not a picture in a known format" if isinstance(error, UnidentifiedImageError) else str(error)
        if isinstance(source, Path) and source.is_file() and source.stat().st_size == 0:
            reason = "the file is empty (0 bytes)"
        raise UnreadableImageError(reason or type(error).__name__) from error


def _rgb(picture: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white, 16-bit grey is scaled instead of clipped."""
    if picture.mode in ("I;16", "I;16B", "I;16L", "I"):
        grey = np.asarray(picture, dtype=np.float64) / 257
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")
