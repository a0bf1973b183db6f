"""Masks from a result file."""

from __future__ import annotations

from pathlib import Path

import torch

from yolor_mtl.ops.masks import CroppedMasks, decode_segmentation
from yolor_mtl.records import Annotations, LabelSpace, Prediction, UserError
from yolor_mtl.tasks.base import Answers
from yolor_mtl.tasks.results import by_image, class_index, read_entries


def read_masks(folder: Path, space: LabelSpace) -> Answers | None:
    """``segmentations.json``: COCO's list of ``image_id, category_id, segmentation`` (RLE) and ``score``."""
    path = folder / "segmentations.json"
    entries = read_entries(path, ("image_id", "category_id", "segmentation", "score"))
    if entries is None:
        return None
    found = by_image(entries)

    def answer(annotations: Annotations) -> Prediction:
        mine = found.get(annotations.image_id, [])
        size = (annotations.height, annotations.width)
        try:
            dense = [decode_segmentation(entry["segmentation"], *size).astype(bool) for entry in mine]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: a mask of image {annotations.image_id} cannot be read: {error}") from error
        return {
            "masks": CroppedMasks.from_dense(size, dense),
            "scores": torch.tensor([entry["score"] for entry in mine], dtype=torch.float64),
            "classes": torch.tensor([class_index(path, entry, space.things) for entry in mine], dtype=torch.int64),
        }

    return answer
