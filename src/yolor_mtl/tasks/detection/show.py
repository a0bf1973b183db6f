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
        labels = [f"{self.names[c]} {s:.2f}" for c, s in zip(classes, prediction["scores"].tolist(), strict=True)]
        tints = [draw.colour(c) for c in classes]
        canvas.panels["boxes"] = draw.boxes(canvas.image, prediction["boxes"].cpu().numpy(), labels, tints)

    def to_json(self, prediction: Prediction, record: dict[str, Any]) -> None:
        """Adds ``detections``: class index, name, score, and ``xyxy`` in pixels, best first."""
        rows = zip(
            prediction["classes"].tolist(), prediction["scores"].tolist(), prediction["boxes"].tolist(), strict=True
        )
        record["detections"] = [
            {"class_id": c, "class": self.names[c], "score": round(s, 5), "xyxy": [round(v, 2) for v in box]}
            for c, s, box in rows
        ]

    def images(self, prediction: Prediction) -> dict[str, Image.Image]:
        """None."""
        return {}
