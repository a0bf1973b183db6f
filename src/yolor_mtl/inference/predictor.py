"""The model at work: pictures in, answers in the pictures' own pixels out."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from yolor_mtl.build import Model
from yolor_mtl.data.image import UnreadableImageError, read_image, upright_rgb
from yolor_mtl.inference.result import Result
from yolor_mtl.ops.device import choose_device, half_type
from yolor_mtl.ops.frame import letterbox
from yolor_mtl.records import Frame, Prediction, UserError
from yolor_mtl.tasks.base import DecodeOptions, decode_all

Picture = str | Path | bytes | Image.Image | np.ndarray | Tensor
"""A path, an encoded file, a PIL picture, an (H, W, 3) uint8 RGB array or a (3, H, W) uint8 tensor."""


@dataclass(frozen=True)
class Answered:
    """Answers of one batch.

    Attributes:
        predictions: B dictionaries, task -> prediction in the picture's pixels.
        speed: milliseconds a picture for ``inference`` and ``postprocess``.
    """

    predictions: list[dict[str, Prediction]]
    speed: dict[str, float]


class Predictor:
    """Runs a model; keeps no state between calls.

    Args:
        model: it is turned into its inference form, in place.
        device: as :func:`choose_device` understands it.
        half: ``auto``, ``true``, ``false`` or ``fp16``; see :func:`half_type`.
        imgsz: side of the square frame, pixels; 0 takes the model's own.

    Raises:
        UserError: no such device, or ``imgsz`` does not fit the network.
    """

    def __init__(self, model: Model, device: str = "auto", half: str = "auto", imgsz: int = 0) -> None:
        self.device = choose_device(device)
        self.short = half_type(half, self.device)
        self.half = self.short is not None
        side = imgsz or model.config.imgsz
        multiple = model.network.trunk.multiple
        if side < multiple or side % multiple:
            raise UserError(f"imgsz={side} must be a multiple of {multiple}")
        self.size = (side, side)
        self.model = model.inference()
        self.model.network.to(self.device)

    def predict_batch(self, images: Tensor, frames: Sequence[Frame], options: DecodeOptions) -> Answered:
        """Answers for letterboxed pictures (B, 3, H, W) uint8 and their B frames."""
        with torch.inference_mode():
            started = time.perf_counter()
            with torch.autocast(self.device.type, self.short, enabled=self.half):
                outputs = self.model.network(images.to(self.device, non_blocking=True))
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            middle = time.perf_counter()
            predictions = decode_all(self.model.tasks, outputs, frames, options)
        ended = time.perf_counter()
        share = 1000 / max(1, len(images))
        return Answered(predictions, {"inference": (middle - started) * share, "postprocess": (ended - middle) * share})

    def predict(self, pictures: Iterable[Picture], options: DecodeOptions, batch: int = 8) -> Iterator[Result]:
        """A result a picture, in order.

        Raises:
            UnreadableImageError: a picture cannot be read; see :meth:`predict_files` for a run that goes on.
        """
        waiting: list[Picture] = []
        for picture in pictures:
            waiting.append(picture)
            if len(waiting) == batch:
                yield from self._answer(waiting, options)
                waiting = []
        yield from self._answer(waiting, options)

    def predict_files(
        self, paths: Sequence[Path], options: DecodeOptions, failed: Callable[[Path, str], Any], batch: int = 8
    ) -> Iterator[Result]:
        """As :meth:`predict` over files; one that cannot be read is handed to ``failed`` and left out."""
        readable: list[tuple[str, Tensor]] = []
        for number, path in enumerate(paths, start=1):
            try:
                readable.append((str(path), read_image(path)))
            except UnreadableImageError as error:
                failed(path, str(error))
            if len(readable) == batch or number == len(paths):
                yield from self._results(readable, options, 0.0)
                readable = []

    def _answer(self, pictures: Sequence[Picture], options: DecodeOptions) -> list[Result]:
        started = time.perf_counter()
        read = [(str(picture) if isinstance(picture, str | Path) else "", to_tensor(picture)) for picture in pictures]
        return self._results(read, options, time.perf_counter() - started)

    def _results(self, pictures: Sequence[tuple[str, Tensor]], options: DecodeOptions, reading: float) -> list[Result]:
        if not pictures:
            return []
        started = time.perf_counter()
        boxed = [letterbox(image, self.size) for _, image in pictures]
        images = torch.stack([image.as_subclass(Tensor) for image, _ in boxed])
        preprocess = (time.perf_counter() - started + reading) * 1000 / len(pictures)
        answered = self.predict_batch(images, [frame for _, frame in boxed], options)
        names = dict(enumerate(self.model.space.names))
        return [
            Result(
                path,
                image.permute(1, 2, 0).numpy(),
                predictions,
                names,
                self.model.tasks,
                {"preprocess": preprocess, **answered.speed},
            )
            for (path, image), predictions in zip(pictures, answered.predictions, strict=True)
        ]


def to_tensor(picture: Picture) -> Tensor:
    """Any kind of picture as (3, H, W) uint8 RGB.

    Raises:
        UnreadableImageError: a file or its bytes cannot be read.
        UserError: an array or tensor of another shape or type.
    """
    if isinstance(picture, str | Path | bytes):
        source = io.BytesIO(picture) if isinstance(picture, bytes) else Path(picture)
        return torch.as_tensor(read_image(source).as_subclass(Tensor))
    if isinstance(picture, Image.Image):
        picture = np.array(upright_rgb(picture))
    if isinstance(picture, np.ndarray):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise UserError(f"an array of {picture.shape} {picture.dtype}; (H, W, 3) uint8 RGB is needed")
        return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)
    if picture.ndim != 3 or picture.shape[0] != 3 or picture.dtype != torch.uint8:
        raise UserError(f"a tensor of {tuple(picture.shape)} {picture.dtype}; (3, H, W) uint8 RGB is needed")
    return picture
