"""Polygons that cross themselves, many at a time."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

import numpy as np

BATCH = 400_000
"""Coordinates that are looked at together: enough that numpy's calls cost little, few enough to stay in caches."""


class Outlines:
    """Collects polygons and tells which of them cross themselves.

    Args:
        tell: called with the row and the coordinates of each that does.
    """

    def __init__(self, tell: Callable[[int, Sequence[float]], None]) -> None:
        self._tell = tell
        self._clear()

    def _clear(self) -> None:
        self._values, self._lengths, self._rows = array("d"), array("q"), array("q")

    def add(self, row: int, polygon: Sequence[float]) -> None:
        """Takes in a polygon (x and y in turn) of a row."""
        if len(polygon) < 8:  # Three points cannot.
            return
        self._values.extend(polygon)
        self._lengths.append(len(polygon) // 2)
        self._rows.append(row)
        if len(self._values) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Looks at what is left."""
        if not self._rows:
            return
        points = np.frombuffer(self._values).reshape(-1, 2)
        lengths = np.frombuffer(self._lengths, np.int64)
        starts = np.cumsum(lengths) - lengths
        for place in np.flatnonzero(crossing(points, lengths)).tolist():
            self._tell(self._rows[place], points[starts[place] : starts[place] + lengths[place]].ravel().tolist())
        self._clear()


def crossing(points: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Which closed polygons have two edges that truly cross; edges that only touch do not.

    Every edge is compared with the one k further on, for all polygons at once, k = 2, 3, ... up to half of the points.
    Few pairs are near each other; only for those is it worked out on which side of one edge the other one's ends lie.

    Args:
        points: (P, 2) float64, polygon by polygon, the first point of each not repeated at its end (or repeated).
        lengths: (M,) int64, points of each.

    Returns:
        (M,) bool.
    """
    found = np.zeros(len(lengths), dtype=bool)
    if not len(lengths):
        return found
    # Longest first: the polygons that still have a k-th edge are then always the first ones.
    order = np.argsort(-lengths, kind="stable")
    counts = lengths[order]
    starts = np.cumsum(counts) - counts
    local = np.arange(counts.sum()) - np.repeat(starts, counts)
    begin = points[np.repeat((np.cumsum(lengths) - lengths)[order], counts) + local]
    size, first = np.repeat(counts, counts), np.repeat(starts, counts)
    end = begin[first + (local + 1) % size]
    low, high = np.minimum(begin, end), np.maximum(begin, end)
    active, polygon = len(counts), np.repeat(np.arange(len(counts)), counts)
    for step in range(2, int(counts[0]) // 2 + 1):
        while counts[active - 1] < 2 * step:
            active -= 1
        here = slice(0, int(starts[active - 1] + counts[active - 1]))
        other = local[here] + step
        other -= np.where(other >= size[here], size[here], 0)
        other += first[here]
        near = (low[here, 0] < high[other, 0]) & (low[other, 0] < high[here, 0])
        edges = np.flatnonzero(near)
        others = other[edges]
        keep = (low[edges, 1] < high[others, 1]) & (low[others, 1] < high[edges, 1])
        edges, others = edges[keep], others[keep]
        hit = _cross(begin[edges], end[edges], begin[others], end[others])
        found[order[polygon[edges[hit]]]] = True
    return found


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """(N,) bool: whether each edge ab crosses its edge cd, each end of one clearly on a side of the other."""
    largest = max((float(np.abs(x).max(initial=0)) for x in (a, b, c, d)), default=0.0)
    rounding = 1e-14 * largest * largest

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        turn = (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0])
        return np.where(np.abs(turn) <= rounding, 0, np.sign(turn))

    return np.asarray((side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0))
