"""The Python door: ``YOLORMTL``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image
from torch import Tensor

from yolor_mtl.build import Model, load_model
from yolor_mtl.inference.exported import Exported, is_exported, load_exported
from yolor_mtl.inference.hub import USUAL_NAME, download_weights
from yolor_mtl.inference.predictor import Picture, Predictor
from yolor_mtl.inference.published import SUFFIXES, load_published
from yolor_mtl.inference.result import Result
from yolor_mtl.inference.sources import open_source
from yolor_mtl.inference.tracking import Tracker
from yolor_mtl.inference.video import USUAL_RATE
from yolor_mtl.models.weights import BEST, found_weights
from yolor_mtl.records import UserError
from yolor_mtl.tasks.base import DecodeOptions


class YOLORMTL:
    """A trained model.

    Args:
        weights: a shipped name such as ``scenes-nano``, a ``.safetensors`` that ``train`` or ``convert`` wrote, a run's
            folder, a published ``.pt``, or a folder that ``export`` wrote.
        tasks: tasks to run; all that were trained by default.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` or a GPU's number.
        half: ``auto``, ``true`` or ``false``; ``auto`` is bfloat16 where it is faster here.
        imgsz: longer side of the frame, pixels; 0 takes the model's own.
        rect: pad a picture no further than needed; ``False`` pads to a square, as in training.
        vocab: the word list that was published with a ``.pt`` that writes captions.
        strict: refuse a ``.pt`` that has tensors without a place, or places without a tensor; otherwise warn.

    Raises:
        UserError: the weights or the device cannot be used; the message says why.
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        tasks: Iterable[str] = (),
        device: str = "auto",
        half: str | bool = "auto",
        imgsz: int = 0,
        rect: bool = True,
        vocab: str | Path = "",
        strict: bool = True,
    ) -> None:
        model = open_model(str(weights), list(tasks), str(vocab), strict)
        self._predictor = Predictor(model, device, str(half), imgsz, rect)

    @classmethod
    def from_pretrained(
        cls, repo: str, *, filename: str = USUAL_NAME, revision: str | None = None, **options: Any
    ) -> YOLORMTL:
        """A model from the Hugging Face Hub; what was downloaded once is kept.

        Args:
            repo: ``user/name``.
            filename: the ``.safetensors`` in it.
            revision: a branch, tag or commit.
            options: as for the class.

        Raises:
            UserError: it cannot be had or used.
        """
        return cls(download_weights(repo, filename, revision), **options)

    @property
    def names(self) -> dict[int, str]:
        """Class index -> name of things."""
        return dict(enumerate(self._predictor.model.space.names))

    def predict(self, source: Picture | Iterable[Picture], **options: Any) -> list[Result]:
        """Answers for one picture, a folder, a pattern, many pictures, or all frames of a film.

        Args:
            source: a path, folder, pattern, list file or film, encoded bytes, a PIL picture, an (H, W, 3) uint8 RGB
                array, a (3, H, W) uint8 tensor, or an iterable of these.
            options: as :meth:`stream`.

        Raises:
            UserError: there is nothing there.
            UnreadableImageError: a picture cannot be read.
        """
        return list(self.stream(source, **options))

    def stream(
        self,
        source: Picture | Iterable[Picture],
        *,
        conf: float = 0.25,
        iou: float = 0.7,
        max_det: int = 300,
        beam: int = 1,
        length_penalty: float | None = None,
        no_repeat: int = 0,
        attention: bool = False,
        track: bool = False,
        batch: int = 8,
    ) -> Iterator[Result]:
        """As :meth:`predict`, one result after the other: films and endless sources take no more memory than a batch.

        Args:
            source: as :meth:`predict`; also the number of a camera, as text.
            conf: boxes below this score are dropped.
            iou: overlap above which the weaker of two boxes of a class is dropped.
            max_det: greatest number of boxes a picture.
            beam: width of the caption's beam search.
            length_penalty: captions of a search are compared by their log-probability over their length to this power;
                ``None`` as the model has it.
            no_repeat: no run of so many words is written twice in a caption; 0 lets them be.
            attention: keep where each word of a caption was read from, see :attr:`Result.words`.
            track: number things the same from frame to frame, see ``Result.boxes.id``.
            batch: pictures at once.
        """
        chosen = DecodeOptions(
            conf=conf,
            iou=iou,
            max_det=max_det,
            beam=beam,
            length_penalty=length_penalty,
            no_repeat=no_repeat,
            attention=attention,
        )
        rate = USUAL_RATE
        if isinstance(source, str | Path):
            opened = open_source(str(source))
            rate = opened.film.rate if opened.film else rate
            found = self._predictor.predict_shots(opened.shots, chosen, None, batch)
        else:
            one = isinstance(source, bytes | Image.Image | np.ndarray | Tensor)
            pictures = cast(Iterable[Picture], [source] if one else source)
            found = self._predictor.predict(pictures, chosen, batch)
        return map(Tracker(rate), found) if track else found


def open_model(
    name: str, tasks: list[str], vocab: str = "", strict: bool = True, say: Callable[[str], object] = warnings.warn
) -> Model | Exported:
    """What ``model=`` names where it need not be trained: weights, or a folder that ``export`` wrote.

    Args:
        name: as :class:`YOLORMTL`.
        tasks: tasks to run; all by default.
        vocab: as :class:`YOLORMTL`.
        strict: as :class:`YOLORMTL`.
        say: as in :func:`load_weights`.

    Raises:
        UserError: it is neither, or ``vocab`` is given for what carries its own words.
    """
    if not is_exported(Path(name)):
        return load_weights(name, tasks, vocab, strict, say)
    if vocab:
        raise UserError(f"vocab={vocab}: {name} carries its own words; vocab= goes with a published .pt")
    return load_exported(Path(name), tasks)


def load_weights(
    name: str, tasks: list[str], vocab: str = "", strict: bool = True, say: Callable[[str], object] = warnings.warn
) -> Model:
    """The model that ``model=`` names.

    Args:
        name: a shipped name, a ``.safetensors``, a run's folder, or a published ``.pt``.
        tasks: tasks to build; all by default.
        vocab: as :class:`YOLORMTL`.
        strict: as :class:`YOLORMTL`.
        say: gets what somebody who uses a published ``.pt`` should know.

    Raises:
        UserError: it is not a weights file, or ``vocab`` is given for weights that carry their own.
    """
    with _file(name) as path:
        if path.suffix in SUFFIXES:
            return load_published(path, tasks, vocab, strict, say)
        if vocab:
            raise UserError(f"vocab={vocab}: {path} carries its own words; vocab= goes with a published .pt")
        return load_model(path, tasks)


@contextmanager
def _file(name: str) -> Iterator[Path]:
    """The file that ``model=`` means.

    Raises:
        UserError: it means none.
    """
    path = Path(name)
    if path.suffix in SUFFIXES:
        yield path
    elif is_exported(path) and not (path / BEST).is_file():
        raise UserError(
            f"model={name} is an exported folder, whose graphs predict and val run; here weights are needed"
        )
    else:
        with found_weights("model", name, others="a published .pt, ") as found:
            yield found
