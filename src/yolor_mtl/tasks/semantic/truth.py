"""An image's labelled map as if a network had drawn it."""

from __future__ import annotations

import torch

from yolor_mtl.data.coco import semantic_map
from yolor_mtl.records import Annotations, LabelSpace, Prediction


def map_truth(annotations: Annotations, space: LabelSpace) -> Prediction:
    """``map`` (H, W) uint8 of class indices; pixels without a label keep :data:`IGNORE`."""
    return {"map": torch.from_numpy(semantic_map(annotations, space))}
