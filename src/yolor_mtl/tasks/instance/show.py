"""How instance masks look and read."""

from __future__ import annotations

from typing import Any

from PIL import Image

from yolor_mtl.ops import draw
from yolor_mtl.records import Prediction
from yolor_mtl.tasks.base import Canvas


class InstanceShow:
    """A panel with one colour an object; a ``mask`` in each of the record's detections."""

    def draw(self, canvas: Canvas, prediction: Prediction) -> None:
        """Adds the panel ``masks``; the best object lies on top."""
        panel = canvas.image.copy()
        masks = prediction["masks"]
        for index in reversed(range(len(masks))):
            draw.paint(panel, masks.window(index), masks.crops[index], draw.colour(index), 0.55)
        canvas.panels["masks"] = panel

    def to_json(self, prediction: Prediction, record: dict[str, Any]) -> None:
        """Adds COCO's compressed RLE to each detection."""
        for index, detection in enumerate(record["detections"]):
            detection["mask"] = prediction["masks"].rle(index)

    def images(self, prediction: Prediction) -> dict[str, Image.Image]:
        """None."""
        return {}
