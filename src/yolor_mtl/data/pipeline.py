"""One augmentation pipeline: from pictures as they were read to a frame that can be trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from yolor_mtl.data.augment import AugmentConfig
from yolor_mtl.data.colour import recolour
from yolor_mtl.data.mosaic import TILES, copy_paste, erase, mixup, mosaic, single
from yolor_mtl.data.transforms import mirror, turn
from yolor_mtl.records import Sample

Partner = Callable[[], Sample | None]
"""Reads another picture of which as much is known; none where none can be read."""


class Pipeline:
    """The operations of :data:`yolor_mtl.data.augment.OPERATIONS` in their order, each by its strength.

    Args:
        config: strengths.
        size: (height, width) of the frame.
    """

    def __init__(self, config: AugmentConfig, size: tuple[int, int]) -> None:
        self.config, self.size = config, size

    def __call__(self, first: Sample, partner: Partner, calm: bool, rng: np.random.Generator) -> Sample:
        """A frame of the pipeline's size.

        Args:
            first: the picture.
            partner: for what mixes pictures.
            calm: without operations that mix, as at the end of a training.
            rng: for every choice.
        """
        config = self.config
        sample = self._frame(first, partner, calm, rng)
        if not calm:
            for chance, mix in ((config.copy_paste, copy_paste), (config.mixup, mixup)):
                if chance and rng.random() < chance and (other := partner()) is not None:
                    sample = mix(sample, self._frame(other, partner, calm, rng), rng)
        if config.erase and rng.random() < config.erase:
            sample = erase(sample, rng)
        if config.flip and rng.random() < config.flip:
            sample = mirror(sample)
        return replace(sample, image=recolour(sample.image, config, rng))

    def _frame(self, first: Sample, partner: Partner, calm: bool, rng: np.random.Generator) -> Sample:
        """One picture, or four in a mosaic; turned and sheared."""
        config = self.config
        if calm or not config.mosaic or rng.random() >= config.mosaic:
            sample = single(first, self.size, config.scale, rng, config.place)
        else:
            tiles = [first, *(tile for _ in range(TILES - 1) if (tile := partner()) is not None)]
            sample = mosaic((tiles * TILES)[:TILES], self.size, config.scale, rng)
        if config.rotate or config.shear:
            angle, *shear = rng.uniform(-1, 1, 3) * (config.rotate, config.shear, config.shear)
            sample = turn(sample, float(angle), (float(shear[0]), float(shear[1])))
        return sample
