"""Boxes from a result file."""

from __future__ import annotations

from pathlib import Path

import torch

from yolor_mtl.data.coco_json import Id
from yolor_mtl.records import Annotations, LabelSpace, Prediction
from yolor_mtl.tasks.results import Entry, FileAnswers, Score, class_places, read_results


class BoxEntry(Entry, gc=False):
    """An entry of ``detections.json``."""

    category_id: Id
    bbox: tuple[float, float, float, float]
    score: Score


def read_boxes(folder: Path, space: LabelSpace) -> FileAnswers | None:
    """``detections.json``: COCO's list of ``image_id, category_id, bbox`` (xywh, pixels) and ``score``.

    Raises:
        UserError: it is not such a list, or has a category that the data has not.
    """
    file = read_results(folder / "detections.json", list[BoxEntry])
    if file is None:
        return None
    places = class_places(space.things)
    classes = [file.class_index(number, entry.category_id, places) for number, entry in enumerate(file.entries)]

    def answer(annotations: Annotations) -> Prediction:
        numbers = file.of(annotations.image_id)
        boxes = torch.tensor([file.entries[number].bbox for number in numbers], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return {
            "boxes": boxes,
            "scores": torch.tensor([file.entries[number].score for number in numbers], dtype=torch.float64),
            "classes": torch.tensor([classes[number] for number in numbers], dtype=torch.int64),
        }

    return FileAnswers(file, answer)
