"""Whether a training's memory grows: with the number of pictures, and from epoch to epoch.

    .venv/bin/yolor-mtl data scenes scenes/ train=200 val=50
    .venv/bin/python benchmarks/memory.py data=scenes/ times=100

Trains for so many minutes on a data set in COCO's layout and on one that has each of its pictures so many times, with
names, ids and labels of their own, and then for so many epochs on the smaller one. Twice a second it looks at what the
training and its loading processes hold: anonymous memory, of which a page that several share counts once, as Linux
reports it. Pages of files, such as the index of the labels, are not counted: they are the system's, which takes them
back where others need room. The bars: with many pictures at most 5 % more than with few, and in the last epoch at most
3 % more than in the second (in the first one all of it is made).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networks
import study
from rich.console import Console
from rich.table import Table

from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.ops.files import write_text
from yolor_mtl.training.history import read_rows

PICTURES, EPOCHS = 1.05, 1.03
"""Limits of the two ratios."""

FAR = 10**10
"""Between the ids of a picture and of its copy."""

PAUSE = 0.5
"""Seconds between two looks."""


@dataclass
class BenchConfig:
    """Keys of this benchmark."""

    data: str = ""
    times: int = 100
    minutes: float = 3.0
    epochs: int = 10
    imgsz: int = 128
    batch: int = 16
    workers: int = 2


def repeated(data: Path, times: int, out: Path) -> Path:
    """A data set in which each training picture of another one stands so many times; pictures and maps are linked."""
    for split in ("train", "val"):
        copies = times if split == "train" else 1
        for path in sorted((data / "annotations").glob(f"*_{split}.json")):
            content = json.loads(path.read_text())
            for key in ("images", "annotations"):
                content[key] = [entry for number in range(copies) for entry in copied(content[key], number)]
            write_text(out / "annotations" / path.name, json.dumps(content))
        for folder in (Path(split), Path("annotations") / f"panoptic_{split}"):
            (out / folder).mkdir(parents=True)
            for path in (data / folder).iterdir():
                for number in range(copies):
                    (out / folder / f"{number}-{path.name}").symlink_to(path.resolve())
    return out


def copied(entries: list[dict[str, Any]], number: int) -> Iterator[dict[str, Any]]:
    """Entries of pictures or annotations with names and ids of their own."""
    for entry in entries:
        changed = {key: entry[key] + number * FAR for key in ("id", "image_id") if key in entry}
        yield {**entry, **changed, **({"file_name": f"{number}-{entry['file_name']}"} if "file_name" in entry else {})}


def descendants(process: int) -> list[int]:
    """A process and those that it or they have started."""
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [process, *(each for child in children for each in descendants(child))]


def held(process: int) -> int:
    """Anonymous memory of a process and its descendants, bytes."""
    total = 0
    for each in descendants(process):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended meanwhile
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return total


def peaks(out: Path, *words: str) -> list[int]:
    """Trains, and looks at its memory: the greatest until each validation's end, bytes.

    What comes after the last one, the evaluation and the report, is left out.
    """
    command = [*study.program([]), "train", f"out={out}", *words]
    found: dict[int, int] = {}
    with (out.parent / f"{out.name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            validations = len(read_rows(out / "metrics.csv")) if (out / "metrics.csv").is_file() else 0
            found[validations] = max(found.get(validations, 0), held(process.pid))
            time.sleep(PAUSE)
    if process.returncode:
        sys.exit((out.parent / f"{out.name}.log").read_text())
    return [found[number] for number in sorted(found)[:-1]]


def main() -> None:
    config = fill(BenchConfig, parse_assignments(sys.argv[1:]))
    if not (Path(config.data) / "annotations").is_dir():
        sys.exit(f"data={config.data}: no folder in COCO's layout; yolor-mtl data scenes OUT draws one")
    shared = [f"imgsz={config.imgsz}", f"batch={config.batch}", f"workers={config.workers}", "plots=0", "val_batches=2"]
    table = Table("", "MB", "beside, MB", "ratio", "limit", title=f"memory of a training of nano at {config.imgsz} px")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        many_pictures = repeated(Path(config.data), config.times, root / "data")
        timed = ["epochs=100000", f"minutes={config.minutes}", "val_every=100000"]
        few, many = (
            peaks(root / name, f"data={data}", *timed, *shared)[0]
            for name, data in (("few", config.data), ("many", many_pictures))
        )
        what = f"{config.times} times the pictures, {config.minutes:g} minutes each"
        networks.add(table, what, many / 1e6, few / 1e6, PICTURES)
        epochs = peaks(root / "epochs", f"data={config.data}", f"epochs={config.epochs}", *shared)
        networks.add(table, f"epoch {len(epochs)} beside epoch 2", epochs[-1] / 1e6, epochs[1] / 1e6, EPOCHS)
    console = Console(width=140)
    console.print(table)
    console.print("MB by epoch: " + ", ".join(f"{memory / 1e6:.0f}" for memory in epochs))


if __name__ == "__main__":
    main()
