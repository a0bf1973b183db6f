"""What lies behind a score, as plain data: lines, matrices and tables that a report draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Lines:
    """A diagram of lines.

    Attributes:
        title: what it shows.
        axes: names of the horizontal and the vertical axis, both in 0..1.
        series: name -> points (x, y).
        diagonal: whether the line y = x is drawn for comparison.
    """

    title: str
    axes: tuple[str, str]
    series: Mapping[str, Sequence[tuple[float, float]]]
    diagonal: bool = False


@dataclass(frozen=True)
class Matrix:
    """Which class was taken for which.

    Attributes:
        title: what it shows.
        rows: names of the labels.
        columns: names of the answers.
        values: (R, C) shares of each row.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: np.ndarray


@dataclass(frozen=True)
class Breakdown:
    """A table, the strongest row first.

    Attributes:
        title: what it shows.
        columns: headings; the first one is the name's.
        rows: a name and its numbers each.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float]]]


@dataclass(frozen=True)
class Details:
    """All that a metric has to tell beyond its numbers.

    Attributes:
        lines: diagrams.
        matrices: confusions.
        tables: numbers class by class.
        images: image id -> how good its answer is; only the order counts.
    """

    lines: Sequence[Lines] = ()
    matrices: Sequence[Matrix] = ()
    tables: Sequence[Breakdown] = ()
    images: Mapping[int, float] = field(default_factory=dict)


def confusion_matrix(title: str, counts: np.ndarray, rows: Sequence[str], columns: Sequence[str], most: int) -> Matrix:
    """Shares of each row of the ``most`` fullest rows and of their columns.

    Args:
        title: what it shows.
        counts: (R, C); column r belongs to row r, further columns (no class) are kept.
        rows: R names.
        columns: C names.
        most: greatest number of classes.
    """
    fullest = np.argsort(-counts.sum(axis=1), kind="stable")[:most]
    fullest = fullest[counts[fullest].sum(axis=1) > 0]
    extra = np.arange(len(rows), len(columns))
    part = counts[np.ix_(fullest, [*fullest, *extra])].astype(float)
    shares = part / np.maximum(counts[fullest].sum(axis=1, keepdims=True), 1)
    return Matrix(title, [rows[i] for i in fullest], [columns[i] for i in (*fullest, *extra)], shares)
