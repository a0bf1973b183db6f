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
from yolor_mtl.records import Prediction, UserError
from yolor_mtl.tasks.base import Canvas, Judge, Task

SCHEMA = 1
"""Version of :meth:`Result.to_json`."""

OVERLAY = ("instance", "detection")
"""What is drawn over one picture by default, from the bottom up."""


class Boxes:
    """Boxes of one picture, best first.

    Attributes:
        xyxy: (N, 4) pixels of the original picture.
        conf: (N,) scores in 0..1.
        cls: (N,) int64 class indices.
        id: (N,) int64 track ids, -1 for a box that is not followed; ``None`` without tracking.
    """

    def __init__(self, prediction: Prediction, shape: tuple[int, int]) -> None:
        self.xyxy: Tensor = prediction["boxes"]
        self.conf: Tensor = prediction["scores"]
        self.cls: Tensor = prediction["classes"]
        self.id: Tensor | None = prediction.get("ids")
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
class GroundedWord:
    """A word of a caption.

    Attributes:
        text: the word or punctuation mark.
        heat: (h, w) float32 in 0..1, a coarse map over the picture of where it was read from.
        box: index in :attr:`Result.boxes` of the box that it is about, if there is one.
    """

    text: str
    heat: np.ndarray
    box: int | None


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
        category_ids: class index -> id of the class in the data that the model was trained on.
        frame: number in a film, from 0; ``None`` for a picture of its own.
        time: seconds from the start of the film.
    """

    path: str
    image: np.ndarray
    predictions: Mapping[str, Prediction]
    names: Mapping[int, str]
    tasks: Sequence[Task]
    speed: Mapping[str, float] = field(default_factory=dict)
    category_ids: Mapping[int, int] = field(default_factory=dict)
    frame: int | None = None
    time: float | None = None

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

    @property
    def words(self) -> list[GroundedWord] | None:
        """The caption's words and where they were read from; ``None`` unless ``attention=True`` asked for it."""
        spoken = self.predictions.get("captioning", {}).get("words")
        if spoken is None:
            return None
        boxes = self.boxes
        shares = np.zeros((0, 4)) if boxes is None else boxes.xyxyn.cpu().numpy()
        names = [] if boxes is None else [self.names[int(index)] for index in boxes.cls]
        return [GroundedWord(word.text, word.heat, word.box(shares, names)) for word in spoken]

    def plot(self, *, overlay: bool | Sequence[str] = False, word: str = "") -> Image.Image:
        """One picture: a panel for each task that draws, the caption under them.

        Args:
            overlay: instead, the picture at its own size with everything drawn over it, by default masks and boxes,
                and the caption at its foot; or the names of the tasks to draw, the first one at the bottom.
            word: instead, the picture with where a word of the caption was read from, and the box that it is about.

        Raises:
            UserError: no such word, or where words were read from was not asked for.
        """
        if word:
            return self._plot_word(word)
        if not overlay:
            return plot(self.image, self.tasks, self.predictions)
        names = OVERLAY if overlay is True else overlay
        shows = {task.name: task.show for task in self.tasks if task.name in self.predictions}
        image = self.image
        for name in [name for name in names if name in shows]:
            canvas = Canvas(image)
            shows[name].draw(canvas, self.predictions[name])
            image = next(iter(canvas.panels.values()), image)
        return Image.fromarray(draw.subtitle(image, self.caption or ""))

    def _plot_word(self, text: str) -> Image.Image:
        if self.words is None:
            raise UserError("where words were read from was not kept; predict with attention=True")
        spoken = [word for word in self.words if word.text.lower() == text.lower()]
        if not spoken:
            said = ", ".join(word.text for word in self.words)
            raise UserError(f"word={text!r} is not in the caption; its words are: {said}")
        image = draw.heat(self.image, spoken[0].heat)
        if spoken[0].box is not None and self.boxes is not None:
            box = self.boxes.xyxy[spoken[0].box : spoken[0].box + 1].cpu().numpy()
            image = draw.boxes(image, box, [spoken[0].text], [draw.colour(int(self.boxes.cls[spoken[0].box]))])
        return Image.fromarray(draw.subtitle(image, self.caption or ""))

    def save(self, path: str | Path) -> None:
        """Writes :meth:`plot` to a file whose ending says the format."""
        self.plot().save(path)

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """Boxes and masks as rows of COCO's result format.

        Args:
            image_id: the picture's id in the annotation file.
        """
        rows = []
        for found in self.to_json().get("detections", []):
            left, top, right, bottom = found["xyxy"]
            row = {
                "image_id": image_id,
                "category_id": self.category_ids.get(found["class_id"], found["class_id"]),
                "bbox": [left, top, right - left, bottom - top],
                "score": found["score"],
            }
            rows.append({**row, "segmentation": found["mask"]} if "mask" in found else row)
        return rows

    def to_supervision(self, *, masks: bool = True) -> Any:
        """Boxes and masks as ``supervision.Detections``, with ``class_name`` among its data.

        Args:
            masks: masks too, at the picture's size.

        Raises:
            UserError: the library is missing, or the model has no boxes.
        """
        try:
            from supervision import Detections
        except ImportError as error:
            raise UserError("to_supervision needs the library: pip install 'yolor-mtl[track]'") from error
        if self.boxes is None:
            raise UserError("there are no boxes to hand over; keep detection among tasks=")
        boxes = self.boxes
        return Detections(
            xyxy=boxes.xyxy.cpu().numpy(),
            mask=self.masks.data.cpu().numpy() if masks and self.masks is not None and len(boxes) else None,
            confidence=boxes.conf.cpu().numpy(),
            class_id=boxes.cls.cpu().numpy(),
            tracker_id=None if boxes.id is None else boxes.id.cpu().numpy(),
            data={"class_name": np.array([self.names[int(index)] for index in boxes.cls], dtype=str)},
        )

    def to_json(self) -> dict[str, Any]:
        """One line of ``predictions.jsonl``; see ``docs/formats.md``."""
        height, width = self.orig_shape
        record: dict[str, Any] = {"schema": SCHEMA, "path": self.path, "height": height, "width": width}
        if self.frame is not None:
            record |= {"frame": self.frame, "time": round(self.time or 0.0, 4)}
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
