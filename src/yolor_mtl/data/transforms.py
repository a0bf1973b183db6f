"""Geometry and colour of samples. Everything dispatches on tv_tensors' types: boxes and masks move together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from yolor_mtl.ops.boxes import area
from yolor_mtl.ops.frame import GREY, letterbox_frame
from yolor_mtl.records import IGNORE, Sample

MIN_SIDE = 2.0
"""Boxes narrower than this many pixels after geometry are dropped: nothing of the object can be seen."""

MIN_SHARE = 0.1
"""Objects of which less than this share is left inside the picture are dropped."""


@dataclass
class AugmentConfig:
    """The block ``augment``: strong augmentation of the vision view. The language view is only letterboxed.

    Attributes:
        mosaic: probability that four pictures share a frame.
        mixup: probability that two such frames are blended.
        scale: size jitter, a factor in 1 - scale .. 1 + scale.
        flip: probability of mirroring.
        hue: jitter as a share of the colour circle.
        saturation: jitter, a factor in 1 - x .. 1 + x.
        brightness: the same.
        close: share of the training's end without mosaic and mixup.
    """

    mosaic: float = 1.0
    mixup: float = 0.0
    scale: float = 0.5
    flip: float = 0.5
    hue: float = 0.015
    saturation: float = 0.6
    brightness: float = 0.4
    close: float = 0.15


@dataclass(frozen=True)
class Cut:
    """A rectangle of a picture and where it goes.

    Attributes:
        source: (top, left, height, width) in the picture.
        target: the same in the new frame, which it need not fill.
    """

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]


def whole_cut(original: tuple[int, int], size: tuple[int, int]) -> Cut:
    """Letterboxing: all of the picture, centred. Sizes are (height, width)."""
    frame = letterbox_frame(original, size)
    return Cut((0, 0, *original), (frame.pad[1], frame.pad[0], *frame.inner))


def random_cut(
    original: tuple[int, int], region: tuple[int, int, int, int], ratio: float, rng: np.random.Generator
) -> Cut:
    """As much of the picture, resized by ``ratio``, as fits a region of the new frame; the place is random.

    Args:
        original: (height, width) of the picture.
        region: (top, left, height, width) to fill in the new frame.
        ratio: new pixels per old pixel.
        rng: for the place.
    """
    sides = [_random_side(original[axis], region[2 + axis], ratio, rng) for axis in (0, 1)]
    (top, height, down, tall), (left, width, right, wide) = sides
    return Cut((top, left, height, width), (region[0] + down, region[1] + right, tall, wide))


def _random_side(side: int, room: int, ratio: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """One axis of :func:`random_cut`: start and length in the picture, start and length in the region."""
    scaled = max(1, round(side * ratio))
    if scaled <= room:
        return 0, side, int(rng.integers(0, room - scaled + 1)), scaled
    length = max(1, min(side, round(room / ratio)))
    return int(rng.integers(0, side - length + 1)), length, 0, room


def assemble(pieces: list[tuple[Sample, Cut]], size: tuple[int, int]) -> Sample:
    """One frame out of cuts that do not overlap. What no cut covers is grey, without objects, and unlabelled.

    Where pieces have different columns, a missing one is filled with zeros: an object without a mask stays an object
    without a mask. A per-pixel label that a piece lacks becomes :data:`IGNORE` there. Texts survive in a frame made
    of one picture only: they speak of the whole of it.

    Args:
        pieces: pictures with their cuts; all or none are labelled for objects.
        size: (height, width) of the frame.
    """
    cuts = [(_cut(sample, cut), cut) for sample, cut in pieces]
    image = tv_tensors.Image(torch.full((3, *size), GREY, dtype=torch.uint8))
    for piece, cut in cuts:
        _window(image, cut)[...] = piece.image
    tables = [_placed(piece.objects, cut, size) for piece, cut in cuts if piece.objects is not None]
    names = dict.fromkeys(name for piece, _ in cuts for name in piece.maps)
    first = pieces[0][0]
    return replace(
        first,
        image=image,
        objects=join_tables(tables) if tables else None,
        maps={name: _joined_map(name, cuts, size) for name in names},
        texts=first.texts if len(pieces) == 1 else {},
        annotations=None,
    )


def _cut(sample: Sample, cut: Cut) -> Sample:
    """The source rectangle of everything, resized to the target's size; objects that are left outside are dropped."""
    top, left, height, width = cut.source

    def resized(value: Tensor) -> Tensor:
        goal = list(cut.target[2:])
        if isinstance(value, tv_tensors.Mask):
            # Torchvision's own rule for masks rounds positions down: a shift by up to half a pixel against the picture.
            part = value.as_subclass(Tensor)[..., top : top + height, left : left + width]
            resized_part: Tensor = F.resize_image(part, goal, interpolation=InterpolationMode.NEAREST_EXACT)
            mask: Tensor = tv_tensors.Mask(resized_part)
            return mask
        piece: Tensor = F.resized_crop(value, top, left, height, width, goal, antialias=True)
        return piece

    moved = map_sample(sample, resized)
    if sample.objects is None or moved.objects is None or "boxes" not in sample.objects:
        return moved
    factor = (cut.target[2] / height) * (cut.target[3] / width)
    moved_boxes = moved.objects["boxes"]
    limit = torch.tensor([cut.target[3], cut.target[2]] * 2, dtype=torch.float32)
    boxes = _like(moved_boxes, moved_boxes.as_subclass(Tensor).clamp(min=0).minimum(limit))
    before = area(sample.objects["boxes"].as_subclass(Tensor)) * factor
    plain = boxes.as_subclass(Tensor)
    sides = plain[:, 2:] - plain[:, :2]
    keep = (sides.amin(dim=1) >= MIN_SIDE) & (area(plain) >= MIN_SHARE * before)
    return replace(moved, objects=select_rows({**moved.objects, "boxes": boxes}, keep))


def _window(value: Tensor, cut: Cut) -> Tensor:
    top, left, height, width = cut.target
    return value[..., top : top + height, left : left + width]


def _placed(table: dict[str, Tensor] | None, cut: Cut, size: tuple[int, int]) -> dict[str, Tensor]:
    """A table's geometry shifted from a cut's own rectangle into the frame."""
    top, left, height, width = cut.target
    padding = [left, top, size[1] - left - width, size[0] - top - height]
    return {
        name: F.pad(value, padding) if isinstance(value, tv_tensors.TVTensor) else value
        for name, value in (table or {}).items()
    }


def _joined_map(name: str, cuts: list[tuple[Sample, Cut]], size: tuple[int, int]) -> tv_tensors.Mask:
    layers = max(len(piece.maps[name]) for piece, _ in cuts if name in piece.maps)
    joined = torch.full((layers, *size), IGNORE, dtype=torch.uint8)
    for piece, cut in cuts:
        if name in piece.maps:
            _window(joined, cut)[...] = piece.maps[name].as_subclass(Tensor)
    return tv_tensors.Mask(joined)


def map_sample(sample: Sample, function: Callable[[Tensor], Tensor]) -> Sample:
    """The sample with ``function`` applied to its image, its per-pixel labels and the geometry of its objects."""
    objects = sample.objects and {
        name: function(value) if isinstance(value, tv_tensors.TVTensor) else value
        for name, value in sample.objects.items()
    }
    maps = {name: function(value) for name, value in sample.maps.items()}
    return replace(sample, image=function(sample.image), objects=objects, maps=maps)


def select_rows(table: dict[str, Tensor], keep: Tensor) -> dict[str, Tensor]:
    """Rows of every column of an object table; ``keep`` is (N,) bool."""
    return {name: _like(value, value.as_subclass(Tensor)[keep]) for name, value in table.items()}


def join_tables(tables: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The rows of all tables; a column that a table lacks is filled with zeros."""
    joined: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for table in tables for name in table):
        model = next(table[name] for table in tables if name in table)
        parts = [
            table[name].as_subclass(Tensor)
            if name in table
            else model.as_subclass(Tensor).new_zeros(_rows(table), *model.shape[1:])
            for table in tables
        ]
        joined[name] = _like(model, torch.cat(parts))
    return joined


def _rows(table: dict[str, Tensor]) -> int:
    return len(next(iter(table.values())))


def _like(model: Tensor, value: Tensor) -> Tensor:
    """The value as the tv_tensors type of the model."""
    return tv_tensors.wrap(value, like=model) if isinstance(model, tv_tensors.TVTensor) else value


def recolour(image: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Jitters hue, saturation and brightness of (3, H, W) uint8."""
    hue, saturation, brightness = rng.uniform(-1, 1, 3) * (config.hue, config.saturation, config.brightness)
    if saturation:
        image = F.adjust_saturation(image, 1 + float(saturation))
    if brightness:
        image = F.adjust_brightness(image, 1 + float(brightness))
    if hue:
        image = F.adjust_hue(image, float(hue))
    return image
