"""An image's labelled boxes as if a network had found them."""

from __future__ import annotations

import torch

from yolor_mtl.records import Annotations, ObjectLabel, Prediction


def single_objects(annotations: Annotations) -> list[ObjectLabel]:
    """The objects that a network should find one by one: all but crowds."""
    return [item for item in annotations.objects or () if not item.crowd]


def box_truth(annotations: Annotations) -> Prediction:
    """``boxes`` (N, 4) ``xyxy`` pixels of the original frame, ``scores`` (N,) of one, ``classes`` (N,) int64."""
    objects = single_objects(annotations)
    return {
        "boxes": torch.tensor([item.xyxy for item in objects], dtype=torch.float32).reshape(-1, 4),
        "scores": torch.ones(len(objects)),
        "classes": torch.tensor([item.category for item in objects], dtype=torch.int64),
    }
