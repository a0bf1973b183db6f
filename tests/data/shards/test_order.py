"""Pictures in shards are mixed as well as a few shards at a time allow."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from yolor_mtl.data.shards.order import mixed


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 5), st.integers(0, 3))
def test_every_picture_once(groups: list[int], window: int, seed: int) -> None:
    order = mixed(np.array(groups, dtype=np.int64), np.random.default_rng(seed), window)
    assert sorted(order.tolist()) == list(range(len(groups)))


@given(st.integers(0, 20))
def test_few_shards_at_any_time(seed: int) -> None:
    """Eight, and those that enter and leave meanwhile."""
    groups = np.repeat(np.arange(40), 50)
    order = groups[mixed(groups, np.random.default_rng(seed), window=8)]
    for start in range(0, len(order) - 50, 50):
        # Nowhere, the ends included, is it a few shards alone, or more than the window and those that come and go.
        assert 6 <= len(np.unique(order[start : start + 50])) <= 12


def test_another_order_each_time() -> None:
    groups, rng = np.repeat(np.arange(5), 20), np.random.default_rng(0)
    assert not np.array_equal(mixed(groups, rng), mixed(groups, rng))
