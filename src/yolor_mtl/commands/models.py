"""``yolor-mtl models``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from yolor_mtl.commands.common import counting, print_table
from yolor_mtl.config import fill, packaged_names, parse_assignments
from yolor_mtl.inference.catalog import describe


@dataclass
class ModelsConfig:
    """The networks by name: tasks, learnable values and cost.

    Attributes:
        json: print as JSON.
    """

    json: bool = False


def models(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl models``."""
    config = fill(ModelsConfig, parse_assignments(words))
    names = packaged_names("models")
    rows: list[dict[str, Any]] = []
    with counting(Console(quiet=True) if config.json else console, "counting", len(names)) as progress:
        for name in names:
            rows.append(describe(name).to_dict())
            progress.advance(progress.task_ids[0])
    rows.sort(key=lambda row: -row["parameters"]["total"])
    if config.json:
        console.print_json(data=rows)
        return 0
    print_table(
        console,
        "networks: learnable values in thousands, cost of a picture of 640 x 640",
        [_cells(row) for row in rows],
        HEADINGS,
    )
    for row in rows:
        console.print(f"{row['name']}: {', '.join(row['tasks'])}", highlight=False, soft_wrap=True)
        for task, forms in row["variants"].items():
            told = ", ".join(f"{form} {count:,}" for form, count in forms.items())
            console.print(f"  {task} head, implicit knowledge apart: {told}", highlight=False, soft_wrap=True)
    return 0


HEADINGS = ("name", "vision", "caption", "total", "inference", "GFLOPs")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    counts = [f"{row['parameters'][part] / 1000:,.1f}" for part in ("vision", "caption", "total", "inference")]
    return (row["name"], *counts, f"{row['gflops']:.1f}")
