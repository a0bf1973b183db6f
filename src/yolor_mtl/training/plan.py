"""How far a training has come: by steps, by time, or both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Plan:
    """Progress from 0 to 1, by whichever of steps and time is used up first.

    Args:
        steps: steps of the whole training.
        minutes: time budget; 0 for none.
        clock: seconds; a monotonic clock by default.
    """

    def __init__(self, steps: int, minutes: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.steps = max(1, steps)
        self.seconds = minutes * 60
        self._clock = clock
        self._started = clock()

    def start(self, spent: float = 0.0) -> None:
        """Starts the clock; a resumed training has already spent some seconds."""
        self._started = self._clock() - spent

    @property
    def elapsed(self) -> float:
        """Seconds of training so far."""
        return self._clock() - self._started

    def progress(self, step: int) -> float:
        """Share of the training that is done at a step, 0..1."""
        by_time = self.elapsed / self.seconds if self.seconds else 0.0
        return min(1.0, max(step / self.steps, by_time))

    def remaining(self, step: int) -> float | None:
        """Seconds to the end, as far as the pace so far tells; ``None`` before the first step."""
        if step <= 0:
            return self.seconds or None
        by_pace = self.elapsed / step * (self.steps - step)
        return max(0.0, min(by_pace, self.seconds - self.elapsed) if self.seconds else by_pace)

    def over(self, step: int) -> bool:
        """Whether the training is at its end."""
        return self.progress(step) >= 1.0


def rate_factor(step: int, progress: float, warmup: int, final: float, flat: float = 0.0) -> float:
    """Linear warm-up, then a cosine from 1 to ``final``, which may begin later.

    Args:
        step: steps done.
        progress: share of the training done, 0..1.
        warmup: steps of the warm-up.
        final: factor at the end.
        flat: share of the training before the cosine begins, 0..1, 1 excluded.
    """
    rise = min(1.0, (step + 1) / max(1, warmup))
    fallen = max(0.0, progress - flat) / (1 - flat)
    return rise * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * fallen)))
