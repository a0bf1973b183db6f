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
best ones: ``yolor-mtl diagnose`` on pictures of the first split that was trained on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import combinations
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
        # Masks are made for boxes, so that they cannot be learnt without.
        "masks": ("tasks=[detection,instance]",),
        "map": ("tasks=[semantic]",),
        "captions": ("tasks=[captioning]",),
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
    if asked.get("half") != "true" or half_pays(choose_device(asked.get("device", "auto"))):
        return [str(Path(sys.executable).with_name("yolor-mtl"))]
    print("bf16: this machine has no arithmetic for it; see benchmarks/rounded.py", flush=True)
    return [sys.executable, str(Path(__file__).with_name("rounded.py"))]


def call(words: list[str], log: Path | None) -> None:
    """Runs a command, with what it says in a file where several run at once.

    Raises:
        CalledProcessError: it failed, and has said why.
    """
    if log is None:
        subprocess.run(words, check=True)
        return
    with log.open("a", encoding="utf-8") as file:
        print(" ".join(words), file=file, flush=True)
        subprocess.run(words, check=True, stdout=file, stderr=subprocess.STDOUT)


def finished(folder: Path, told: list[str], log: Path | None) -> dict[str, float]:
    """Scores of the run in a folder, which is made, or gone on with, if it has not ended.

    Raises:
        CalledProcessError: the training failed; it has said why.
    """
    scores = folder / "val" / "metrics.json"
    if not scores.is_file():
        begun = (folder / "last.ckpt").is_file()
        keys = [f"resume={folder}"] if begun else [*told, f"out={folder}"]
        call([*program(told), "train", *keys], log)
    found: dict[str, float] = json.loads(scores.read_text(encoding="utf-8"))
    return found


def compared(weights: Path, told: list[str], images: int, log: Path | None) -> dict[str, Any]:
    """What ``diagnose`` says of weights.

    Raises:
        CalledProcessError: it failed; it has said why.
    """
    out = weights.parent / "diagnose" / weights.stem
    if not (out / "diagnose.json").is_file():
        keys = [word for word in told if word.partition("=")[0] in ("data", "device")]
        split = next((word.partition("=")[2] for word in told if word.startswith("train=")), "train")
        words = [f"model={weights}", *keys, f"split={split}", f"images={images}", f"out={out}"]
        call([str(Path(sys.executable).with_name("yolor-mtl")), "diagnose", *words], log)
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
    for stage in protocol["stages"]:
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
    log = root / "log.txt" if config.jobs > 1 else None
    with running(config.jobs) as pool:

        def runs_of(condition: str, told: tuple[str, ...]) -> list[Future[dict[str, float]]]:
            folders = [root / f"{condition}-{seed}" for seed in range(config.seeds)]
            words = [[*passed, *told, f"seed={seed}"] for seed in range(config.seeds)]
            return [pool.submit(finished, folder, each, log) for folder, each in zip(folders, words, strict=True)]

        begun = {condition: runs_of(condition, told) for condition, told in STUDIES[config.study].items()}
        found = {condition: [run.result() for run in runs] for condition, runs in begun.items()}
        console = Console(width=160)
        console.print(scores_table(found, f"{config.study}: mean of {config.seeds} seeds"))
        if (condition := COMPARED.get(config.study)) is None:
            return
        folders = [root / f"{condition}-{seed}" for seed in range(config.seeds)]
        kept = [path.name for path in sorted(folders[0].glob("epoch-*.safetensors"))] or ["best.safetensors"]
        asked = [
            [pool.submit(compared, folder / name, passed, config.images, log) for name in kept] for folder in folders
        ]
        epochs = [Path(name).stem for name in kept]
        console.print(cosines_table([[each.result() for each in row] for row in asked], epochs))


@contextmanager
def running(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """So many runs at once. Where one fails, or Ctrl-C ends them, no further one begins."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield pool
        except subprocess.CalledProcessError as error:
            pool.shutdown(wait=False, cancel_futures=True)
            sys.exit(f"failed with exit code {error.returncode}: {' '.join(map(str, error.cmd))}")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


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
