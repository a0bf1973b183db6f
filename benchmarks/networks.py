"""What a forward pass costs: beside the machine's own speed, beside detection alone, and in memory.

    make bench
    .venv/bin/python benchmarks/networks.py rounds=20 compiled=true openvino=true

One picture of 640 x 640 pixels, networks in their inference form, weights untrained. The bars:

- over the floor: the time of the forward over that of the operations that its layers are defined by, in products of
  2048 x 2048 matrices of the same type: by torch.mm or as a 1x1 convolution, whichever is faster, for they are of
  different libraries. bf16 weights are cast once, not by autocast at every call.
- four tasks over detection: all heads and a greedy caption of twelve words, over trunk and detection head alone.
  Captions are written in fp32 either way, as the predictor has it.
- memory: the greatest of a fresh process that builds a network and runs it once, over one that only imports torch.

Everything that is compared runs in turns, and the least time of each counts: what else the machine does in the meantime
then falls on both sides. Absolute times are this machine's.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from yolor_mtl.build import Model, build_model, model_config
from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.inference.catalog import SIDE, describe, full_space
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.captioning.tokenizer import END

WORDS = 12
"""Length of the captions."""

GEMM = 2048
"""Side of the matrices that tell the machine's speed."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

FLOOR_LIMITS = {
    ("fp32", "fused"): 1.25,
    ("bf16", "fused"): 2.0,
    ("bf16", "eager"): 2.4,
    ("bf16", "compiled"): 2.0,
    ("bf16", "openvino"): 1.85,
}
"""Of those forms that have one."""

TASK_LIMITS = {("paper", "fp32"): 1.5, ("paper", "bf16"): 1.7, ("nano", "fp32"): 1.8, ("nano", "bf16"): 1.8}
MEMORY_LIMIT = 1.2 * 2**30


@dataclass
class BenchConfig:
    """Keys of this benchmark; ``compiled`` and ``openvino`` add the network compiled and exported; ``tasks`` and
    ``weigh`` leave out their parts; ``memory`` is for the fresh process alone."""

    network: str = "gelan-c-pan"
    rounds: int = 12
    compiled: bool = False
    openvino: bool = False
    tasks: bool = True
    weigh: bool = True
    memory: str = ""


def inference_model(name: str, dtype: torch.dtype = torch.float32, fused: bool = True) -> Model:
    """A network for inference whose captions never end early; bf16 weights but for the text decoder's.

    ``fused=False`` leaves blocks as they were trained.
    """
    config = model_config(name)
    torch.manual_seed(0)
    model = build_model(config, full_space(config))
    heads = model.network.heads
    if "captioning" in heads:
        with torch.no_grad():
            heads["captioning"].out.bias[END] = -1e4  # type: ignore[index, union-attr]
    (model.inference() if fused else model).network.eval().to(dtype)
    if "captioning" in heads:
        heads["captioning"].float()
    return model


def picture() -> Tensor:
    """(1, 3, SIDE, SIDE) uint8 noise."""
    return torch.randint(0, 256, (1, 3, SIDE, SIDE), dtype=torch.uint8)


def forward(model: Model, images: Tensor, tasks: list[str] | None = None) -> dict[str, Any]:
    """Raw outputs; only what is still fp32 is cast for bf16 maps, once a call."""
    half = model.network.pixel_scale.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        return dict(model.network(images, tasks))


def four_tasks(model: Model, images: Tensor) -> None:
    """All heads, and a caption of :data:`WORDS` words."""
    outputs = forward(model, images)
    for task in model.tasks:
        if task.name == "captioning":
            (caption,) = task.decode(outputs[task.name], {}, DecodeOptions(max_tokens=WORDS))
            assert len(caption["tokens"]) == WORDS


def least(actions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Least milliseconds of each, see :func:`in_turns`."""
    return {name: min(found) * 1000 for name, found in in_turns(actions, rounds).items()}


def medians(actions: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 1) -> dict[str, float]:
    """Median milliseconds of each, see :func:`in_turns`."""
    return {name: statistics.median(found) * 1000 for name, found in in_turns(actions, rounds, warmup).items()}


def in_turns(actions: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """Seconds of each at every round, run in turns; the first ``warmup`` rounds do not count."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in track(range(rounds + warmup), ", ".join(actions), transient=True):
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            times[name].append(time.perf_counter() - started)
    return {name: found[warmup:] for name, found in times.items()}


def over_the_floor(config: BenchConfig, table: Table) -> None:
    """Rows of one network beside the products of matrices."""
    images, tasks = picture(), None
    operations = describe(config.network).gflops * 1e9
    actions: dict[str, Callable[[], Any]] = {}
    for name, dtype in DTYPES.items():
        square = torch.randn(GEMM, GEMM).to(dtype)
        cells = square.t()[None, :, None].to(memory_format=torch.channels_last)
        model = inference_model(config.network, dtype)
        actions[f"product {name}"] = partial(torch.mm, square, square)
        actions[f"convolution {name}"] = partial(torch.conv2d, cells, square[:, :, None, None])
        actions[f"{name} fused"] = partial(forward, model, images, tasks)
        plain = inference_model(config.network, dtype, fused=False)
        actions[f"{name} eager"] = partial(forward, plain, images, tasks)
        if config.compiled:
            network = torch.compile(inference_model(config.network, dtype).network)
            actions[f"{name} compiled"] = partial(network, images)
    if config.openvino:
        actions |= exported(config.network, images)
    found = least(actions, config.rounds)
    for name, milliseconds in found.items():
        kind, form = name.split()
        if kind in DTYPES:
            product = min(found[f"product {kind}"], found[f"convolution {kind}"])
            floor = operations / (2 * GEMM**3) * product
            what = f"{config.network} {name} over {operations / 1e9:.1f} GFLOP of products"
            add(table, what, milliseconds, floor, FLOOR_LIMITS.get((kind, form)))


def exported(name: str, images: Tensor) -> dict[str, Callable[[], Any]]:
    """The network as OpenVINO runs it, in each precision."""
    # Not where torch alone is timed: OpenVINO brings threads of its own.
    from yolor_mtl.inference.exported import load_exported
    from yolor_mtl.inference.exporter import write_graphs

    with tempfile.TemporaryDirectory() as folder:
        write_graphs(inference_model(name), Path(folder), "openvino", SIDE, "auto", lambda said: None)
        graphs = load_exported(Path(folder))
        # Compiled graphs need their files no more.
        return {
            f"{kind} openvino": partial(graphs.runtime("cpu", str(kind == "bf16").lower()), images) for kind in DTYPES
        }


def beside_detection(config: BenchConfig, table: Table) -> None:
    """Rows of four tasks beside one."""
    images = picture()
    for (name, kind), limit in TASK_LIMITS.items():
        model = inference_model(name, DTYPES[kind])
        actions = {
            "detection": partial(forward, model, images, ["detection"]),
            "four tasks": partial(four_tasks, model, images),
        }
        found = least(actions, config.rounds)
        what = f"{name} {kind}: four tasks, {WORDS} words, over detection"
        add(table, what, found["four tasks"], found["detection"], limit)


def add(table: Table, what: str, milliseconds: float, beside: float, limit: float | None) -> None:
    ratio = milliseconds / beside
    said = "" if limit is None else f"{limit:.2f}" if ratio <= limit else f"{limit:.2f} missed"
    table.add_row(what, f"{milliseconds:.1f}", f"{beside:.1f}", f"{ratio:.2f}", said)


def peak() -> int:
    """Greatest memory of this process so far, bytes. (``ru_maxrss`` would begin with that of its parent.)"""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def memory_of(name: str) -> int:
    """Greatest memory of a fresh process that builds this network and runs it once, bytes."""
    return _printed(__file__, f"memory={name}")


def memory_of_torch() -> int:
    """Greatest memory of a fresh process that only imports torch, bytes."""
    words = "open('/proc/self/status').read().split()"
    return _printed("-c", f"import torch; words = {words}; print(int(words[words.index('VmHWM:') + 1]) * 1024)")


def _printed(*command: str) -> int:
    return int(subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True).stdout)


@torch.inference_mode()
def main() -> None:
    config = fill(BenchConfig, parse_assignments(sys.argv[1:]))
    if config.memory:
        four_tasks(inference_model(config.memory), picture())
        print(peak())
        return
    console = Console(width=120)
    load = os.getloadavg()[0]
    table = Table(
        "",
        "ms",
        "beside, ms",
        "ratio",
        "limit",
        title=f"one picture of {SIDE} x {SIDE}, {torch.get_num_threads()} threads, load {load:.1f} before this",
    )
    over_the_floor(config, table)
    if config.tasks:
        table.add_section()
        beside_detection(config, table)
    console.print(table)
    if not config.weigh:
        return
    grown = memory_of("paper") - memory_of_torch()
    mark = "" if grown <= MEMORY_LIMIT else " missed"
    console.print(f"memory of one forward of paper: {grown / 2**30:.2f} GB, limit {MEMORY_LIMIT / 2**30:.1f} GB{mark}")


if __name__ == "__main__":
    main()
