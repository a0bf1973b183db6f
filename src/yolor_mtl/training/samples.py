"""What the network says of a few validation pictures, drawn after every validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from yolor_mtl.data.image import UnreadableImageError
from yolor_mtl.data.loader import checked_image
from yolor_mtl.ops import draw
from yolor_mtl.ops.files import write_atomic
from yolor_mtl.records import Batch, Prediction
from yolor_mtl.tasks.base import Canvas, DecodeOptions, Task, decode_all
from yolor_mtl.training.module import JointStep

SIDE = 640
"""Longer side of one picture's answers, pixels."""

COLUMNS = 4
"""Pictures in a row."""

QUALITY = 75
"""Of the JPEG file: four photographs take about 300 kB."""


class Samples(Callback):
    """Writes ``samples/epoch-0003.jpg`` and an image for TensorBoard: always of the first validation pictures.

    Args:
        out: the run's folder.
        number: pictures; 0 for none.
    """

    def __init__(self, out: Path, number: int) -> None:
        self.folder, self.number = out / "samples", number
        self._sheets: list[Image.Image] = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Answers of the first pictures, with the thresholds of use: those of a validation draw a box everywhere."""
        assert isinstance(pl_module, JointStep)
        left = self.number - len(self._sheets)
        if left <= 0 or not len(batch.images) or not trainer.is_global_zero:
            return
        frames = [frame for frame in batch.frames[:left] if frame is not None]
        answers = decode_all(pl_module.tasks, pl_module.network(batch.images[:left]), frames, DecodeOptions())
        for labels, answer in zip(batch.annotations[:left], answers, strict=True):
            assert labels is not None
            try:
                picture = checked_image(labels).as_subclass(torch.Tensor)
            except UnreadableImageError:
                continue
            self._sheets.append(sheet(picture.permute(1, 2, 0).numpy(), pl_module.tasks, answer))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes what was drawn."""
        assert isinstance(pl_module, JointStep)
        if not self._sheets:
            return
        picture, self._sheets = strip(self._sheets), []
        path = self.folder / f"epoch-{pl_module.epoch_of(trainer.global_step):04d}.jpg"
        write_atomic(path, lambda temporary: picture.save(temporary, "JPEG", quality=QUALITY))
        if isinstance(trainer.logger, TensorBoardLogger):
            # Smaller, since there it is kept without loss.
            small = np.asarray(picture.reduce(2))
            trainer.logger.experiment.add_image("samples", small, trainer.global_step, dataformats="HWC")


def sheet(image: np.ndarray, tasks: Sequence[Task], answer: Mapping[str, Prediction]) -> Image.Image:
    """A panel for each task that draws, and the lines under them, :data:`SIDE` pixels at most.

    Args:
        image: (H, W, 3) uint8, the upright photograph.
        tasks: the tasks.
        answer: task -> prediction in the photograph's pixels.
    """
    canvas = Canvas(image)
    for task in tasks:
        task.show.draw(canvas, answer[task.name])
    panels = canvas.panels or {"picture": image}
    whole = draw.mosaic(list(panels.values()), list(panels), canvas.lines)
    whole.thumbnail((SIDE, SIDE))
    return whole


def strip(sheets: Sequence[Image.Image]) -> Image.Image:
    """Pictures side by side, :data:`COLUMNS` in a row."""
    rows = [sheets[start : start + COLUMNS] for start in range(0, len(sheets), COLUMNS)]
    heights = [max(picture.height for picture in row) for row in rows]
    width = max(sum(picture.width for picture in row) for row in rows)
    whole = Image.new("RGB", (width, sum(heights)), (250, 250, 248))
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for picture in row:
            whole.paste(picture, (left, top))
            left += picture.width
        top += height
    return whole
