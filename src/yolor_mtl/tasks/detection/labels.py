"""Detection's labels: the box, class and crowd columns of the object table, and the padded targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchvision import tv_tensors

from yolor_mtl.data.labels import Columns, by_row
from yolor_mtl.records import Annotations, Sample, View


class DetectionLabels:
    """Boxes and classes of the images that the instances file lists."""

    view: View

    def __init__(self, view: View = "vision") -> None:
        self.view = view

    def labelled(self, annotations: Annotations) -> bool:
        """Whether the image is labelled for boxes; an image without objects is."""
        return annotations.objects is not None

    def columns(self, annotations: Annotations) -> Columns:
        """``boxes`` (N, 4) ``xyxy`` pixels, ``classes`` (N,) int64, ``crowd`` (N,) bool."""
        objects = annotations.objects or ()
        boxes = torch.tensor([item.xyxy for item in objects], dtype=torch.float32).reshape(-1, 4)
        return Columns(
            objects={
                "boxes": tv_tensors.BoundingBoxes(
                    boxes, format="XYXY", canvas_size=(annotations.height, annotations.width)
                ),
                "classes": torch.tensor([item.category for item in objects], dtype=torch.int64),
                "crowd": torch.tensor([item.crowd for item in objects], dtype=torch.bool),
            }
        )

    def usable(self, sample: Sample) -> bool:
        """Vision views of labelled images."""
        return sample.view == self.view and sample.objects is not None and "boxes" in sample.objects

    def targets(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Padded table of R samples.

        Returns:
            ``boxes`` (R, N, 4), ``classes`` (R, N), ``valid`` (R, N) bool, ``crowd`` (R, N) bool, where N is the
            greatest number of objects; padding rows are neither valid nor crowd.
        """
        tables = [sample.objects or {} for sample in samples]
        number = max((len(table["boxes"]) for table in tables), default=0)
        boxes = torch.zeros(len(samples), number, 4)
        classes = torch.zeros(len(samples), number, dtype=torch.int64)
        valid = torch.zeros(len(samples), number, dtype=torch.bool)
        crowd = torch.zeros(len(samples), number, dtype=torch.bool)
        for row, table in enumerate(tables):
            count = len(table["boxes"])
            boxes[row, :count] = table["boxes"].as_subclass(Tensor)
            classes[row, :count] = table["classes"]
            crowd[row, :count] = table["crowd"]
            valid[row, :count] = ~table["crowd"]
        return {"boxes": boxes, "classes": classes, "valid": valid, "crowd": crowd}

    def part(self, targets: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
        """Targets of some of the samples."""
        return by_row(targets, rows)
