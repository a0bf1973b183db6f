"""How a panoptic map looks and reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from yolor_mtl.data.coco import panoptic_pixels
from yolor_mtl.ops import draw
from yolor_mtl.records import LabelSpace, Prediction
from yolor_mtl.tasks.base import Canvas


class PanopticShow:
    """A panel with one colour a segment; ``segments`` in the record; a PNG with COCO's ids."""

    def __init__(self, space: LabelSpace) -> None:
        self.names = space.semantic_names
        self.things = [category.isthing for category in space.semantic]

    def draw(self, canvas: Canvas, prediction: Prediction) -> None:
        """Adds the panel ``panoptic``; things in the colours of objects, stuff in those of its class."""
        panel = canvas.image.copy()
        everything = (slice(0, panel.shape[0]), slice(0, panel.shape[1]))
        entries = []
        ids = np.asarray(prediction["map"])
        for segment in prediction["segments"]:
            # A result file says neither what is a thing nor how large a segment is.
            tint = draw.colour(segment["id"] - 1 if self.things[segment["category"]] else segment["category"])
            covered = ids == segment["id"]
            draw.paint(panel, everything, covered, tint, 0.6)
            entries.append((int(covered.sum()), self.names[segment["category"]], tint))
        largest = sorted(entries, reverse=True)[:6]
        canvas.panels["panoptic"] = draw.legend(panel, [(name, tint) for _, name, tint in largest])

    def to_json(self, prediction: Prediction, record: dict[str, Any]) -> None:
        """Adds ``panoptic`` with its segments."""
        record["panoptic"] = {
            "segments": [
                {
                    "id": segment["id"],
                    "class_id": segment["category"],
                    "class": self.names[segment["category"]],
                    "isthing": segment["isthing"],
                    "score": round(segment["score"], 5),
                    "area": segment["area"],
                }
                for segment in prediction["segments"]
            ]
        }

    def images(self, prediction: Prediction) -> dict[str, Image.Image]:
        """``panoptic``: id = R + 256 G + 65536 B, 0 for void, COCO's encoding."""
        return {"panoptic": Image.fromarray(panoptic_pixels(prediction["map"]))}
