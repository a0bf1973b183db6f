"""Geometry of samples. It dispatches on types, tv_tensors' and our own of masks: boxes and masks move together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad as pad_sides
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from yolor_mtl.data.sides import mirrored
from yolor_mtl.ops.boxes import area
from yolor_mtl.ops.crops import MaskCrops, join_crops
from yolor_mtl.ops.frame import GREY, letterbox_frame
from yolor_mtl.records import IGNORE, Sample

MIN_SIDE = 2.0
"""Boxes narrower than this many pixels after geometry are dropped: nothing of the object can be seen."""

MIN_SHARE = 0.1
"""Objects of which less than this share is left inside the picture are dropped."""


SHAPES = (tv_tensors.TVTensor, MaskCrops)
"""Types of what moves with the pixels."""

Column = Any
"""A column of an object table: a tensor, or masks as :class:`MaskCrops`."""

Table = dict[str, Column]
"""Object table: columns of N rows each."""


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
    without a mask. A per-pixel label that a piece lacks becomes :data:`IGNORE` there. Texts are the first picture's:
    whether they are true of what it has become is for :mod:`yolor_mtl.data.augment` to say.

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
        annotations=None,
    )


def _cut(sample: Sample, cut: Cut) -> Sample:
    """The source rectangle of everything, resized to the target's size; objects that are left outside are dropped."""
    top, left, height, width = cut.source

    def resized(value: Column) -> Column:
        goal = list(cut.target[2:])
        if isinstance(value, MaskCrops):
            return value.resized(cut.source, cut.target[2:])
        if isinstance(value, tv_tensors.Mask):
            # Torchvision's own rule for masks rounds positions down: a shift by up to half a pixel against the picture.
            part = value.as_subclass(Tensor)[..., top : top + height, left : left + width]
            mask: Tensor = tv_tensors.Mask(F.resize_image(part, goal, interpolation=InterpolationMode.NEAREST_EXACT))
            return mask
        piece: Tensor = F.resized_crop(value, top, left, height, width, goal, antialias=True)
        return piece

    table = sample.objects
    if table is None or "boxes" not in table:
        return map_sample(sample, resized)
    # Boxes first: the masks of what they leave out need not be looked at.
    factor = (cut.target[2] / height) * (cut.target[3] / width)
    moved_boxes = resized(table["boxes"])
    limit = torch.tensor([cut.target[3], cut.target[2]] * 2, dtype=torch.float32)
    boxes = moved_boxes.as_subclass(Tensor).clamp(min=0).minimum(limit)
    before = area(table["boxes"].as_subclass(Tensor)) * factor
    keep = visible(boxes) & (area(boxes) >= MIN_SHARE * before)
    moved = map_sample(replace(sample, objects=select_rows(table, keep)), resized)
    return replace(moved, objects={**(moved.objects or {}), "boxes": _like(moved_boxes, boxes[keep])})


def visible(boxes: Tensor) -> Tensor:
    """Which boxes (N, 4) are wide and high enough for anything to be seen in them: (N,) bool."""
    wide: Tensor = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) >= MIN_SIDE
    return wide


def _window(value: Tensor, cut: Cut) -> Tensor:
    top, left, height, width = cut.target
    return value[..., top : top + height, left : left + width]


def _placed(table: Table | None, cut: Cut, size: tuple[int, int]) -> Table:
    """A table's geometry shifted from a cut's own rectangle into the frame."""
    top, left, height, width = cut.target
    padding = [left, top, size[1] - left - width, size[0] - top - height]

    def shifted(value: Column) -> Column:
        return value.placed(top, left, size) if isinstance(value, MaskCrops) else F.pad(value, padding)

    return {name: shifted(value) if isinstance(value, SHAPES) else value for name, value in (table or {}).items()}


def _joined_map(name: str, cuts: list[tuple[Sample, Cut]], size: tuple[int, int]) -> tv_tensors.Mask:
    layers = max(len(piece.maps[name]) for piece, _ in cuts if name in piece.maps)
    joined = torch.full((layers, *size), IGNORE, dtype=torch.uint8)
    for piece, cut in cuts:
        if name in piece.maps:
            _window(joined, cut)[...] = piece.maps[name].as_subclass(Tensor)
    return tv_tensors.Mask(joined)


def map_sample(sample: Sample, function: Callable[[Any], Any]) -> Sample:
    """The sample with ``function`` applied to its image, its per-pixel labels and the geometry of its objects."""
    objects = sample.objects and {
        name: function(value) if isinstance(value, SHAPES) else value for name, value in sample.objects.items()
    }
    maps = {name: function(value) for name, value in sample.maps.items()}
    return replace(sample, image=function(sample.image), objects=objects, maps=maps)


def select_rows(table: Table, keep: Tensor) -> Table:
    """Rows of every column of an object table; ``keep`` is (N,) bool."""
    return {
        name: value.select(keep) if isinstance(value, MaskCrops) else _like(value, value.as_subclass(Tensor)[keep])
        for name, value in table.items()
    }


def join_tables(tables: list[Table]) -> Table:
    """The rows of all tables; a column that a table lacks is filled with zeros."""
    if any(isinstance(table.get("masks"), Tensor) for table in tables):
        tables = [with_planes(table) for table in tables]
    joined: Table = {}
    for name in dict.fromkeys(name for table in tables for name in table):
        model = next(table[name] for table in tables if name in table)
        if isinstance(model, MaskCrops):
            parts = [table.get(name) or MaskCrops.absent(model.size, _rows(table)) for table in tables]
            joined[name] = join_crops(parts)
            continue
        columns = [
            table[name].as_subclass(Tensor)
            if name in table
            else model.as_subclass(Tensor).new_zeros(_rows(table), *model.shape[1:])
            for table in tables
        ]
        joined[name] = _like(model, torch.cat(columns))
    return joined


def with_planes(table: Table) -> Table:
    """A table whose masks, where it has some, are whole planes, for what hides or turns pixels one by one."""
    masks = table.get("masks")
    return {**table, "masks": tv_tensors.Mask(masks.dense())} if isinstance(masks, MaskCrops) else table


def _rows(table: Table) -> int:
    return len(next(iter(table.values())))


def _like(model: Tensor, value: Tensor) -> Tensor:
    """The value as the tv_tensors type of the model."""
    return tv_tensors.wrap(value, like=model) if isinstance(model, tv_tensors.TVTensor) else value


def turn(sample: Sample, angle: float, shear: tuple[float, float]) -> Sample:
    """Turns and shears a frame about its middle; what comes in from outside is grey and unlabelled.

    An object with a mask has the box of what is left of it. Of one without, the box is that around the turned box.

    Args:
        sample: a frame.
        angle: degrees, clockwise.
        shear: degrees in x and in y.
    """

    def moved(value: Tensor, fill: int, smooth: bool = False) -> Tensor:
        how = InterpolationMode.BILINEAR if smooth else InterpolationMode.NEAREST
        return F.affine(value, angle, [0, 0], 1.0, list(shear), interpolation=how, fill=fill)  # type: ignore[no-any-return]

    maps = {name: moved(value, IGNORE) for name, value in sample.maps.items()}
    objects = sample.objects and {
        name: moved(value, 0) if isinstance(value, tv_tensors.TVTensor) else value
        for name, value in with_planes(sample.objects).items()
    }
    turned = replace(sample, image=moved(sample.image, GREY, smooth=True), maps=maps)
    return replace(turned, objects=objects and fitted(objects))


def fitted(table: Table, least: Tensor | None = None) -> Table:
    """Objects with a mask get the box of their mask; those of which too little is left go.

    Args:
        table: the object table after geometry, its masks as planes.
        least: (N,) pixels that an object with a mask must have; by default one.
    """
    if "boxes" not in table:
        return table
    boxes = table["boxes"].as_subclass(Tensor).clone()
    keep = torch.ones(len(boxes), dtype=torch.bool)
    if "masks" in table:
        masks = table["masks"].as_subclass(Tensor).bool()
        pixels = masks.sum(dim=(1, 2))
        keep = ~table["has_mask"] | (pixels >= (1 if least is None else least.clamp(min=1)))
        seen = table["has_mask"] & (pixels > 0)
        if seen.any():
            # Torchvision's boxes end at the last pixel, ours behind it.
            boxes[seen] = masks_to_boxes(masks[seen]) + torch.tensor([0.0, 0, 1, 1])
    keep &= visible(boxes)
    return select_rows({**table, "boxes": _like(table["boxes"], boxes)}, keep)


def covered(sample: Sample, cover: Tensor) -> Sample:
    """The labels of a frame of which something new hides a part; picture and maps are the caller's to change.

    Masks end where the cover begins, and boxes with them. An object without a mask keeps its box, or goes with it: what
    of the box is hidden says how much of it may be left.

    Args:
        sample: the frame.
        cover: (H, W) bool.
    """
    table = sample.objects
    if table is None or "boxes" not in table or not len(table["boxes"]):
        return sample
    table = with_planes(table)
    boxes = table["boxes"].as_subclass(Tensor)
    sums = pad_sides(cover.float().cumsum(0).cumsum(1), (1, 0, 1, 0))
    x1, y1, x2, y2 = boxes.round().long().unbind(1)
    hidden = (sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]) / area(boxes).clamp(min=1)
    keep = hidden <= 1 - MIN_SHARE
    least = None
    if "masks" in table:
        masks = table["masks"].as_subclass(Tensor)
        least = (masks.sum(dim=(1, 2)) * MIN_SHARE).ceil()
        table = {**table, "masks": _like(table["masks"], masks * ~cover)}
        keep |= table["has_mask"]
        least = least[keep]
    return replace(sample, objects=fitted(select_rows(table, keep), least))


def mirror(sample: Sample) -> Sample:
    """Left becomes right, in texts too."""
    texts = {name: tuple(mirrored(text) for text in group) for name, group in sample.texts.items()}

    def flipped(value: Column) -> Column:
        return value.mirrored() if isinstance(value, MaskCrops) else F.horizontal_flip(value)

    return replace(map_sample(sample, flipped), texts=texts)
