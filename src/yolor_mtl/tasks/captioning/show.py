"""How a caption looks and reads."""

from __future__ import annotations

from typing import Any

from PIL import Image

from yolor_mtl.records import Prediction
from yolor_mtl.tasks.base import Canvas


class CaptionShow:
    """A line under the picture; ``caption`` in the record."""

    def draw(self, canvas: Canvas, prediction: Prediction) -> None:
        """Adds the sentence."""
        canvas.lines.append(prediction["text"])

    def to_json(self, prediction: Prediction, record: dict[str, Any]) -> None:
        """Adds ``caption``: text, and the mean probability of its words."""
        record["caption"] = {"text": prediction["text"], "score": round(prediction["score"], 5)}

    def images(self, prediction: Prediction) -> dict[str, Image.Image]:
        """None."""
        return {}
