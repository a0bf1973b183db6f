"""What a training writes down: ``losses.csv`` every few steps, ``metrics.csv`` every epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from yolor_mtl.ops.files import write_text

Row = dict[str, float]


class Table:
    """Rows of numbers kept as a CSV file that is whole at any moment.

    Args:
        path: the file; rows that it already holds are kept, when ``resume`` says so.
        resume: go on with an earlier run's rows.
    """

    def __init__(self, path: Path, resume: bool = False) -> None:
        self.path = path
        self.rows: list[Row] = read_rows(path) if resume else []

    def add(self, row: Mapping[str, float]) -> None:
        """Adds a row in memory."""
        self.rows.append(dict(row))

    def write(self) -> None:
        """Writes all rows; columns are those that occur in any, in order of appearance."""
        write_text(self.path, to_csv(self.rows))


def to_csv(rows: Sequence[Mapping[str, float]]) -> str:
    """Rows as CSV text; a value that a row lacks is empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _short(value) for key, value in row.items()})
    return buffer.getvalue()


def _short(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def read_rows(path: Path) -> list[Row]:
    """Inverse of :func:`to_csv`; empty cells are left out. A file that is not there has no rows."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
