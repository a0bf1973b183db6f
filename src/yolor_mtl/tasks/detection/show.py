"""How boxes look and read."""

from __future__ import annotations

from typing import Any

from PIL import Image

from yolor_mtl.ops import draw
from yolor_mtl.records import LabelSpace, Prediction
from yolor_mtl.tasks.base import Canvas


class DetectionShow:
    """A panel with labelled boxes; ``detections`` in the record."""

    def __init__(self, space: LabelSpace) -> None:
        self.names = space.names

    def draw(self, canvas: Canvas, prediction: Prediction) -> None:
        """Adds the panel ``boxes``."""
        classes = prediction["classes"].tolist()
        ids = _ids(prediction)
        labels = [
            f"{self.names[c]} {s:.2f}" if i is None else f"#{i} {self.names[c]} {s:.2f}"
            for c, s, i in zip(classes, prediction["scores"].tolist(), ids, strict=True)
        ]
        tints = [draw.colour(c if i is None else i) for c, i in zip(classes, ids, strict=True)]
        canvas.panels["boxes"] = draw.boxes(canvas.image, prediction["boxes"].cpu().numpy(), labels, tints)

    def to_json(self, prediction: Prediction, record: dict[str, Any]) -> None:
        """Adds ``detections``: class index, name, score, and ``xyxy`` in pixels, best first; and the ``id`` of those
        that are followed from frame to frame."""
        rows = zip(
            prediction["classes"].tolist(), prediction["scores"].tolist(), prediction["boxes"].tolist(), strict=True
        )
        record["detections"] = [
            {"class_id": c, "class": self.names[c], "score": round(s, 5), "xyxy": [round(v, 2) for v in box]}
            for c, s, box in rows
        ]
        for entry, number in zip(record["detections"], _ids(prediction), strict=True):
            if number is not None:
                entry["id"] = number

    def images(self, prediction: Prediction) -> dict[str, Image.Image]:
        """None."""
        return {}


def _ids(prediction: Prediction) -> list[int | None]:
    """Each box's number in a film, ``None`` where it is not followed."""
    if "ids" not in prediction:
        return [None] * len(prediction["boxes"])
    return [number if number >= 0 else None for number in prediction["ids"].tolist()]
