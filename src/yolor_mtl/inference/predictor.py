"""The model at work: pictures in, answers in the pictures' own pixels out."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from yolor_mtl.build import Model
from yolor_mtl.data.image import UnreadableImageError, read_image, upright_rgb
from yolor_mtl.inference.backends.base import Runtime
from yolor_mtl.inference.backends.torch import TorchRuntime
from yolor_mtl.inference.exported import Exported
from yolor_mtl.inference.result import Result
from yolor_mtl.inference.sources import Shot
from yolor_mtl.ops.faults import out_of_memory
from yolor_mtl.ops.frame import fitting_size, letterbox
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
        model: weights, whose network is turned into its inference form, in place; or an exported folder.
        device: as :func:`choose_device` understands it; exported graphs run on the CPU.
        half: ``auto``, ``true``, ``false`` or ``fp16``; see :func:`half_type`.
        imgsz: longer side of the frame, pixels; 0 takes the model's own.
        rect: a picture is padded no further than it must be, instead of to a square.

    Raises:
        UserError: no such device or precision, or ``imgsz`` does not fit the network.
    """

    def __init__(
        self, model: Model | Exported, device: str = "auto", half: str = "auto", imgsz: int = 0, rect: bool = True
    ) -> None:
        side = imgsz or model.config.imgsz
        if side < model.multiple or side % model.multiple:
            raise UserError(f"imgsz={side} must be a multiple of {model.multiple}")
        self.size = (side, side)
        self.multiple = model.multiple
        self.rect = rect
        self.model = model
        self.runtime: Runtime = (
            TorchRuntime(model, device, half) if isinstance(model, Model) else model.runtime(device, half)
        )
        self.device, self.half = self.runtime.device, self.runtime.half

    def predict_batch(self, images: Tensor, frames: Sequence[Frame], options: DecodeOptions) -> Answered:
        """Answers for letterboxed pictures (B, 3, H, W) uint8 and their B frames."""
        with torch.inference_mode():
            started = time.perf_counter()
            outputs = self.runtime(images)
            middle = time.perf_counter()
            predictions = decode_all(self.model.tasks, outputs, frames, options)
        ended = time.perf_counter()
        share = 1000 / max(1, len(images))
        return Answered(predictions, {"inference": (middle - started) * share, "postprocess": (ended - middle) * share})

    def predict(self, pictures: Iterable[Picture], options: DecodeOptions, batch: int = 8) -> Iterator[Result]:
        """A result a picture, in order.

        Raises:
            UnreadableImageError: a picture cannot be read; see :meth:`predict_shots` for a run that goes on.
        """
        shots = (
            Shot(str(picture) if isinstance(picture, str | Path) else "", partial(to_tensor, picture))
            for picture in pictures
        )
        return self.predict_shots(shots, options, None, batch)

    def predict_shots(
        self,
        shots: Iterable[Shot],
        options: DecodeOptions,
        failed: Callable[[Shot, str], Any] | None,
        batch: int = 8,
    ) -> Iterator[Result]:
        """A result a picture, in order; no more than a batch of pictures is held.

        A batch that is too large for the memory is answered in two halves, as all that follow; a warning says so.

        Args:
            shots: the pictures.
            options: thresholds.
            failed: gets a picture that cannot be read, and why; it is left out.
            batch: pictures at once.

        Raises:
            UnreadableImageError: a picture cannot be read, and ``failed`` is ``None``.
        """
        waiting: list[tuple[Shot, Tensor]] = []
        reading = 0.0
        for shot in shots:
            begun = time.perf_counter()
            try:
                waiting.append((shot, shot.read()))
            except UnreadableImageError as error:
                if failed is None:
                    raise
                failed(shot, str(error))
            reading += time.perf_counter() - begun
            if len(waiting) >= batch:
                found, batch = self._answered(waiting, options, reading, batch)
                yield from found
                waiting, reading = [], 0.0
        yield from self._answered(waiting, options, reading, batch)[0]

    def _answered(
        self, pictures: Sequence[tuple[Shot, Tensor]], options: DecodeOptions, reading: float, batch: int
    ) -> tuple[list[Result], int]:
        """Results of a batch, and how many pictures go at once from now on."""
        try:
            return self._results(pictures, options, reading), batch
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or len(pictures) < 2:
                raise
        # Out of the handler: its error holds on to what the attempt has filled.
        half = -(-len(pictures) // 2)
        warnings.warn(f"out of memory with {len(pictures)} pictures at once; going on with {half}", stacklevel=2)
        found: list[Result] = []
        for part in (pictures[:half], pictures[half:]):
            some, half = self._answered(part, options, reading / 2, half)
            found += some
        return found, half

    def _results(self, pictures: Sequence[tuple[Shot, Tensor]], options: DecodeOptions, reading: float) -> list[Result]:
        """Pictures of one frame go through the network together; a picture's frame depends on nothing but its own size,
        so that its answer does not depend on what it came with."""
        found: dict[int, Result] = {}
        sizes = [self._size(image) for _, image in pictures]
        for size in dict.fromkeys(sizes):
            numbers = [number for number, other in enumerate(sizes) if other == size]
            share = reading / len(pictures)
            for number, result in zip(
                numbers, self._answer([pictures[n] for n in numbers], size, options, share), strict=True
            ):
                found[number] = result
        return [found[number] for number in range(len(pictures))]

    def _size(self, image: Tensor) -> tuple[int, int]:
        shape = (int(image.shape[1]), int(image.shape[2]))
        return fitting_size(shape, self.size[0], self.multiple) if self.rect else self.size

    def _answer(
        self, pictures: Sequence[tuple[Shot, Tensor]], size: tuple[int, int], options: DecodeOptions, reading: float
    ) -> list[Result]:
        started = time.perf_counter()
        boxed = [letterbox(image, size) for _, image in pictures]
        images = torch.stack([image.as_subclass(Tensor) for image, _ in boxed])
        preprocess = (reading + (time.perf_counter() - started) / len(pictures)) * 1000
        answered = self.predict_batch(images, [frame for _, frame in boxed], options)
        space = self.model.space
        return [
            Result(
                shot.path,
                image.permute(1, 2, 0).numpy(),
                predictions,
                dict(enumerate(space.names)),
                self.model.tasks,
                {"preprocess": preprocess, **answered.speed},
                {index: category.id for index, category in enumerate(space.things)},
                shot.frame,
                shot.time,
            )
            for (shot, image), predictions in zip(pictures, answered.predictions, strict=True)
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
