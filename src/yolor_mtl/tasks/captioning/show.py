"""How a caption looks and reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from yolor_mtl.records import Prediction
from yolor_mtl.tasks.base import Canvas


class CaptionShow:
    """A line under the picture; ``caption`` in the record."""

    def draw(self, canvas: Canvas, prediction: Prediction) -> None:
        """Adds the sentence."""
        canvas.lines.append(prediction["text"])

    def to_json(self, prediction: Prediction, record: dict[str, Any]) -> None:
        """Adds ``caption``: text, the mean probability of its words, and where it was asked for, the ``words``: each
        with its map of the picture and the index of the detection in the record that it is about."""
        record["caption"] = {"text": prediction["text"], "score": round(prediction["score"], 5)}
        if "words" in prediction:
            found = record.get("detections", [])
            size = np.array([record["width"], record["height"]] * 2)
            shares = np.array([entry["xyxy"] for entry in found]).reshape(-1, 4) / size
            names = [entry["class"] for entry in found]
            record["caption"]["words"] = [
                {"word": word.text, "heat": word.heat.astype(float).round(3).tolist(), "box": word.box(shares, names)}
                for word in prediction["words"]
            ]

    def images(self, prediction: Prediction) -> dict[str, Image.Image]:
        """None."""
        return {}
