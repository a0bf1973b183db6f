"""How a semantic map looks and reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from yolor_mtl.ops import draw
from yolor_mtl.records import IGNORE, LabelSpace, Prediction
from yolor_mtl.tasks.base import Canvas


class SemanticShow:
    """A tinted panel with a legend; shares of the picture in the record; a PNG of class indices with a palette."""

    def __init__(self, space: LabelSpace) -> None:
        self.names = space.semantic_names

    def draw(self, canvas: Canvas, prediction: Prediction) -> None:
        """Adds the panel ``semantic``."""
        classes = np.asarray(prediction["map"])
        palette = np.full((IGNORE + 1, 3), draw.UNLABELLED, dtype=np.float32)
        palette[: len(self.names)] = [draw.colour(index) for index in range(len(self.names))]
        mixed = canvas.image * 0.35 + palette[classes] * 0.65
        shares = np.bincount(classes.ravel(), minlength=len(self.names))[: len(self.names)] / classes.size
        largest = [int(i) for i in np.argsort(-shares)[:6] if shares[i] > 0.005]
        entries = [(self.names[i], draw.colour(i)) for i in largest]
        canvas.panels["semantic"] = draw.legend(mixed.round().astype(np.uint8), entries)

    def to_json(self, prediction: Prediction, record: dict[str, Any]) -> None:
        """Adds ``semantic`` with the share of the picture of each class that occurs, by class index."""
        classes = np.asarray(prediction["map"])
        counts = np.bincount(classes.ravel(), minlength=len(self.names))
        record["semantic"] = {
            "classes": {str(i): round(counts[i] / classes.size, 6) for i in np.flatnonzero(counts).tolist()},
            "names": {str(i): self.names[i] for i in np.flatnonzero(counts).tolist()},
        }

    def images(self, prediction: Prediction) -> dict[str, Image.Image]:
        """``semantic``: pixel value = class index."""
        picture = Image.fromarray(np.asarray(prediction["map"]))
        picture.putpalette([value for index in range(256) for value in draw.colour(index)])
        return {"semantic": picture}
