"""What loading costs: pictures a second for the strong and the weak view, beside decoding and resizing alone.

    .venv/bin/python benchmarks/loading.py data=path/to/coco split=val2017 imgsz=640

The floor decodes and resizes the same pictures, in one process. A strong frame is a mosaic of four pictures: its cost
is given over that of its four decodings. Absolute numbers are this machine's; compare ratios of one run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from yolor_mtl.build import build_model, learn_space, model_config
from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.data.augment import AugmentConfig, weak
from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.image import read_image
from yolor_mtl.data.labels import Labels
from yolor_mtl.data.loader import TrainingSet, training_loader, view_pools
from yolor_mtl.data.named import find_data
from yolor_mtl.data.schedule import Draw, Schedule, StepSampler
from yolor_mtl.ops.frame import letterbox
from yolor_mtl.records import View

STRONG = 2.5
"""The most that a strong frame may cost over the decoding of its four pictures."""


@dataclass
class BenchConfig:
    """Keys of this benchmark."""

    model: str = "nano"
    data: str = "scenes"
    split: str = "val"
    imgsz: int = 640
    pictures: int = 100
    rounds: int = 3
    workers: int = 2


def median_rate(run: Callable[[int], int], rounds: int) -> float:
    """Pictures a second; ``run`` gets the number of the round and returns how many it made."""
    rates = []
    for number in range(rounds):
        started = time.perf_counter()
        made = run(number)
        rates.append(made / (time.perf_counter() - started))
    return sorted(rates)[len(rates) // 2]


def decoded(dataset: CocoDataset, indices: list[int], size: tuple[int, int]) -> int:
    """Decodes and resizes pictures, and nothing else."""
    for index in indices:
        letterbox(read_image(dataset.annotations(index).path), size)
    return len(indices)


def fetched(pictures: TrainingSet, indices: list[int], view: View, number: int) -> int:
    """Samples of one view, one after the other."""
    for place, index in enumerate(indices):
        pictures[Draw(index, view, (number, place))]
    return len(indices)


def collated(pictures: TrainingSet, labels: dict[str, Labels], view: View, workers: int, number: int) -> int:
    """Batches of one view from loading processes, targets included; the processes' start is not counted."""
    pool = view_pools(pictures.dataset, labels)[view]
    sampler = StepSampler(Schedule({view: pool}, 16, seed=number))
    made = sum(len(batch.images) for batch in training_loader(pictures, sampler, workers=workers))
    return int(made)


def main() -> None:
    config = fill(BenchConfig, parse_assignments(sys.argv[1:]))
    torch.set_num_threads(1)
    dataset = open_coco(find_data(config.data), [config.split])
    row = model_config(config.model)
    model = build_model(row, learn_space(dataset, row))
    labels = {task.name: task.labels for task in model.tasks if task.labels is not None}
    pools = view_pools(dataset, labels)
    size = (config.imgsz, config.imgsz)
    strong = AugmentConfig(mosaic=1.0)
    pictures = TrainingSet(dataset, labels, pools, size, {"vision": strong, "language": weak()})
    views: list[View] = [view for view, pool in pools.items() if len(pool)]
    chosen = {view: [int(index) for index in pools[view][: config.pictures]] for view in views}
    floor = median_rate(lambda number: decoded(dataset, chosen[views[0]], size), config.rounds)
    columns = ("", "pictures/s", "over decoding its pictures", "limit")
    table = Table(*columns, title=f"{config.imgsz} px, median of {config.rounds}")
    table.add_row("decode and resize", f"{floor:.1f}", "1.00", "")
    for view in views:
        tiles = 4 if view == "vision" else 1
        name = "strong, mosaic of four" if view == "vision" else "weak"
        rate = median_rate(lambda number, view=view: fetched(pictures, chosen[view], view, number), config.rounds)
        ratio = floor / rate / tiles
        said = "" if view != "vision" else f"{STRONG:.2f}" if ratio <= STRONG else f"{STRONG:.2f}, missed"
        table.add_row(name, f"{rate:.1f}", f"{ratio:.2f}", said)
        rate = median_rate(
            lambda number, view=view: collated(pictures, labels, view, config.workers, number), config.rounds
        )
        table.add_row(f"{name}, batches from {config.workers} processes", f"{rate:.1f}", "", "")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
