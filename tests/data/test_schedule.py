"""Which pictures a step sees depends on seed, epoch and step alone, and no picture is forgotten."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolor_mtl.data.schedule import Draw, Schedule, StepSampler
from yolor_mtl.records import View


def pools(vision: int, language: int = 0) -> dict[View, np.ndarray]:
    """Vision pictures are 0, 1, ...; language pictures 1000, 1001, ..."""
    return {"vision": np.arange(vision), "language": np.arange(1000, 1000 + language)}


def epoch_of(schedule: Schedule, epoch: int) -> list[Draw]:
    return [draw for step in range(schedule.steps) for draw in schedule.step(epoch, step)]


def test_deterministic() -> None:
    def draws(seed: int, epoch: int = 3, step: int = 2) -> list[Draw]:
        return Schedule(pools(50, 30), 8, seed=seed).step(epoch, step)

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert draws(1) != draws(1, epoch=4)
    # The order of asking does not matter: resumed or not, a step is the same.
    asked = Schedule(pools(50, 30), 8, seed=1)
    forward = {(epoch, step): asked.step(epoch, step) for epoch in range(5) for step in range(asked.steps)}
    for (epoch, step), found in reversed(forward.items()):
        assert asked.step(epoch, step) == found


def test_seeds_of_augmentation_never_repeat() -> None:
    schedule = Schedule(pools(10, 5), 4, seed=3)
    seeds = [draw.seed for epoch in range(6) for draw in epoch_of(schedule, epoch)]
    assert len(set(seeds)) == len(seeds)
    assert not set(seeds) & {draw.seed for draw in epoch_of(Schedule(pools(10, 5), 4, seed=4), 0)}


@settings(max_examples=100, deadline=None)
@given(
    number=st.integers(1, 60),
    language=st.integers(0, 20),
    batch=st.integers(1, 17),
    world=st.integers(1, 3),
    epoch=st.integers(0, 5),
    seed=st.integers(0, 2**31),
)
def test_every_picture_once_an_epoch(number: int, language: int, batch: int, world: int, epoch: int, seed: int) -> None:
    ranks = [Schedule(pools(number, language), batch, seed=seed, rank=rank, world=world) for rank in range(world)]
    drawn = [draw.index for schedule in ranks for draw in epoch_of(schedule, epoch) if draw.view == "vision"]
    counts = Counter(drawn)
    # Exactly once, but for those that fill the last step of all processes up.
    assert set(counts) == set(range(number))
    assert len(drawn) - number < ranks[0].rows["vision"] * world
    assert max(counts.values()) - min(counts.values()) <= 1


def test_epochs_are_in_other_orders() -> None:
    schedule = Schedule(pools(20), 5)
    orders = {tuple(draw.index for draw in epoch_of(schedule, epoch)) for epoch in range(4)}
    assert len(orders) == 4


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_a_global_batch(world: int) -> None:
    whole = Schedule(pools(30, 12), 4 * world, seed=5)
    ranks = [Schedule(pools(30, 12), 4, seed=5, rank=rank, world=world) for rank in range(world)]
    assert {schedule.steps for schedule in ranks} == {whole.steps}
    for step in range(whole.steps):
        parts = [schedule.step(1, step) for schedule in ranks]
        assert all(len(part) == 4 for part in parts)
        assert sorted((d.view, d.seed, d.index) for part in parts for d in part) == sorted(
            (d.view, d.seed, d.index) for d in whole.step(1, step)
        )


@pytest.mark.parametrize(
    ("batch", "share", "rows"),
    [
        (16, 0.25, {"vision": 12, "language": 4}),
        (16, 0.001, {"vision": 15, "language": 1}),
        (16, 0.999, {"vision": 1, "language": 15}),
        (2, 0.25, {"vision": 1, "language": 1}),
        (1, 0.25, {"vision": 1}),
    ],
)
def test_share(batch: int, share: float, rows: dict[View, int]) -> None:
    schedule = Schedule(pools(40, 40), batch, share=share)
    assert schedule.rows == rows
    assert Counter(draw.view for draw in schedule.step(0, 0)) == rows


def test_one_view_takes_the_whole_batch() -> None:
    assert Schedule(pools(40), 16).rows == {"vision": 16}
    only = Schedule(pools(0, 40), 16)
    assert only.rows == {"language": 16}
    assert only.steps == 3
    assert {draw.index for draw in epoch_of(only, 2)} == set(range(1000, 1040))


def test_language_goes_on_where_it_was() -> None:
    # 7 steps of 2 language pictures: an epoch is 14 of 10, so after 5 epochs each was there 7 times.
    schedule = Schedule(pools(42, 10), 8, share=0.25)
    assert schedule.steps == 7
    counts = Counter(d.index for epoch in range(5) for d in epoch_of(schedule, epoch) if d.view == "language")
    assert counts == dict.fromkeys(range(1000, 1010), 7)


def test_no_pictures() -> None:
    schedule = Schedule(pools(0, 0), 16)
    assert schedule.steps == 0
    assert list(StepSampler(schedule)) == []


def test_sampler() -> None:
    schedule = Schedule(pools(23, 9), 6, seed=2)
    sampler = StepSampler(schedule, lambda epoch, step: (epoch, step) >= (1, 3))
    assert list(sampler) == [schedule.step(0, step) for step in range(schedule.steps)]
    sampler.set_epoch(1)
    assert list(sampler) == [schedule.step(1, step, calm=step >= 3) for step in range(schedule.steps)]
    assert [{draw.calm for draw in draws} for draws in sampler] == [{False}] * 3 + [{True}] * 3


def test_sampler_resumes_inside_an_epoch() -> None:
    whole, resumed = (StepSampler(Schedule(pools(23, 9), 6, seed=2)) for _ in range(2))
    for sampler in (whole, resumed):
        sampler.set_epoch(4)
    resumed.start = 3
    assert len(whole) == 6
    assert len(resumed) == 6  # Lightning counts the steps already made
    assert len(list(resumed)) == 3
    assert list(resumed) == list(whole)[3:]
    resumed.set_epoch(4)  # Lightning says it again
    assert len(list(resumed)) == 3
    resumed.set_epoch(5)
    whole.set_epoch(5)
    assert list(resumed) == list(whole)
