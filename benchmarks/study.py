"""The same training under several conditions, each with several seeds: the scores' means and what chance does to them.

    .venv/bin/python benchmarks/study.py study=precision data=scenes/ imgsz=128 epochs=6 lr=0.003

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

STUDIES: Mapping[str, Mapping[str, tuple[str, ...]]] = {"precision": {"fp32": ("half=false",), "bf16": ("half=true",)}}
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


def main() -> None:
    own = {field.name for field in fields(StudyConfig)}
    words = sys.argv[1:]
    given: dict[str, Any] = parse_assignments([word for word in words if word.partition("=")[0] in own])
    passed = [word for word in words if word.partition("=")[0] not in own]
    config = fill(StudyConfig, given)
    if config.study not in STUDIES or config.seeds < 1:
        sys.exit(f"study={config.study} seeds={config.seeds}: there are {', '.join(STUDIES)}, with one seed or more")
    root = Path(config.out or f"runs/study-{config.study}")
    found = {
        condition: [
            finished(root / f"{condition}-{seed}", [*passed, *told, f"seed={seed}"]) for seed in range(config.seeds)
        ]
        for condition, told in STUDIES[config.study].items()
    }
    shown = [name for name in SHOWN if all(name in scores for runs in found.values() for scores in runs)]
    table = Table("", *found, "difference", "between seeds", title=f"{config.study}: mean of {config.seeds} seeds")
    for name in shown:
        values = {condition: np.array([scores[name] for scores in runs]) for condition, runs in found.items()}
        means = [float(each.mean()) for each in values.values()]
        spread = max(float(np.ptp(each)) for each in values.values())
        cells = [f"{each.mean():.3f} ({', '.join(f'{value:.3f}' for value in each)})" for each in values.values()]
        table.add_row(name, *cells, f"{max(means) - min(means):.3f}", f"{spread:.3f}")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
