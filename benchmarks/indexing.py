"""Opening and checking annotations of COCO's full size: time and memory of the first open, of the next ones from the
cache, and of ``data check images=none``.

    .venv/bin/python benchmarks/indexing.py

Writes files like COCO's train2017 (118,287 images, 860,001 objects with polygons, 591,753 captions) to a temporary
folder, without pictures; each opening is a process of its own. CPU seconds tell what the opening costs where other
programs slow the clock down. Two forked processes then read every label: what each of them has written to, beyond what
it had at its start, is memory that loading processes do not share.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from rich.console import Console
from rich.table import Table

from yolor_mtl.config import fill, parse_assignments

OPENING = """
import json, multiprocessing, resource, sys, time
from pathlib import Path
from yolor_mtl.data.coco import open_coco

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def own_mb():
    rollup = Path("/proc/self/smaps_rollup")
    lines = rollup.read_text().splitlines() if rollup.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024

def read_all(data, told):
    before = own_mb()
    for index in range(len(data)):
        data.annotations(index)
    told.put(own_mb() - before)

before, began, started = peak_mb(), time.process_time(), time.perf_counter()
data = open_coco(Path(sys.argv[1]), ["train"])
said = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - began, "before": before}
said |= {"peak": peak_mb(), "images": len(data), "objects": data.counts["objects"], "grown": []}
if sys.argv[2] == "read":
    fork = multiprocessing.get_context("fork")
    told = fork.Queue()
    readers = [fork.Process(target=read_all, args=(data, told)) for _ in range(2)]
    for reader in readers:
        reader.start()
    said["grown"] = [told.get() for _ in readers]
print(json.dumps(said))
"""


CHECKING = """
import json, resource, sys, time
from pathlib import Path
from yolor_mtl.data.check.run import check_data
from yolor_mtl.data.locate import find_layout

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before, began, started = peak_mb(), time.process_time(), time.perf_counter()
checked = check_data(find_layout(Path(sys.argv[1])), "none")
facts = checked.splits["train"]
said = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - began, "before": before, "grown": []}
print(json.dumps(said | {"peak": peak_mb(), "images": facts.images, "objects": facts.objects}))
"""


@dataclass
class BenchConfig:
    """Keys of this benchmark."""

    images: int = 118_287
    objects: int = 860_001
    captions: int = 591_753


def write_instances(file: IO[str], config: BenchConfig, rng: np.random.Generator) -> None:
    """An instances file, piece by piece; its outlines, of 6 to 39 points, repeat after a thousand objects."""
    categories = [{"id": number, "name": f"class {number}", "supercategory": "thing"} for number in range(1, 81)]
    file.write('{"info": {}, "licenses": [], "images": [')
    _write_images(file, config)
    file.write('], "categories": ' + json.dumps(categories) + ', "annotations": [')
    shapes = [_outline(rng) for _ in range(1000)]
    for row, owner in enumerate(rng.integers(0, config.images, config.objects).tolist()):
        ids = f'"id": {row + 1}, "image_id": {owner + 1}, "category_id": {row % 80 + 1}'
        file.write(f'{", " if row else ""}{{{ids}, "iscrowd": 0, {shapes[row % len(shapes)]}}}')
    file.write("]}")


def _outline(rng: np.random.Generator) -> str:
    """Box, area and polygon of one object, as they stand in the file."""
    x, y = (float(value) for value in rng.uniform(0, 300, 2).round(2))
    angles = np.linspace(0, 2 * np.pi, int(rng.integers(6, 40)), endpoint=False)
    points = np.stack((x + 50 + 50 * np.cos(angles), y + 40 + 40 * np.sin(angles)), axis=1).round(2)
    shape = {"bbox": [x, y, 100.0, 80.0], "area": 6283.19, "segmentation": [points.ravel().tolist()]}
    return json.dumps(shape)[1:-1]


def write_captions(file: IO[str], config: BenchConfig) -> None:
    """A captions file, piece by piece."""
    file.write('{"info": {}, "licenses": [], "images": [')
    _write_images(file, config)
    file.write('], "annotations": [')
    for row in range(config.captions):
        text = f"A photograph of {row % 97} things that stand on a table."
        owner = row % config.images + 1
        file.write(f'{", " if row else ""}{{"id": {row + 1}, "image_id": {owner}, "caption": "{text}"}}')
    file.write("]}")


def _write_images(file: IO[str], config: BenchConfig) -> None:
    for row in range(config.images):
        size = '"width": 640, "height": 480'
        file.write(f'{", " if row else ""}{{"id": {row + 1}, "file_name": "{row + 1:012d}.jpg", {size}}}')


def bar(value: float, limit: str) -> str:
    """A limit, and whether it was missed."""
    return f"{limit}, missed" if limit and value > float(limit) else limit


def main() -> None:
    config = fill(BenchConfig, parse_assignments(sys.argv[1:]))
    columns = ("opening", "seconds", "limit", "CPU seconds", "peak MB", "limit", "readers grow by, MB")
    table = Table(*columns, title="annotations of COCO's size")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "coco"
        (root / "annotations").mkdir(parents=True)
        (root / "train").mkdir()
        with (root / "annotations" / "instances_train.json").open("w") as file:
            write_instances(file, config, np.random.default_rng(0))
        with (root / "annotations" / "captions_train.json").open("w") as file:
            write_captions(file, config)
        size = sum(path.stat().st_size for path in (root / "annotations").iterdir()) / 1e6
        environment = {**os.environ, "XDG_CACHE_HOME": str(Path(folder) / "cache")}
        openings = (
            ("first", "60", "2048", OPENING, ""),
            ("from the cache", "3", "", OPENING, ""),
            ("again", "3", "", OPENING, "read"),
            ("data check", "120", "2048", CHECKING, ""),
        )
        for name, seconds, memory, program, then in openings:
            command = [sys.executable, "-c", program, str(root), then]
            told = json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)
            assert (told["images"], told["objects"]) == (config.images, config.objects)
            peak = f"{told['peak']:.0f} ({told['before']:.0f} before)"
            seconds, memory = bar(told["seconds"], seconds), bar(told["peak"], memory)
            grown = ", ".join(f"{size:.1f}" for size in told["grown"])
            table.add_row(name, f"{told['seconds']:.2f}", seconds, f"{told['cpu']:.2f}", peak, memory, grown)
    table.caption = f"{size:.0f} MB of JSON"
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
