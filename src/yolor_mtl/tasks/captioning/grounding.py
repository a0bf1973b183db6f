"""Where in the picture a caption's words were read from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from yolor_mtl.records import Frame

LONGER_SIDE = 28
"""Cells of a word's map along the longer side of the picture; attention is no finer than a trunk's coarse features."""

AT_HOME = 0.5
"""Share of its attention that a word must have inside a box to be about it, unless it is the name of its class."""

FOCUSED = 1.5
"""How much denser a word's attention must be inside a box than over the picture for that."""


PLURALS = {"people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse", "knives": "knife"}
"""Of names of classes, those that no rule makes."""


@dataclass(frozen=True)
class Word:
    """A word of a caption, and where it was read from.

    Attributes:
        text: the word or punctuation mark.
        heat: (h, w) float32 in 0..1, a coarse map over the upright picture.
    """

    text: str
    heat: np.ndarray

    def inside(self, shares: np.ndarray) -> np.ndarray:
        """How much of the attention lies inside boxes, (N,) in 0..1.

        Args:
            shares: (N, 4) ``xyxy`` as shares of the picture.
        """
        total = float(self.heat.sum())
        covered = [_overlaps(shares[:, axis::2], self.heat.shape[1 - axis]) for axis in range(2)]
        return np.asarray(np.einsum("ny,nx,yx->n", covered[1], covered[0], self.heat) / max(total, 1e-9))

    def box(self, shares: np.ndarray, names: Sequence[str]) -> int | None:
        """The box that the word is about, if there is one.

        A word that names the class of a box is about the one of these that it looks at most; another one is about the
        box that holds most of its attention, if that is more than chance would put there.

        Args:
            shares: (N, 4) ``xyxy`` as shares of the picture.
            names: N names of classes.
        """
        if not len(shares) or not any(letter.isalnum() for letter in self.text):
            return None
        inside = self.inside(shares)
        if named := [number for number, name in enumerate(names) if _names(self.text, name)]:
            return max(named, key=lambda number: float(inside[number]))
        areas = (shares[:, 2] - shares[:, 0]) * (shares[:, 3] - shares[:, 1])
        density = np.where(inside >= AT_HOME, inside / np.maximum(areas, 1e-6), 0.0)
        best = int(density.argmax())
        return best if density[best] >= FOCUSED else None


def heat_maps(attention: Tensor, places: Tensor, frame: Frame) -> np.ndarray:
    """Attention to the places of a memory as maps of the upright picture.

    Args:
        attention: (n, S), of n words.
        places: (S, 4) ``xyxy``, shares of the square about the model's frame.
        frame: the picture's frame.

    Returns:
        (n, h, w) float32, the greatest value of each map 1. What lies in the padding is left out.
    """
    height, width = frame.original
    cells = [max(1, math.ceil(LONGER_SIDE * side / max(height, width))) for side in (width, height)]
    side = max(frame.size)
    covered, inside = [], torch.ones(len(places), dtype=torch.bool)
    for axis in range(2):
        margin = (side - frame.size[1 - axis]) / 2 + frame.pad[axis]
        shares = (places[:, axis::2].double().cpu() * side - margin) / (frame.scale[axis] * (width, height)[axis])
        low, high = shares.clamp(0, 1).unbind(1)
        inside &= high > low
        part = torch.from_numpy(_overlaps(shares.clamp(0, 1).numpy(), cells[axis]))
        covered.append(part / (high - low).clamp(min=1e-9)[:, None])
    weights = attention.double().cpu() * inside
    maps = torch.einsum("ns,sy,sx->nyx", weights, covered[1], covered[0])
    return (maps / maps.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)).float().numpy()


def _overlaps(spans: np.ndarray, cells: int) -> np.ndarray:
    """How much of each of ``cells`` equal parts of 0..1 lies inside spans (N, 2) from low to high: (N, cells), in
    0..1 of a part."""
    edges = np.linspace(0, 1, cells + 1)
    low, high = spans[:, :1], spans[:, 1:]
    covered = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    return np.asarray(np.clip(covered, 0, None) * cells)


def _names(word: str, name: str) -> bool:
    """Whether a word is a class's name, or the last word of it, in singular or plural."""
    last, said = name.lower().split()[-1:], word.lower()
    return bool(last) and PLURALS.get(said, said) in (last[0], f"{last[0]}s", f"{last[0]}es")
