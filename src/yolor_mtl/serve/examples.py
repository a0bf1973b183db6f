"""Pictures to try: scenes drawn by our own code."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from yolor_mtl.data.scenes.pictures import described_scene

SEEDS: Sequence[tuple[int, int]] = ((9, 18), (9, 17), (9, 14), (9, 10))
"""A farm, a beach, a room and a street. No split has such a second number, so they are in no data set of scenes."""


@dataclass(frozen=True)
class Drawn:
    """An example.

    Attributes:
        jpeg: the file.
        text: what is to be seen, in words.
    """

    jpeg: bytes
    text: str


def draw_examples(seeds: Sequence[Sequence[int]] = SEEDS) -> list[Drawn]:
    """A picture a seed; the same ones everywhere."""
    return [_draw(seed) for seed in seeds]


def _draw(seed: Sequence[int]) -> Drawn:
    scene, description = described_scene(np.random.default_rng(np.random.SeedSequence(tuple(seed))))
    jpeg = io.BytesIO()
    Image.fromarray(scene.rgb).save(jpeg, "JPEG", quality=90)
    return Drawn(jpeg.getvalue(), description.captions[0])
