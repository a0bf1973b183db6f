"""What several verbs share: progress, tables, lists of failures, the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from yolor_mtl.data.named import find_data
from yolor_mtl.inference.model import open_model
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.ops.console import Output
from yolor_mtl.records import UserError


@contextmanager
def counting(console: Console, title: str, total: int | None = None) -> Iterator[Progress]:
    """A progress bar with one line; quiet where the output is no terminal."""
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        progress.add_task(title, total=total)
        yield progress


def data_root(data: str, console: Console) -> Path:
    """:func:`find_data` with a progress bar."""
    with counting(console, "drawing scenes") as progress:
        line = progress.task_ids[0]
        return find_data(data, lambda done, total: progress.update(line, completed=done, total=total))


def print_table(console: Console, title: str, rows: Sequence[Sequence[str]], headings: Sequence[str]) -> None:
    """A table on the terminal."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for number, heading in enumerate(headings):
        # Names are for copying, and a number that is cut is another number.
        table.add_column(heading, no_wrap=not any(" " in row[number] for row in rows))
    for row in rows:
        table.add_row(*row)
    console.print(table)


def report_failures(console: Console, failures: dict[str, str]) -> int:
    """Lists what could not be read; the exit code that follows."""
    for path, reason in failures.items():
        console.print(f"[yellow]skipped[/yellow] {path}: {reason}", soft_wrap=True, highlight=False)
    if failures:
        console.print(f"{len(failures)} pictures could not be read and were left out")
    return 1 if failures else 0


def make_predictor(
    model: str,
    tasks: list[str] | None,
    device: str,
    half: str,
    imgsz: int,
    vocab: str = "",
    strict: bool = True,
    rect: bool = True,
) -> Predictor:
    """The predictor that ``model=`` names; what is to be known of a published checkpoint goes to stderr.

    Raises:
        UserError: ``model=`` is missing or cannot be used.
    """
    if not model:
        raise UserError(
            "model= is missing; give a .safetensors file, a run's folder, such as runs/NAME, a published .pt, or an "
            "exported folder"
        )
    return Predictor(open_model(model, tasks or [], vocab, strict, warn), device, half, imgsz, rect)


def warn(text: str) -> None:
    """A note on stderr, so that what is printed as JSON stays JSON."""
    Output(stderr=True).print(f"[yellow]note:[/yellow] {escape(text)}", soft_wrap=True, highlight=False)


def with_keys(words: Sequence[str], *keys: str) -> list[str]:
    """``OUT --train 5`` as ``out=OUT --train 5``: the first words that are bare get these keys, in order."""
    bare = list(takewhile(lambda word: not word.startswith("--") and "=" not in word, words[: len(keys)]))
    return [*(f"{key}={word}" for key, word in zip(keys, bare, strict=False)), *words[len(bare) :]]


def check_counts(config: Any) -> None:
    """Refuses numbers that mean nothing.

    Raises:
        UserError: names the key and the least value.
    """
    least = {
        "batch": 1,
        "beam": 1,
        "max_det": 1,
        "plots": 0,
        "extremes": 0,
        "no_repeat": 0,
        "max_unreadable": 0,
        "imgsz": 0,
        "workers": -1,
    }
    for key, value in least.items():
        if getattr(config, key, value) < value:
            raise UserError(f"{key}={getattr(config, key)} is below the least, {value}")
    for key in ("conf", "iou"):
        if not 0 <= getattr(config, key) <= 1:
            raise UserError(f"{key}={getattr(config, key)} must lie in 0..1")
