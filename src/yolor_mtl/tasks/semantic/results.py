"""Semantic maps from PNGs."""

from __future__ import annotations

from pathlib import Path

import torch

from yolor_mtl.records import IGNORE, Annotations, LabelSpace, Prediction, UserError
from yolor_mtl.tasks.base import Answers
from yolor_mtl.tasks.results import predicted_map


def read_maps(folder: Path, space: LabelSpace) -> Answers | None:
    """``semantic/<stem>.png``, pixel value = index of the class in the data's own list, as ``predict`` writes them.

    ``IGNORE`` is a pixel without an answer. When its image is asked for, a PNG that is missing or has other values is
    refused by a :class:`UserError`.
    """
    pictures = folder / "semantic"
    if not pictures.is_dir():
        return None
    classes = len(space.semantic)

    def answer(annotations: Annotations) -> Prediction:
        path = pictures / f"{annotations.path.stem}.png"
        pixels = predicted_map(path, annotations, ("L", "P"))
        beyond = pixels[(pixels >= classes) & (pixels != IGNORE)]
        if len(beyond):
            raise UserError(
                f"{path}: value {beyond[0]} is no class: the data has {classes} semantic classes, 0 to {classes - 1} "
                f"({IGNORE} is a pixel without an answer); write indices of the data's own list of classes"
            )
        return {"map": torch.from_numpy(pixels.copy())}

    return answer
