"""Polygons that cross themselves: equal to exact arithmetic, and never against what shapely calls sound."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import LinearRing

from yolor_mtl.data.check import outlines
from yolor_mtl.data.check.outlines import Outlines, crossing

Points = list[tuple[float, float]]

SMALL = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=9)
LARGE = st.lists(st.tuples(st.floats(-50, 5000), st.floats(-50, 5000)), min_size=3, max_size=40)


def found(polygons: list[Points]) -> list[bool]:
    points = np.array([point for polygon in polygons for point in polygon], dtype=float).reshape(-1, 2)
    answer: list[bool] = crossing(points, np.array([len(polygon) for polygon in polygons])).tolist()
    return answer


def exact(polygon: Points) -> bool:
    """Whether two edges cross, in fractions."""
    corners = [(Fraction(x), Fraction(y)) for x, y in polygon]
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))

    def side(a: tuple, b: tuple, c: tuple) -> int:
        turn = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        return (turn > 0) - (turn < 0)

    return any(
        side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
        for place, (a, b) in enumerate(edges)
        for c, d in edges[:place]
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(SMALL, min_size=1, max_size=6))
def test_as_exact_arithmetic_says(polygons: list[Points]) -> None:
    assert found(polygons) == [exact(polygon) for polygon in polygons]


@settings(max_examples=80, deadline=None)
@given(LARGE)
def test_what_shapely_calls_simple_does_not_cross(polygon: Points) -> None:
    if LinearRing(polygon).is_simple:
        assert found([polygon]) == [False]


@pytest.mark.parametrize(
    ("polygon", "crosses"),
    [
        ([(0, 0), (4, 0), (4, 4), (0, 4)], False),
        ([(0, 0), (4, 0), (4, 4), (0, 4), (0, 0)], False),  # closed
        ([(0, 0), (4, 4), (4, 0), (0, 4)], True),  # a bow tie
        ([(0, 0), (2, 2), (4, 0), (4, 4), (2, 2), (0, 4)], False),  # touches itself in a point
        ([(0, 0), (4, 0), (2, 0), (2, 4)], False),  # goes back on itself
        ([(0, 0), (4, 0), (4, 4), (4, 4), (0, 4)], False),  # a point twice
    ],
)
def test_cases(polygon: Points, crosses: bool) -> None:
    assert found([polygon]) == [crosses]
    assert found([[(x + 1e4, y + 0.01) for x, y in polygon]]) == [crosses]


def test_batches_tell_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "BATCH", 20)
    told: list[int] = []
    collector = Outlines(lambda row, polygon: told.append(row))
    tie, square = [0, 0, 4, 4, 4, 0, 0, 4], [0, 0, 4, 0, 4, 4, 0, 4]
    for row in range(30):
        collector.add(row, tie if row % 7 == 3 else square)
        collector.add(row, [0, 0, 1, 1, 2, 0])
    collector.flush()
    assert told == [3, 10, 17, 24]
