"""Per-pixel labels: panoptic PNGs and COCO-Stuff maps as arrays."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from yolor_mtl.records import IGNORE, Annotations, LabelSpace, PackedError, UserError


class MapError(UserError):
    """A map of labels that cannot be used.

    Attributes:
        kind: no such file, no picture, of another mode, or of another size than its image.
    """

    def __init__(self, message: str, kind: Literal["missing", "unreadable", "mode", "size"] = "unreadable") -> None:
        super().__init__(message)
        self.kind = kind


def panoptic_map(annotations: Annotations) -> np.ndarray:
    """Segment ids, (H, W) int32; 0 is unlabelled.

    Raises:
        UserError: no panoptic label, or its PNG is missing, broken, or of another size than the image.
        ValueError: the image has no panoptic label.
    """
    if annotations.panoptic is None:
        raise ValueError(f"image {annotations.image_id} has no panoptic label")
    return panoptic_ids(read_map(annotations.panoptic.path, annotations, ("RGB", "RGBA")))


def panoptic_ids(pixels: np.ndarray) -> np.ndarray:
    """Segment ids (H, W) int32 of a panoptic picture (H, W, 3 or 4) uint8: R + 256 G + 65536 B."""
    if pixels.shape[-1] == 4 and pixels.flags.c_contiguous and sys.byteorder == "little":
        return np.asarray(pixels.view(np.int32)[..., 0] & 0xFFFFFF)
    ids = pixels[..., 2].astype(np.int32)
    for channel in (1, 0):
        ids <<= 8
        ids |= pixels[..., channel]
    return ids


def panoptic_pixels(ids: np.ndarray) -> np.ndarray:
    """Inverse of :func:`panoptic_ids`: (..., 3) uint8 of ids of any shape."""
    return np.stack([ids & 255, (ids >> 8) & 255, (ids >> 16) & 255], axis=-1).astype(np.uint8)


def semantic_map(annotations: Annotations, space: LabelSpace) -> np.ndarray:
    """Classes of ``space.semantic``, (H, W) uint8; ``IGNORE`` where a pixel carries no label.

    The panoptic labels speak if the space's protocol is panoptic and the image has them, else the COCO-Stuff map
    if there is one, else the panoptic labels.

    Raises:
        UserError: the map is missing, broken, or of another size than the image.
        ValueError: the image has no semantic label.
    """
    panoptic_first = space.semantic_protocol.startswith("panoptic")
    if annotations.panoptic is not None and (panoptic_first or annotations.stuff_map is None):
        segments = annotations.panoptic.segments
        return _look_up(panoptic_map(annotations), [s.id for s in segments], [s.category for s in segments])
    if annotations.stuff_map is None:
        raise ValueError(f"image {annotations.image_id} has no semantic label")
    pixels = read_map(annotations.stuff_map, annotations, ("L", "P"))
    table = np.full(256, IGNORE, np.uint8)
    for place, category in enumerate(space.semantic):
        # COCO-Stuff writes category id v + 1 as v, and 255 where there is none.
        if 1 <= category.id <= 255:
            table[category.id - 1] = place
    return np.asarray(table[pixels])


def _look_up(pixels: np.ndarray, ids: Sequence[int], classes: Sequence[int]) -> np.ndarray:
    """Each pixel's class by its segment id; ``IGNORE`` for 0 and for ids that no segment has."""
    known = np.array([0, *ids], dtype=np.int32)
    order = np.argsort(known)
    known = known[order]
    values = np.array([IGNORE, *classes], dtype=np.uint8)[order]
    # Neighbours mostly have one id: it is looked up once a run.
    flat = pixels.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    runs = flat[starts]
    place = np.searchsorted(known, runs).clip(max=len(known) - 1)
    found = np.where(known[place] == runs, values[place], np.uint8(IGNORE))
    return np.repeat(found, np.diff(starts, append=flat.size)).reshape(pixels.shape)


def _pixels(picture: Image.Image) -> np.ndarray:
    """All pixels; three colours come as Pillow keeps them, four bytes a pixel, which takes half the time."""
    if picture.mode != "RGB":
        return np.asarray(picture)
    return np.frombuffer(picture.tobytes("raw", "RGBX"), np.uint8).reshape(picture.height, picture.width, 4)


def read_map(path: Path, annotations: Annotations, modes: Sequence[str]) -> np.ndarray:
    """Pixels of a PNG that belongs to an image.

    Args:
        path: the PNG.
        annotations: the image; the PNG must be of its size.
        modes: Pillow's modes that are understood.

    Returns:
        uint8: (H, W) of ``L`` and ``P``, (H, W, 4) of ``RGB`` and ``RGBA``, whose last channel means nothing.

    Raises:
        MapError: it is missing, broken, of another mode or another size.
        PackedError: it is packed, and what holds it cannot be read.
    """
    size = (annotations.width, annotations.height)
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(annotations.opened(path)) as picture:
            mode, found = picture.mode, picture.size
            # A small file can claim to be gigabytes: nothing is decoded that does not fit.
            pixels = _pixels(picture) if found == size else np.zeros(0)
    except FileNotFoundError as error:
        told = f"{path}: missing, the label map of image {annotations.image_id}; put it there"
        raise MapError(told, "missing") from error
    except PackedError:
        raise
    # Decoders raise what they like on broken bytes.
    except Exception as error:
        raise MapError(
            f"{path}: cannot be read as a label map: {error}; get or export it again", "unreadable"
        ) from error
    if mode not in modes:
        raise MapError(f"{path}: a PNG of mode {mode}, expected {' or '.join(modes)}; export it again", "mode")
    if found != size:
        raise MapError(
            f"{path}: {found[0]} x {found[1]} pixels, but image {annotations.image_id} has {size[0]} x {size[1]}",
            "size",
        )
    return pixels
