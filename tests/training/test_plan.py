"""Progress by steps and by time, and the learning rate that follows it."""

import math

import pytest

from yolor_mtl.training.plan import Plan, rate_factor


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_steps_alone(clock: Clock) -> None:
    plan = Plan(200, clock=clock)
    clock.now += 1e6
    assert [plan.progress(step) for step in (0, 50, 200, 300)] == [0, 0.25, 1, 1]
    assert [plan.over(step) for step in (0, 199, 200)] == [False, False, True]


def test_time_alone_decides_where_it_runs_out_first(clock: Clock) -> None:
    plan = Plan(10_000, minutes=2, clock=clock)
    clock.now += 30
    assert plan.elapsed == 30
    assert plan.progress(10) == 0.25
    assert plan.progress(5_000) == 0.5
    clock.now += 90
    assert plan.over(11)


def test_remaining(clock: Clock) -> None:
    plan, timed = Plan(100, clock=clock), Plan(100, minutes=1, clock=clock)
    assert plan.remaining(0) is None
    assert timed.remaining(0) == 60
    clock.now += 20
    assert plan.remaining(25) == 60
    assert timed.remaining(25) == 40
    assert timed.remaining(80) == 5
    clock.now += 100
    assert timed.remaining(90) == 0


def test_a_resumed_training_has_spent_its_time(clock: Clock) -> None:
    plan = Plan(100, minutes=1, clock=clock)
    plan.start(spent=45)
    assert plan.elapsed == 45
    assert plan.progress(10) == 0.75
    assert Plan(100, clock=clock).progress(0) == 0
    plan.start()
    assert plan.elapsed == 0


def test_no_steps_is_no_division_by_zero() -> None:
    assert Plan(0).progress(0) == 0


def test_warm_up_is_linear_and_the_end_is_the_final_factor() -> None:
    assert [rate_factor(step, 0.0, 4, 0.1) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert rate_factor(999, 1.0, 4, 0.1) == pytest.approx(0.1)
    assert rate_factor(999, 0.5, 4, 0.1) == pytest.approx(0.55)
    assert rate_factor(999, 0.25, 0, 0.0) == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))


def test_flat_then_a_cosine() -> None:
    assert [rate_factor(99, place, 4, 0.1, 0.5) for place in (0, 0.25, 0.5)] == [1, 1, 1]
    assert rate_factor(99, 0.75, 4, 0.1, 0.5) == pytest.approx(0.55)
    assert rate_factor(99, 1.0, 4, 0.1, 0.5) == pytest.approx(0.1)
    assert rate_factor(0, 0.0, 4, 0.1, 0.5) == 0.25


def test_the_cosine_never_rises() -> None:
    factors = [rate_factor(1000, place / 50, 10, 0.02) for place in range(51)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == 1
