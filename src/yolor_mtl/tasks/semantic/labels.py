"""Semantic labels: one map of class indices, from panoptic labels or COCO-Stuff pixel maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchvision import tv_tensors

from yolor_mtl.data.coco import semantic_map
from yolor_mtl.data.labels import Columns, by_row
from yolor_mtl.records import Annotations, LabelSpace, Sample, View


class SemanticLabels:
    """Maps of the images that have panoptic labels or a pixel map.

    Args:
        space: the classes.
        stride: pixels per cell of the head's output.
        view: the view that trains it.
    """

    view: View

    def __init__(self, space: LabelSpace, stride: int = 4, view: View = "vision") -> None:
        self.space = space
        self.stride = stride
        self.view = view

    def labelled(self, annotations: Annotations) -> bool:
        """Whether the image has a semantic map."""
        return annotations.panoptic is not None or annotations.stuff_map is not None

    def columns(self, annotations: Annotations) -> Columns:
        """``semantic`` (1, H, W) uint8 class indices."""
        classes = torch.from_numpy(semantic_map(annotations, self.space))
        return Columns(maps={"semantic": tv_tensors.Mask(classes[None])})

    def usable(self, sample: Sample) -> bool:
        """Vision views with at least one labelled pixel's worth of map."""
        return sample.view == self.view and "semantic" in sample.maps

    def targets(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """``maps`` (R, L, H / stride, W / stride) uint8; samples with fewer layers repeat their last one."""
        maps = [sample.maps["semantic"].as_subclass(Tensor) for sample in samples]
        layers = max(len(layer) for layer in maps)
        padded = [torch.cat((m, m[-1:].expand(layers - len(m), -1, -1))) for m in maps]
        return {"maps": middle_pixels(torch.stack(padded), self.stride)}

    def part(self, targets: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
        """Targets of some of the samples."""
        return by_row(targets, rows)


def middle_pixels(maps: Tensor, stride: int) -> Tensor:
    """A pixel for each cell: of an even stride by turns, as on a chess board, the one before and the one after its
    centre, since no pixel lies there and the same choice everywhere would shift the whole map by half a pixel.

    Args:
        maps: (..., H, W).
        stride: pixels per cell.

    Returns:
        (..., H / stride, W / stride).
    """
    before, after = (stride - 1) // 2, stride // 2
    early, late = maps[..., before::stride, before::stride], maps[..., after::stride, after::stride]
    rows, columns = (torch.arange(side, device=maps.device) for side in early.shape[-2:])
    return torch.where((rows[:, None] + columns) % 2 == 0, early, late)
