"""``yolor-mtl data``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from yolor_mtl.commands.common import counting, data_root, print_table, with_keys
from yolor_mtl.config import fill, parse_assignments, split_names
from yolor_mtl.data.coco import find_splits, open_coco
from yolor_mtl.data.scenes import write_scenes
from yolor_mtl.data.stats import data_stats, stats_rows
from yolor_mtl.records import UserError


@dataclass
class ScenesConfig:
    """Draws the embedded scenes as a data set in COCO's layout.

    Attributes:
        out: the folder to write; may be given as the bare first word.
        train: pictures of the split train.
        val: pictures of the split val.
        seed: the same seed gives the same bytes.
        workers: processes; 0 takes one for each core.
    """

    out: str = ""
    train: int = 2000
    val: int = 200
    seed: int = 0
    workers: int = 0


@dataclass
class StatsConfig:
    """What a data set holds, in numbers.

    Attributes:
        path: a folder in COCO's layout, a YAML file, or the word scenes; may be given as the bare first word.
        split: split or splits; all by default.
        json: print as JSON.
    """

    path: str = ""
    split: Any = None
    json: bool = False


def scenes(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl data scenes``."""
    config = fill(ScenesConfig, parse_assignments(with_keys(words, "out")))
    if not config.out:
        raise UserError("data scenes: the folder is missing: yolor-mtl data scenes OUT --train 2000 --val 200 --seed 0")
    with counting(console, "drawing scenes", config.train + config.val) as progress:
        line = progress.task_ids[0]
        write_scenes(
            Path(config.out),
            train=config.train,
            val=config.val,
            seed=config.seed,
            workers=config.workers or None,
            progress=lambda done: progress.advance(line, done),
        )
    console.print(f"{config.train} + {config.val} scenes in {config.out}/")
    return 0


def stats(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl data stats``."""
    config = fill(StatsConfig, parse_assignments(with_keys(words, "path")))
    if not config.path:
        raise UserError("data stats: the data set is missing: yolor-mtl data stats path/to/coco")
    root = data_root(config.path, Console(quiet=True) if config.json else console)
    splits = find_splits(root) if config.split is None else split_names(config.split)
    numbers = data_stats(open_coco(root, list(splits)))
    if config.json:
        console.print_json(data=numbers.to_dict())
    else:
        print_table(console, f"{config.path}: {', '.join(splits)}", stats_rows(numbers), ("what", "how much"))
    return 0
