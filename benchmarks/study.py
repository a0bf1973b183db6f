"""The same training under several conditions, each with several seeds: the scores' means and what chance does to them.

    .venv/bin/python benchmarks/study.py study=precision data=scenes/ imgsz=128 epochs=2 lr=0.003 warmup=50 ema=0.99 \
        augment.mosaic=0
    .venv/bin/python benchmarks/study.py study=alone seeds=3 config=small-data data=scenes/ train=train val=val \
        keep_every=3

With ``config=small-data`` every picture of a step trains every task, so that a task alone sees as many as together.
A study is a row of :data:`STUDIES`; keys that are not of this program go to every ``yolor-mtl train``. A run that has
ended is not run again and one that was stopped goes on, so the same command finishes what an earlier one began. Several
runs at once (``jobs=``) each write to ``log.txt`` in the study's folder instead of the terminal.

Of a study in :data:`COMPARED`, the tasks' gradients are compared in the weights that ``keep_every=`` keeps, or in the
best ones: ``yolor-mtl diagnose`` on pictures that were trained on.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from yolor_mtl.config import fill, parse_assignments, read_yaml, split_names
from yolor_mtl.ops.device import choose_device, half_pays
from yolor_mtl.ops.files import write_text
from yolor_mtl.training.checkpoint import BEST, KEPT
from yolor_mtl.training.config import TrainConfig

STUDIES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "precision": {"fp32": ("half=false",), "bf16": ("half=true",)},
    "alone": {
        "together": (),
        "boxes": ("tasks=[detection]",),
        # Masks are made for boxes, so that they cannot be learnt without.
        "masks": ("tasks=[detection,instance]",),
        "map": ("tasks=[semantic]",),
        "captions": ("tasks=[captioning]",),
        # A decoder alone has no objects to read, which detection finds: all four without them, too.
        "cells": ("network.captioning.objects.count=0",),
    },
}
"""Study -> condition -> what ``train`` is told for it."""

COMPARED: Mapping[str, str] = {"alone": "together"}
"""Study -> the condition whose tasks' gradients are compared."""

SHOWN = ("box/AP", "box/AP50", "mask/AP", "semantic/mIoU", "panoptic/PQ", "caption/BLEU-4", "caption/CIDEr")


@dataclass
class StudyConfig:
    """Keys of this program.

    Attributes:
        study: a row of :data:`STUDIES`.
        seeds: runs of each condition.
        out: folder of the runs; by default one under ``runs`` with the study's name.
        jobs: runs at once; a run alone is fastest where it has all cores.
        images: pictures on which gradients are compared.
    """

    study: str = "precision"
    seeds: int = 2
    out: str = ""
    jobs: int = 1
    images: int = 200


def program(told: list[str]) -> list[str]:
    """``yolor-mtl``; where bfloat16 is asked for and the machine has no arithmetic for it, the one that imitates it."""
    asked = dict(word.partition("=")[::2] for word in told)
    if asked.get("half") != "true" or _has_half(choose_device(asked.get("device", "auto"))):
        return [str(Path(sys.executable).with_name("yolor-mtl"))]
    print("bf16: this machine has no arithmetic for it; see benchmarks/rounded.py", flush=True)
    return [sys.executable, str(Path(__file__).with_name("rounded.py"))]


def _has_half(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 at all, however fast: a study asks what comes out."""
    has = getattr(torch.cpu, "get_capabilities", dict)  # absent in older releases
    return half_pays(device) or (device.type == "cpu" and bool(has().get("avx512_bf16")))


class Commands:
    """Runs commands; after one has failed, no further one.

    Args:
        log: the file for what they say, where several run at once.
    """

    def __init__(self, log: Path | None) -> None:
        self.log = log
        self._failed = threading.Event()

    def __call__(self, words: list[str], leaves: Path) -> None:
        """Runs one that leaves a file; exit code 1 says that some pictures could not be read.

        Raises:
            CalledProcessError: it failed, and has said why.
            CancelledError: another one has failed.
        """
        if self._failed.is_set():
            raise CancelledError
        if self.log is None:
            code = subprocess.run(words, check=False).returncode
        else:
            with self.log.open("a", encoding="utf-8") as file:
                print(" ".join(words), file=file, flush=True)
                code = subprocess.run(words, check=False, stdout=file, stderr=subprocess.STDOUT).returncode
        if code not in (0, 1) or not leaves.is_file():
            self._failed.set()
            print(f"failed with exit code {code}: {' '.join(words)}", file=sys.stderr, flush=True)
            raise subprocess.CalledProcessError(code, words)


def finished(folder: Path, told: list[str], run: Commands) -> dict[str, float]:
    """Scores of the run in a folder, which is made, or gone on with, if it has not ended.

    Raises:
        CalledProcessError: the training failed; it has said why.
    """
    scores = folder / "val" / "metrics.json"
    if not scores.is_file():
        begun = (folder / "last.ckpt").is_file()
        keys = [f"resume={folder}"] if begun else [*told, f"out={folder}"]
        run([*program(told), "train", *keys], scores)
    found: dict[str, float] = json.loads(scores.read_text(encoding="utf-8"))
    return found


def compared(weights: Path, images: int, run: Commands) -> dict[str, Any]:
    """What ``diagnose`` says of a run's weights, on pictures of what it was trained on.

    Raises:
        CalledProcessError: it failed; it has said why.
    """
    out = weights.parent / "diagnose" / f"{weights.stem}-{images}"
    if not (out / "diagnose.json").is_file():
        told = fill(TrainConfig, read_yaml(weights.parent / "config.yaml"))
        split = ",".join(split_names(told.train))
        keys = [f"data={told.data}", f"split=[{split}]", f"maps={told.maps}", f"device={told.device}"]
        words = [f"model={weights}", *keys, f"images={images}", f"out={out}"]
        run([*program([]), "diagnose", *words], out / "diagnose.json")
    found: dict[str, Any] = json.loads((out / "diagnose.json").read_text(encoding="utf-8"))
    return found


def cosines_table(found: list[list[dict[str, Any]]], epochs: list[str]) -> Table:
    """Cosines in the whole trunk by epoch, and by stage in the end: means over the seeds, and the seeds' own.

    Args:
        found: for each seed, what was said of its weights of each epoch.
        epochs: their names.
    """
    protocol = found[0][-1]["protocol"]
    pairs = [f"{first}+{second}" for first, second in combinations(protocol["tasks"], 2)]
    title = f"cosine between gradients, mean over {len(found)} seeds (and each seed's)"
    table = Table("", *(pair.replace("+", "\n") for pair in pairs), title=title)

    def add(name: str, stage: str, place: int) -> None:
        keys = [f"{stage}/{pair}/cosine" for pair in pairs]
        cells = [np.array([seed[place][key] for seed in found if key in seed[place]]) for key in keys]
        table.add_row(name, *(_cell(cell if len(cell) else None, "+.2f") for cell in cells))

    for place, epoch in enumerate(epochs):
        add(f"trunk, {epoch}", "trunk", place)
    table.add_section()
    for stage in protocol["stages"][:-1]:  # the last one is the whole trunk
        add(f"{stage}, {epochs[-1]}", stage, -1)
    return table


def _cell(values: np.ndarray | None, form: str = ".3f") -> str:
    return "" if values is None else f"{values.mean():{form}} ({', '.join(f'{value:{form}}' for value in values)})"


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
    if config.study not in STUDIES or config.seeds < 1 or config.jobs < 1:
        sys.exit(f"study={config.study} seeds={config.seeds}: known: {', '.join(STUDIES)}; a seed and a job or more")
    root = Path(config.out or f"runs/study-{config.study}")
    check_keys(root, passed)
    run = Commands(root / "log.txt" if config.jobs > 1 else None)
    try:
        with ThreadPoolExecutor(config.jobs) as pool:
            show(config, root, passed, run, pool)
    except (subprocess.CalledProcessError, CancelledError):
        sys.exit(f"the study in {root} is not done; the same command goes on with it")


def show(config: StudyConfig, root: Path, passed: list[str], run: Commands, pool: ThreadPoolExecutor) -> None:
    """Makes what is missing, and prints the tables."""

    def runs_of(condition: str, told: tuple[str, ...]) -> list[Future[dict[str, float]]]:
        folders = [root / f"{condition}-{seed}" for seed in range(config.seeds)]
        words = [[*passed, *told, f"seed={seed}"] for seed in range(config.seeds)]
        return [pool.submit(finished, folder, each, run) for folder, each in zip(folders, words, strict=True)]

    begun = {condition: runs_of(condition, told) for condition, told in STUDIES[config.study].items()}
    found = {condition: [each.result() for each in runs] for condition, runs in begun.items()}
    console = Console(width=160)
    console.print(scores_table(found, f"{config.study}: mean of {config.seeds} seeds"))
    if (condition := COMPARED.get(config.study)) is None:
        return
    folders = [root / f"{condition}-{seed}" for seed in range(config.seeds)]
    kept = [{path.name for path in folder.glob(KEPT.format("*"))} for folder in folders]
    names = sorted(set.intersection(*kept)) or [BEST]
    asked = [[pool.submit(compared, folder / name, config.images, run) for name in names] for folder in folders]
    epochs = [Path(name).stem for name in names]
    console.print(cosines_table([[each.result() for each in row] for row in asked], epochs))


def scores_table(found: Mapping[str, list[dict[str, float]]], title: str) -> Table:
    """A row a score and a column a condition: the mean, each seed's, and what chance does."""
    table = Table("", *found, "difference", "between seeds", title=title)
    for name in SHOWN:
        # A condition that trains some tasks only has their scores only.
        values = {
            condition: np.array([scores[name] for scores in runs])
            for condition, runs in found.items()
            if all(name in scores for scores in runs)
        }
        if values:
            table.add_row(name, *(_cell(values.get(condition)) for condition in found), *_compared(values))
    return table


if __name__ == "__main__":
    main()
