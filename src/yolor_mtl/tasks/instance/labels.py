"""Instance masks as columns of the object table, and as targets at the prototypes' stride."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from yolor_mtl.data.labels import Columns
from yolor_mtl.ops.crops import MaskCrops
from yolor_mtl.records import Annotations, Sample, View


class InstanceLabels:
    """Masks of the objects that have one; the others stay objects without a mask, never empty masks.

    Args:
        stride: pixels per cell of the prototypes.
        view: the view that trains it.
    """

    view: View

    def __init__(self, stride: int = 4, view: View = "vision") -> None:
        self.stride = stride
        self.view = view

    def labelled(self, annotations: Annotations) -> bool:
        """Whether the image is labelled for masks: it is listed and no object lacks a segmentation."""
        return annotations.objects is not None and annotations.has_masks

    def columns(self, annotations: Annotations) -> Columns:
        """``masks``, N :class:`MaskCrops`, without a pixel where an object has none; ``has_mask`` (N,) bool."""
        segmentations = [item.segmentation for item in annotations.objects or ()]
        masks = MaskCrops.of((annotations.height, annotations.width), segmentations)
        has_mask = torch.tensor([each is not None for each in segmentations], dtype=torch.bool)
        return Columns(objects={"masks": masks, "has_mask": has_mask})

    def usable(self, sample: Sample) -> bool:
        """The rows that detection trains on; which objects have a mask is said object by object."""
        return sample.view == self.view and sample.objects is not None and "boxes" in sample.objects

    def targets(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Masks of R samples.

        Returns:
            ``masks`` (M, H / stride, W / stride) uint8, how many of a cell's stride^2 pixels each object covers, of
            all objects whose mask is not empty; and ``mask_index`` (R, N) int64, the position in ``masks`` of each
            object of detection's padded table, -1 without one.
        """
        number = max((len((sample.objects or {})["boxes"]) for sample in samples), default=0)
        index = torch.full((len(samples), number), -1, dtype=torch.int64)
        height, width = (side // self.stride for side in samples[0].image.shape[-2:])
        parts = [torch.zeros(0, height, width, dtype=torch.uint8)]
        count = 0
        for row, sample in enumerate(samples):
            table = sample.objects or {}
            if "masks" not in table:
                continue
            # The covered share of a cell, not one of its pixels: none lies at its centre, so that any choice would
            # shift every mask by half a pixel. An object cut to nothing has no mask to learn; an empty one would teach
            # that it is not there.
            cells = _cells(table["masks"], self.stride)
            objects = (table["has_mask"] & cells.flatten(1).any(dim=1)).nonzero()[:, 0]
            index[row, objects] = torch.arange(count, count + len(objects))
            count += len(objects)
            parts.append(cells[objects])
        return {"masks": torch.cat(parts), "mask_index": index}

    def part(self, targets: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
        """The masks of some of the samples."""
        index = targets["mask_index"].index_select(0, rows)
        masked = index >= 0
        places = index[masked]
        renumbered = index.clone()
        renumbered[masked] = torch.arange(len(places), device=places.device)
        return {"masks": targets["masks"].index_select(0, places), "mask_index": renumbered}


def _cells(masks: MaskCrops | Tensor, stride: int) -> Tensor:
    """How many pixels of each cell are covered; masks are whole planes (N, H, W) after what hides single pixels."""
    if isinstance(masks, MaskCrops):
        return masks.cells(stride)
    pixels: Tensor = masks.as_subclass(Tensor).unflatten(2, (-1, stride)).unflatten(1, (-1, stride))
    return pixels.sum(dim=(2, 4), dtype=torch.uint8)
