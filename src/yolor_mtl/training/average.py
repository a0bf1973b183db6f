"""Exponential moving average of the weights, whose memory grows with the training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

Update = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]


def average_function(decay: float, ramp: int) -> Update:
    """An update for lists of tensors: ``average = d * average + (1 - d) * current``.

    Args:
        decay: d after the ramp.
        ramp: steps; d grows as ``decay * (1 - exp(-step / ramp))``, so that early weights are soon forgotten.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], currents: Sequence[Tensor], steps: Tensor | int) -> None:
        keep = decay * (1 - math.exp(-(float(steps) + 1) / max(1, ramp)))
        floats = [pair for pair in zip(averages, currents, strict=True) if pair[0].is_floating_point()]
        if floats:
            torch._foreach_lerp_([a for a, _ in floats], [c for _, c in floats], 1 - keep)
        for average, current in zip(averages, currents, strict=True):
            if not average.is_floating_point():
                average.copy_(current)

    return update


class MovingAverage(WeightAveraging):
    """Lightning's averaging with our update; validation and the final weights use the average.

    Args:
        decay: see :func:`average_function`.
        ramp: see :func:`average_function`.
    """

    def __init__(self, decay: float, ramp: int) -> None:
        super().__init__(multi_avg_fn=average_function(decay, ramp))

    def averaged_state(self) -> dict[str, Tensor]:
        """The averaged weights, by the names of the Lightning module."""
        assert self._average_model is not None
        return dict(self._average_model.module.state_dict())
