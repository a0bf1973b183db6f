"""The order of pictures that come in shards."""

from __future__ import annotations

import numpy as np

WINDOW = 8
"""Shards that a training mixes at any time."""


def mixed(groups: np.ndarray, rng: np.random.Generator, window: int = WINDOW) -> np.ndarray:
    """A shuffled order in which only a few groups take turns at any time.

    Groups come in random order, each spread evenly over the time of ``window`` of them: they enter and leave one by
    one, so that what must be at hand, and what must be fetched, stays even. Those that are on their way when the order
    ends are the ones that it begins with.

    Args:
        groups: (n,) group of each element.
        rng: chooses.
        window: groups that are mixed.

    Returns:
        (n,) int64, a permutation.
    """
    _, group = np.unique(groups, return_inverse=True)
    number = int(group.max()) + 1 if len(group) else 0
    when = (rng.permutation(number)[group] + window * rng.random(len(group))) % max(number, window)
    return np.argsort(when, kind="stable")
