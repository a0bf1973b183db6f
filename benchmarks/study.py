"""The same training under several conditions, each with several seeds: the scores' means and what chance does to them.

    .venv/bin/python benchmarks/study.py study=precision data=scenes/ imgsz=128 epochs=2 lr=0.003 warmup=50 ema=0.99 \
        augment.mosaic=0
    .venv/bin/python benchmarks/study.py study=alone seeds=3 config=small-data data=scenes/ train=train val=val

With ``config=small-data`` every picture of a step trains every task, so that a task alone sees as many as together.
A study is a row of :data:`STUDIES`; keys that are not of this program go to every ``yolor-mtl train``. A run that has
ended is not run again and one that was stopped goes on, so the same command finishes what an earlier one began.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.ops.device import choose_device, half_pays
from yolor_mtl.ops.files import write_text

STUDIES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "precision": {"fp32": ("half=false",), "bf16": ("half=true",)},
    "alone": {
        "together": (),
        "boxes": ("tasks=[detection]",),
        "masks": ("tasks=[instance]",),
        "map": ("tasks=[semantic]",),
        "captions": ("tasks=[captioning]",),
    },
}
"""Study -> condition -> what ``train`` is told for it."""

SHOWN = ("box/AP", "box/AP50", "mask/AP", "semantic/mIoU", "panoptic/PQ", "caption/BLEU-4", "caption/CIDEr")


@dataclass
class StudyConfig:
    """Keys of this program.

    Attributes:
        study: a row of :data:`STUDIES`.
        seeds: runs of each condition.
        out: folder of the runs; by default one under ``runs`` with the study's name.
    """

    study: str = "precision"
    seeds: int = 2
    out: str = ""


def program(told: list[str]) -> list[str]:
    """``yolor-mtl``; where bfloat16 is asked for and the machine has no arithmetic for it, the one that imitates it."""
    asked = dict(word.partition("=")[::2] for word in told)
    if asked.get("half") != "true" or half_pays(choose_device(asked.get("device", "auto"))):
        return [str(Path(sys.executable).with_name("yolor-mtl"))]
    print("bf16: this machine has no arithmetic for it; see benchmarks/rounded.py", flush=True)
    return [sys.executable, str(Path(__file__).with_name("rounded.py"))]


def finished(folder: Path, told: list[str]) -> dict[str, float]:
    """Scores of the run in a folder, which is made, or gone on with, if it has not ended.

    Raises:
        CalledProcessError: the training failed; it has said why.
    """
    scores = folder / "val" / "metrics.json"
    if not scores.is_file():
        begun = (folder / "last.ckpt").is_file()
        keys = [f"resume={folder}"] if begun else [*told, f"out={folder}"]
        subprocess.run([*program(told), "train", *keys], check=True)
    found: dict[str, float] = json.loads(scores.read_text(encoding="utf-8"))
    return found


def _cell(scores: np.ndarray | None) -> str:
    return "" if scores is None else f"{scores.mean():.3f} ({', '.join(f'{score:.3f}' for score in scores)})"


def _compared(values: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """The greatest difference between two conditions' means, and between two seeds of one condition."""
    means = [float(each.mean()) for each in values.values()]
    spread = max(float(np.ptp(each)) for each in values.values())
    return f"{max(means) - min(means):.3f}", f"{spread:.3f}"


def check_keys(root: Path, passed: list[str]) -> None:
    """Refuses to go on with runs that were told something else; the first call keeps what it was told."""
    kept, told = root / "keys.json", sorted(passed)
    if not kept.is_file() and not any(root.glob("*/config.yaml")):
        write_text(kept, json.dumps(told))
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else "other keys"
    if before != told:
        sys.exit(f"{root}: its runs were told {before}, not {told}; take another out=, or the same keys")


def main() -> None:
    own = {field.name for field in fields(StudyConfig)}
    words = sys.argv[1:]
    given: dict[str, Any] = parse_assignments([word for word in words if word.partition("=")[0] in own])
    passed = [word for word in words if word.partition("=")[0] not in own]
    config = fill(StudyConfig, given)
    if config.study not in STUDIES or config.seeds < 1:
        sys.exit(f"study={config.study} seeds={config.seeds}: there are {', '.join(STUDIES)}, with one seed or more")
    root = Path(config.out or f"runs/study-{config.study}")
    check_keys(root, passed)
    found = {
        condition: [
            finished(root / f"{condition}-{seed}", [*passed, *told, f"seed={seed}"]) for seed in range(config.seeds)
        ]
        for condition, told in STUDIES[config.study].items()
    }
    table = Table("", *found, "difference", "between seeds", title=f"{config.study}: mean of {config.seeds} seeds")
    for name in SHOWN:
        # A condition that trains some tasks only has their scores only.
        values = {
            condition: np.array([scores[name] for scores in runs])
            for condition, runs in found.items()
            if all(name in scores for scores in runs)
        }
        if values:
            table.add_row(name, *(_cell(values.get(condition)) for condition in found), *_compared(values))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
