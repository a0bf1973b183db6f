"""Instance masks as columns of the object table, and as targets at the prototypes' stride."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from yolor_mtl.data.labels import Columns
from yolor_mtl.ops.masks import decode_segmentation
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
        """``masks`` (N, H, W) uint8 of zeros and ones, ``has_mask`` (N,) bool."""
        objects = annotations.objects or ()
        masks = np.zeros((len(objects), annotations.height, annotations.width), dtype=np.uint8)
        for row, item in enumerate(objects):
            if item.segmentation is not None:
                masks[row] = decode_segmentation(item.segmentation, annotations.height, annotations.width)
        has_mask = torch.tensor([item.segmentation is not None for item in objects], dtype=torch.bool)
        return Columns(objects={"masks": tv_tensors.Mask(torch.from_numpy(masks)), "has_mask": has_mask})

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
            pixels = table["masks"].as_subclass(Tensor).unflatten(2, (-1, self.stride)).unflatten(1, (-1, self.stride))
            cells = pixels.sum(dim=(2, 4), dtype=torch.uint8)
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
