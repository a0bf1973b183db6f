"""The Python door: ``YOLORMTL``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from yolor_mtl.build import Model, load_model
from yolor_mtl.config import nearest
from yolor_mtl.inference.predictor import Picture, Predictor
from yolor_mtl.inference.published import SUFFIXES, load_published
from yolor_mtl.inference.result import Result
from yolor_mtl.inference.sources import find_pictures
from yolor_mtl.records import UserError
from yolor_mtl.tasks.base import DecodeOptions


class YOLORMTL:
    """A trained model.

    Args:
        weights: a shipped name such as ``scenes-nano``, a ``.safetensors`` that ``train`` or ``convert`` wrote, a run's
            folder, or a published ``.pt``.
        tasks: tasks to run; all that were trained by default.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` or a GPU's number.
        half: ``auto``, ``true`` or ``false``; ``auto`` is bfloat16 where the hardware has it.
        imgsz: side of the square frame, pixels; 0 takes the model's own.
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
        vocab: str | Path = "",
        strict: bool = True,
    ) -> None:
        model = load_weights(str(weights), list(tasks), str(vocab), strict)
        self._predictor = Predictor(model, device, str(half), imgsz)

    @property
    def names(self) -> dict[int, str]:
        """Class index -> name of things."""
        return dict(enumerate(self._predictor.model.space.names))

    def predict(
        self,
        source: Picture | Iterable[Picture],
        *,
        conf: float = 0.25,
        iou: float = 0.7,
        max_det: int = 300,
        beam: int = 1,
        batch: int = 8,
    ) -> list[Result]:
        """Answers for one picture, a folder, a pattern, or many pictures.

        Args:
            source: a path, folder or pattern, encoded bytes, a PIL picture, an (H, W, 3) uint8 RGB array, a
                (3, H, W) uint8 tensor, or an iterable of these.
            conf: boxes below this score are dropped.
            iou: overlap above which the weaker of two boxes of a class is dropped.
            max_det: greatest number of boxes a picture.
            beam: width of the caption's beam search.
            batch: pictures at once.

        Raises:
            UserError: there is nothing there.
            UnreadableImageError: a picture cannot be read.
        """
        pictures: Iterable[Picture]
        if isinstance(source, str | Path):
            pictures = find_pictures(str(source))
        elif isinstance(source, bytes | Image.Image | np.ndarray | Tensor):
            pictures = [source]
        else:
            pictures = source
        options = DecodeOptions(conf=conf, iou=iou, max_det=max_det, beam=beam)
        return list(self._predictor.predict(pictures, options, batch))


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


def shipped_weights() -> list[str]:
    """Names of the weights that the package has with it."""
    return sorted(Path(entry.name).stem for entry in _shipped().iterdir() if entry.name.endswith(".safetensors"))


def _shipped() -> Traversable:
    return resources.files("yolor_mtl") / "weights"


@contextmanager
def _file(name: str) -> Iterator[Path]:
    """The file that ``model=`` means.

    Raises:
        UserError: it means none.
    """
    path = Path(name)
    if (path / "best.safetensors").is_file():
        yield path / "best.safetensors"
    elif path.suffix in (".safetensors", *SUFFIXES):
        yield path
    elif name in shipped_weights():
        with resources.as_file(_shipped() / f"{name}.safetensors") as unpacked:
            yield unpacked
    else:
        raise UserError(
            f"model={name}: a .safetensors file is needed, such as runs/NAME/best.safetensors, a published .pt, or "
            f"shipped weights: {', '.join(shipped_weights())}{nearest(name, shipped_weights())}"
        )
