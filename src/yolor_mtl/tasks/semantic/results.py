"""Semantic maps from PNGs."""

from __future__ import annotations

from pathlib import Path

import torch

from yolor_mtl.data.coco import read_map
from yolor_mtl.records import Annotations, LabelSpace, Prediction
from yolor_mtl.tasks.base import Answers


def read_maps(folder: Path, space: LabelSpace) -> Answers | None:
    """``semantic/<stem>.png``, pixel value = index of the class in the data's own list, as ``predict`` writes them."""
    pictures = folder / "semantic"
    if not pictures.is_dir():
        return None

    def answer(annotations: Annotations) -> Prediction:
        pixels = read_map(pictures / f"{annotations.path.stem}.png", annotations, ("L", "P"))
        return {"map": torch.from_numpy(pixels.copy())}

    return answer
