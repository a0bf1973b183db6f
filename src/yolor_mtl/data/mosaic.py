"""Mixing pictures: mosaic, and mixup of two frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from yolor_mtl.data.transforms import assemble, join_tables, random_cut
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


def single(sample: Sample, size: tuple[int, int], jitter: float, rng: np.random.Generator) -> Sample:
    """One picture, resized and placed at random. Arguments as in :func:`mosaic`."""
    shape = _shape(sample)
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
        texts={},
    )


def _layers(sample: Sample, name: str) -> Tensor:
    if name in sample.maps:
        layers: Tensor = sample.maps[name].as_subclass(Tensor)
        return layers
    return torch.full((1, *sample.image.shape[-2:]), IGNORE, dtype=torch.uint8)
