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
        tables: numbers class by class, then by larger groups.
        images: image id -> how good its answer is; only the order counts.
    """

    lines: Sequence[Lines] = ()
    matrices: Sequence[Matrix] = ()
    tables: Sequence[Breakdown] = ()
    images: Mapping[int, float] = field(default_factory=dict)

    def by_class(self) -> dict[str, dict[str, float]]:
        """The first table as class -> heading -> number; empty without one."""
        if not self.tables:
            return {}
        headings = self.tables[0].columns[1:]
        return {
            name: {heading: float(value) for heading, value in zip(headings, values, strict=True)}
            for name, values in self.tables[0].rows
        }


def confusion_matrix(
    title: str,
    counts: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    most: int,
    classes: int | None = None,
) -> Matrix:
    """Shares of each row of the ``most`` fullest classes and of their columns.

    Args:
        title: what it shows.
        counts: (R, C); column r belongs to row r. Rows and columns behind the classes (no class) are kept.
        rows: R names.
        columns: C names.
        most: greatest number of classes.
        classes: number of rows that are classes; R by default.
    """
    classes = len(rows) if classes is None else classes
    totals = counts.sum(axis=1)
    # A class that nothing is labelled as, but that is said where nothing is, belongs to the picture too.
    seen = totals[:classes] + counts[classes:, :classes].sum(axis=0)
    fullest = np.argsort(-seen, kind="stable")[:most]
    fullest = fullest[seen[fullest] > 0]
    down = [*fullest.tolist(), *range(classes, len(rows))]
    across = [*fullest.tolist(), *range(classes, len(columns))]
    shares = counts[np.ix_(down, across)].astype(float) / np.maximum(totals[down, None], 1)
    return Matrix(title, [rows[i] for i in down], [columns[i] for i in across], shares)
