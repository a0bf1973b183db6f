"""The stage that a scene is set on: canvas, light and perspective."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from yolor_mtl.data.scenes.canvas import Canvas
from yolor_mtl.data.scenes.ground import Surface
from yolor_mtl.data.scenes.pen import Light
from yolor_mtl.data.scenes.stuff import STUFF_IDS, surface
from yolor_mtl.data.scenes.weather import Sky


@dataclass(slots=True)
class Stage:
    """Where things are placed.

    Attributes:
        canvas: the picture so far.
        rng: the picture's only source of chance.
        light: how it is lit.
        sky: the sky; ``None`` in a room.
        horizon: row of the eye's height, which parallel lines on the ground run to.
        camera: height of the eye over the ground, a person being 1.
        grounds: (H, W) owners once all surfaces are painted and nothing stands on them yet.
        looks: the look of each ground, so that two areas of one kind look alike.
    """

    canvas: Canvas
    rng: np.random.Generator
    light: Light
    sky: Sky | None
    horizon: int
    camera: float
    grounds: NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int16))
    looks: dict[str, Surface] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Rows from the horizon to the picture's lower border."""
        return self.canvas.height - self.horizon

    def row(self, near: float) -> float:
        """The row at a nearness: 0 is the horizon, 1 the picture's lower border."""
        return self.horizon + near * self.depth

    def unit(self, row: float) -> float:
        """Height in pixels of a person whose feet stand on a row."""
        return max(0.0, row - self.horizon) / self.camera

    def segment(self, name: str) -> int:
        """The canvas's segment of a kind of stuff."""
        return self.canvas.stuff(STUFF_IDS[name])

    def look(self, name: str) -> Surface:
        """How a ground looks in this picture."""
        if name not in self.looks:
            self.looks[name] = surface(self.rng, name)
        return self.looks[name]
