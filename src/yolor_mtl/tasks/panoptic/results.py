"""Panoptic segments from a result file and its PNGs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from yolor_mtl.data.coco import panoptic_ids, read_map
from yolor_mtl.records import Annotations, LabelSpace, Prediction, UserError
from yolor_mtl.tasks.base import Answers
from yolor_mtl.tasks.results import by_image, class_index, read_entries


def read_segments(folder: Path, space: LabelSpace) -> Answers | None:
    """``panoptic.json`` (``annotations`` of ``image_id, file_name, segments_info``) and its PNGs in ``panoptic/``.

    An image that the file does not list is answered with void.
    """
    path = folder / "panoptic.json"
    entries = read_entries(path, ("image_id", "file_name", "segments_info"), inside="annotations")
    if entries is None:
        return None
    found = by_image(entries)

    def answer(annotations: Annotations) -> Prediction:
        mine = found.get(annotations.image_id)
        if not mine:
            return {"map": np.zeros((annotations.height, annotations.width), dtype=np.int32), "segments": []}
        if Path(mine[0]["file_name"]).name != mine[0]["file_name"]:
            raise UserError(f"{path}: file_name {mine[0]['file_name']!r} must be a name in panoptic/, without folders")
        ids = panoptic_ids(read_map(folder / "panoptic" / mine[0]["file_name"], annotations, ("RGB", "RGBA")))
        segments = [
            {"id": int(row["id"]), "category": class_index(path, row, space.semantic)}
            for row in mine[0]["segments_info"]
        ]
        return {"map": ids, "segments": segments}

    return answer
