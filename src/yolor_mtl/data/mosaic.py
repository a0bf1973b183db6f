"""Mixing pictures: mosaic, mixup of two frames, and things pasted from one frame into another."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from yolor_mtl.data.transforms import (
    assemble,
    covered,
    join_tables,
    mirror,
    random_cut,
    select_rows,
    whole_cut,
    with_planes,
)
from yolor_mtl.ops.frame import GREY
from yolor_mtl.records import IGNORE, Sample

TILES = 4
"""Pictures in a mosaic."""


def mosaic(samples: list[Sample], size: tuple[int, int], jitter: float, rng: np.random.Generator) -> Sample:
    """Four pictures around a random point (Bochkovskiy et al., arXiv 2004.10934, section 3.3).

    Args:
        samples: four, all or none of them labelled for objects.
        size: (height, width) of the frame.
        jitter: each picture is resized to the frame's longer side times 1 - jitter .. 1 + jitter, then cut.
        rng: for the point, the sizes and the cuts.
    """
    height, width = size
    y, x = (round(float(rng.uniform(0.3, 0.7)) * side) for side in size)
    regions = ((0, 0, y, x), (0, x, y, width - x), (y, 0, height - y, x), (y, x, height - y, width - x))
    pieces = []
    for sample, region in zip(samples, regions, strict=True):
        shape = _shape(sample)
        ratio = max(size) / max(shape) * _factor(jitter, rng)
        pieces.append((sample, random_cut(shape, region, ratio, rng)))
    return assemble(pieces, size)


def single(
    sample: Sample, size: tuple[int, int], jitter: float, rng: np.random.Generator, place: bool = True
) -> Sample:
    """One picture, resized and placed at random.

    Args:
        sample: the picture.
        size: (height, width) of the frame.
        jitter: as in :func:`mosaic`.
        rng: for the size and the place.
        place: anywhere in the frame; otherwise, unless its size is jittered, in the middle.
    """
    shape = _shape(sample)
    if not (place or jitter):
        return assemble([(sample, whole_cut(shape, size))], size)
    ratio = min(size[0] / shape[0], size[1] / shape[1]) * _factor(jitter, rng)
    return assemble([(sample, random_cut(shape, (0, 0, *size), ratio, rng))], size)


def _shape(sample: Sample) -> tuple[int, int]:
    return int(sample.image.shape[-2]), int(sample.image.shape[-1])


def _factor(jitter: float, rng: np.random.Generator) -> float:
    return float(rng.uniform(1 - jitter, 1 + jitter))


def mixup(first: Sample, second: Sample, rng: np.random.Generator) -> Sample:
    """Blends two frames of one size (Zhang et al., arXiv 1710.09412), with a share near one half.

    Objects of both are objects of the blend, and so are the layers of their per-pixel labels: a pixel has two classes.
    Where one of them has no label for a map, its layer is :data:`IGNORE`, which leaves the pixel out.

    Args:
        first: a frame; both or none are labelled for objects.
        second: another.
        rng: for the share, drawn from Beta(32, 32).
    """
    share = float(rng.beta(32, 32))
    blend = first.image.float() * share + second.image.float() * (1 - share)
    tables = [sample.objects for sample in (first, second) if sample.objects is not None]
    names = dict.fromkeys([*first.maps, *second.maps])
    return replace(
        first,
        image=tv_tensors.Image(blend.round().to(torch.uint8)),
        objects=join_tables(tables) if tables else None,
        maps={name: tv_tensors.Mask(torch.cat((_layers(first, name), _layers(second, name)))) for name in names},
    )


def copy_paste(first: Sample, second: Sample, rng: np.random.Generator) -> Sample:
    """Pastes some things of the second frame into the first (Ghiasi et al., arXiv 2012.07177, section 3).

    Only things with a mask can be pasted, crowds never. They hide what they cover: masks and boxes of the first end
    where they begin. Their pixels' class is the second's; where it has no map, it is :data:`IGNORE`.

    Args:
        first: a frame whose objects are known.
        second: another frame of the same size.
        rng: which things, and whether the second is mirrored.
    """
    source = mirror(second) if rng.random() < 0.5 else second
    table = source.objects and with_planes(source.objects)
    if first.objects is None or table is None or "masks" not in table or "boxes" not in table:
        return first
    free = table["has_mask"] & table["masks"].as_subclass(Tensor).bool().flatten(1).any(1) & ~table["crowd"]
    chosen = free & torch.from_numpy(rng.random(len(free)) < 0.5)
    if not chosen.any():
        return first
    pasted = select_rows(table, chosen)
    cover = pasted["masks"].as_subclass(Tensor).bool().any(0)
    below = covered(first, cover)
    assert below.objects is not None
    maps = {}
    for name in dict.fromkeys([*first.maps, *source.maps]):
        under, over = _layers(first, name), _layers(source, name)
        layers = max(len(under), len(over))
        under, over = (part.expand(layers, -1, -1) if len(part) == 1 else part for part in (under, over))
        maps[name] = tv_tensors.Mask(torch.where(cover, over, under))
    image = torch.where(cover, source.image.as_subclass(Tensor), first.image.as_subclass(Tensor))
    return replace(below, image=tv_tensors.Image(image), objects=join_tables([below.objects, pasted]), maps=maps)


def erase(sample: Sample, rng: np.random.Generator) -> Sample:
    """Greys out a rectangle of 2 to 20 % of a frame (Zhong et al., arXiv 1708.04896); it hides what is there.

    Args:
        sample: a frame.
        rng: for the rectangle.
    """
    sides = _shape(sample)
    share, aspect = float(rng.uniform(0.02, 0.2)), float(np.exp(rng.uniform(-1, 1)))
    height = max(1, min(sides[0], round(sides[0] * math.sqrt(share * aspect))))
    width = max(1, min(sides[1], round(sides[1] * math.sqrt(share / aspect))))
    top, left = int(rng.integers(0, sides[0] - height + 1)), int(rng.integers(0, sides[1] - width + 1))
    cover = torch.zeros(sides, dtype=torch.bool)
    cover[top : top + height, left : left + width] = True
    image = torch.where(cover, torch.tensor(GREY, dtype=torch.uint8), sample.image.as_subclass(Tensor))
    plain = {name: value.as_subclass(Tensor) for name, value in sample.maps.items()}
    maps = {name: tv_tensors.Mask(value.masked_fill(cover, IGNORE)) for name, value in plain.items()}
    return replace(covered(sample, cover), image=tv_tensors.Image(image), maps=maps)


def _layers(sample: Sample, name: str) -> Tensor:
    if name in sample.maps:
        layers: Tensor = sample.maps[name].as_subclass(Tensor)
        return layers
    return torch.full((1, *sample.image.shape[-2:]), IGNORE, dtype=torch.uint8)
