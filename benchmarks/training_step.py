"""Where the time of one training step goes: loading, each head's forward, each loss, backward, optimiser.

    make bench
    .venv/bin/python benchmarks/training_step.py imgsz=256 batch=16 half=auto

Absolute times are this machine's; compare the shares, or two rows of one run.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from yolor_mtl.build import Model, build_model, learn_space, model_config
from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.data.augment import AugmentConfig
from yolor_mtl.data.coco import open_coco
from yolor_mtl.data.loader import Collate, TrainingSet, view_pools
from yolor_mtl.data.named import find_data
from yolor_mtl.data.schedule import Schedule
from yolor_mtl.ops.device import choose_device, use_half
from yolor_mtl.records import Batch, LossOutput, View
from yolor_mtl.tasks.base import total_loss
from yolor_mtl.training.config import train_config
from yolor_mtl.training.optim import adamw


@dataclass
class BenchConfig:
    """Keys of this benchmark."""

    model: str = "nano"
    data: str = "scenes"
    imgsz: int = 256
    batch: int = 16
    steps: int = 20
    warmup: int = 5
    device: str = "auto"
    half: str = "auto"


class Stopwatch:
    """Adds up the seconds between its ticks by name."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: Counter[str] = Counter()
        self.device = device
        self._last = time.perf_counter()

    def tick(self, name: str) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[name] += now - self._last
        self._last = now


def step(model: Model, batch: Batch, optimizer: torch.optim.Optimizer, half: bool, watch: Stopwatch) -> None:
    """One training step, part by part."""
    network = model.network
    with torch.autocast(watch.device.type, torch.bfloat16, enabled=half):
        shared = network.trunk(network.normalise(batch.images))
        watch.tick("forward: trunk")
        outputs = {}
        for task in model.tasks:
            if task.head is not None and len(rows := batch.rows[task.name]):
                # What a head reads is worked out for its own rows, as the network does.
                read = {
                    name: network.heads[name](_rows(shared, network.features[name], rows), {}) for name in task.reads
                }
                outputs[task.name] = task.head(_rows(shared, task.features, rows), read, batch.targets[task.name])
                watch.tick(f"forward: {task.name}")
        losses: dict[str, LossOutput] = {}
        for task in model.tasks:
            if task.loss is not None and task.name in outputs:
                used = {name: losses[name].shared for name in task.uses if name in losses}
                losses[task.name] = task.loss(outputs[task.name], batch.targets[task.name], used)
                watch.tick(f"loss: {task.name}")
        total, _ = total_loss(model.tasks, losses)
    total.backward()
    watch.tick("backward")
    torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
    optimizer.step()
    optimizer.zero_grad()
    watch.tick("optimiser")


def _rows(shared: Mapping[str, Tensor], names: Iterable[str], rows: Tensor) -> dict[str, Tensor]:
    return {name: shared[name].index_select(0, rows) for name in names}


def main() -> None:
    config = fill(BenchConfig, parse_assignments(sys.argv[1:]))
    device = choose_device(config.device)
    half = use_half(config.half, device)
    torch.manual_seed(0)
    dataset = open_coco(find_data(config.data), ["train"])
    row = model_config(config.model)
    model = build_model(row, learn_space(dataset, row))
    model.network.to(device)
    labels = {task.name: task.labels for task in model.tasks if task.labels is not None}
    pools = view_pools(dataset, labels)
    schedule = Schedule(pools, config.batch)
    recipe = train_config({}, None, "demo")
    pipelines: dict[View, AugmentConfig] = {"vision": recipe.augment, "language": recipe.weak}
    pictures = TrainingSet(dataset, labels, pools, (config.imgsz, config.imgsz), pipelines)
    collate = Collate(labels)
    optimizer = adamw(model.network, recipe, [])
    watch = Stopwatch(device)
    for number in range(config.warmup + config.steps):
        if number == config.warmup:
            watch.seconds.clear()
        watch.tick("between")
        batch = collate([pictures[draw] for draw in schedule.step(0, number)]).to(device)
        watch.tick("load (in this process)")
        step(model, batch, optimizer, half, watch)
    del watch.seconds["between"]
    table = Table(
        "part",
        "ms a step",
        "share",
        title=f"{config.model}, {config.batch} pictures of {config.imgsz} px, {device}, bf16 {half}",
    )
    whole = sum(watch.seconds.values())
    for name, seconds in watch.seconds.most_common():
        table.add_row(name, f"{seconds / config.steps * 1000:.1f}", f"{seconds / whole:.0%}")
    computing = whole - watch.seconds["load (in this process)"]
    table.add_section()
    table.add_row("all", f"{whole / config.steps * 1000:.1f}", "100%")
    Console().print(table)
    Console().print(f"{config.batch * config.steps / computing:.0f} pictures a second without loading")


if __name__ == "__main__":
    main()
