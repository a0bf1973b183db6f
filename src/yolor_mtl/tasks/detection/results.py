"""Boxes from a result file."""

from __future__ import annotations

from pathlib import Path

import torch

from yolor_mtl.records import Annotations, LabelSpace, Prediction
from yolor_mtl.tasks.base import Answers
from yolor_mtl.tasks.results import by_image, class_index, read_entries


def read_boxes(folder: Path, space: LabelSpace) -> Answers | None:
    """``detections.json``: COCO's list of ``image_id, category_id, bbox`` (xywh, pixels) and ``score``."""
    path = folder / "detections.json"
    entries = read_entries(path, ("image_id", "category_id", "bbox", "score"))
    if entries is None:
        return None
    found = by_image(entries)

    def answer(annotations: Annotations) -> Prediction:
        mine = found.get(annotations.image_id, [])
        boxes = torch.tensor([entry["bbox"] for entry in mine], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return {
            "boxes": boxes,
            "scores": torch.tensor([entry["score"] for entry in mine], dtype=torch.float64),
            "classes": torch.tensor([class_index(path, entry, space.things) for entry in mine], dtype=torch.int64),
        }

    return answer
