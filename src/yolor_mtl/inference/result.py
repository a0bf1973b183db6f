"""What the model says about one picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from yolor_mtl.ops import draw
from yolor_mtl.ops.masks import CroppedMasks
from yolor_mtl.records import Prediction
from yolor_mtl.tasks.base import Canvas, Judge, Task

SCHEMA = 1
"""Version of :meth:`Result.to_json`."""


class Boxes:
    """Boxes of one picture, best first.

    Attributes:
        xyxy: (N, 4) pixels of the original picture.
        conf: (N,) scores in 0..1.
        cls: (N,) int64 class indices.
        id: (N,) track ids; ``None`` without tracking.
    """

    def __init__(self, prediction: Prediction, shape: tuple[int, int]) -> None:
        self.xyxy: Tensor = prediction["boxes"]
        self.conf: Tensor = prediction["scores"]
        self.cls: Tensor = prediction["classes"]
        self.id: Tensor | None = None
        self._shape = shape

    def __len__(self) -> int:
        return len(self.xyxy)

    @property
    def xyxyn(self) -> Tensor:
        """(N, 4) as shares of the picture's width and height."""
        height, width = self._shape
        return self.xyxy / self.xyxy.new_tensor([width, height, width, height])


class Masks:
    """Instance masks, one for each box."""

    def __init__(self, masks: CroppedMasks) -> None:
        self.crops = masks

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def data(self) -> Tensor:
        """(N, H, W) bool at the picture's size, made anew at each call."""
        if not len(self.crops):
            return torch.zeros(0, *self.crops.size, dtype=torch.bool)
        return torch.from_numpy(np.stack(list(self.crops)))

    @property
    def xy(self) -> list[np.ndarray]:
        """N outlines (P, 2) of x, y in pixels: of each mask the largest part."""
        return [self.crops.outline(index) for index in range(len(self.crops))]


@dataclass(frozen=True)
class Result:
    """The answers for one picture, by task name and under the names that users know.

    Attributes:
        path: where the picture came from; empty for a picture in memory.
        image: (H, W, 3) uint8 RGB, upright.
        predictions: task -> its answer in the picture's pixels.
        names: class index -> name of things.
        tasks: the tasks, for drawing and JSON.
        speed: milliseconds for ``preprocess``, ``inference`` and ``postprocess``, an equal share of the batch's.
    """

    path: str
    image: np.ndarray
    predictions: Mapping[str, Prediction]
    names: Mapping[int, str]
    tasks: Sequence[Task]
    speed: Mapping[str, float] = field(default_factory=dict)

    def __getitem__(self, task: str) -> Prediction:
        return self.predictions[task]

    @property
    def orig_shape(self) -> tuple[int, int]:
        """(height, width) of the picture."""
        return int(self.image.shape[0]), int(self.image.shape[1])

    @property
    def boxes(self) -> Boxes | None:
        """Boxes; ``None`` where the model does not detect."""
        return Boxes(self.predictions["detection"], self.orig_shape) if "detection" in self.predictions else None

    @property
    def masks(self) -> Masks | None:
        """Instance masks, in the order of :attr:`boxes`."""
        return Masks(self.predictions["instance"]["masks"]) if "instance" in self.predictions else None

    @property
    def semantic(self) -> Tensor | None:
        """(H, W) uint8 of semantic class indices."""
        return self.predictions["semantic"]["map"] if "semantic" in self.predictions else None

    @property
    def panoptic(self) -> Prediction | None:
        """``map`` (H, W) int32 of segment ids and ``segments``."""
        return self.predictions.get("panoptic")

    @property
    def caption(self) -> str | None:
        """The sentence."""
        return self.predictions["captioning"]["text"] if "captioning" in self.predictions else None

    def plot(self) -> Image.Image:
        """One picture: a panel for each task that draws, the caption under them."""
        return plot(self.image, self.tasks, self.predictions)

    def save(self, path: str | Path) -> None:
        """Writes :meth:`plot` to a file whose ending says the format."""
        self.plot().save(path)

    def to_json(self) -> dict[str, Any]:
        """One line of ``predictions.jsonl``; see ``docs/formats.md``."""
        height, width = self.orig_shape
        record: dict[str, Any] = {"schema": SCHEMA, "path": self.path, "height": height, "width": width}
        for task in self.tasks:
            if task.name in self.predictions:
                task.show.to_json(self.predictions[task.name], record)
        return record

    def summary(self) -> str:
        """A line of words: what was counted, and the caption."""
        parts = []
        if self.boxes is not None:
            counts = Counter(self.names[int(index)] for index in self.boxes.cls)
            parts.append(", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no objects")
        if self.caption:
            parts.append(f'"{self.caption}"')
        return " | ".join(parts)

    def images(self) -> dict[str, Image.Image]:
        """Pictures that are data, such as the semantic map's PNG, by the name of their key in the record."""
        return {
            name: picture
            for task in self.tasks
            if task.name in self.predictions
            for name, picture in task.show.images(self.predictions[task.name]).items()
        }


def plot(image: np.ndarray, tasks: Sequence[Task | Judge], predictions: Mapping[str, Prediction]) -> Image.Image:
    """Panels of all tasks that have a prediction, in a grid, and their lines of text."""
    canvas = Canvas(image)
    for task in tasks:
        if task.name in predictions:
            task.show.draw(canvas, predictions[task.name])
    panels = canvas.panels or {"picture": image}
    return draw.mosaic(list(panels.values()), list(panels), canvas.lines)
