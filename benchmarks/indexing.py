"""Opening annotations of COCO's full size: time and memory of the first open, and of the next ones from the cache.

    .venv/bin/python benchmarks/indexing.py

Writes files like COCO's train2017 (118,287 images, 860,001 objects with polygons, 591,753 captions) to a temporary
folder, without pictures; each opening is a process of its own.
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
import resource, sys, time
from pathlib import Path
from yolor_mtl.data.coco import open_coco
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
data = open_coco(Path(sys.argv[1]), ["train"])
seconds = time.perf_counter() - started
data.annotations(0)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(seconds, before / 1024, after / 1024, len(data), data.counts["objects"])
"""


@dataclass
class BenchConfig:
    """Keys of this benchmark."""

    images: int = 118_287
    objects: int = 860_001
    captions: int = 591_753


def write_instances(file: IO[str], config: BenchConfig, rng: np.random.Generator) -> None:
    """An instances file, piece by piece."""
    categories = [{"id": number, "name": f"class {number}", "supercategory": "thing"} for number in range(1, 81)]
    file.write('{"info": {}, "licenses": [], "images": [')
    _write_images(file, config)
    file.write('], "categories": ' + json.dumps(categories) + ', "annotations": [')
    owners = rng.integers(0, config.images, config.objects)
    for row, owner in enumerate(owners.tolist()):
        x, y = (float(value) for value in rng.uniform(0, 300, 2).round(2))
        angles = np.linspace(0, 2 * np.pi, int(rng.integers(6, 40)), endpoint=False)
        outline = (
            np.stack((x + 50 + 50 * np.cos(angles), y + 40 + 40 * np.sin(angles)), axis=1).round(2).ravel().tolist()
        )
        entry = {
            "id": row + 1,
            "image_id": owner + 1,
            "category_id": row % 80 + 1,
            "bbox": [x, y, 100.0, 80.0],
            "area": 6283.19,
            "iscrowd": 0,
            "segmentation": [outline.ravel().tolist()],
        }
        file.write((", " if row else "") + json.dumps(entry))
    file.write("]}")


def write_captions(file: IO[str], config: BenchConfig) -> None:
    """A captions file, piece by piece."""
    file.write('{"info": {}, "licenses": [], "images": [')
    _write_images(file, config)
    file.write('], "annotations": [')
    for row in range(config.captions):
        entry = {"id": row + 1, "image_id": row % config.images + 1, "caption": f"A photograph of {row % 97} things."}
        file.write((", " if row else "") + json.dumps(entry))
    file.write("]}")


def _write_images(file: IO[str], config: BenchConfig) -> None:
    for row in range(config.images):
        entry = {"id": row + 1, "file_name": f"{row + 1:012d}.jpg", "width": 640, "height": 480}
        file.write((", " if row else "") + json.dumps(entry))


def main() -> None:
    config = fill(BenchConfig, parse_assignments(sys.argv[1:]))
    table = Table("opening", "seconds", "limit", "peak MB", "limit", title="annotations of COCO's size")
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
        for name, seconds, memory in (("first", "60", "2048"), ("from the cache", "3", ""), ("again", "3", "")):
            told = subprocess.run(
                [sys.executable, "-c", OPENING, str(root)], env=environment, check=True, capture_output=True, text=True
            )
            found = [float(word) for word in told.stdout.split()]
            assert found[3:] == [config.images, config.objects]
            table.add_row(name, f"{found[0]:.2f}", seconds, f"{found[2]:.0f} ({found[1]:.0f} before)", memory)
    table.caption = f"{size:.0f} MB of JSON"
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
