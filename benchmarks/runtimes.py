"""One model in all runtimes: milliseconds, and how far the answers agree with torch's in fp32.

    .venv/bin/python benchmarks/runtimes.py model=scenes-nano data=scenes split=val
    .venv/bin/python benchmarks/runtimes.py model=gelan-c.pt data=path/to/coco split=val2017 imgsz=640 pictures=30

"vision" is the forward pass of one letterboxed picture, "whole" a picture in memory to all answers, caption included;
both medians, beside torch in fp32 in the same run. The runtimes take turns, so that a busy machine slows them alike.
bfloat16 is left out where the machine is not faster in it (force=true shows it all the same).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import networks
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from yolor_mtl.config import fill, parse_assignments, split_names
from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.loader import checked_image
from yolor_mtl.data.named import SCENES, find_data
from yolor_mtl.inference.agreement import Agreement, compare
from yolor_mtl.inference.exported import load_exported
from yolor_mtl.inference.exporter import quantise, write_graphs
from yolor_mtl.inference.model import load_weights
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.inference.result import Result
from yolor_mtl.ops.device import half_pays
from yolor_mtl.ops.frame import letterbox
from yolor_mtl.tasks.base import DecodeOptions


@dataclass
class BenchConfig:
    """Keys of this benchmark."""

    model: str = "scenes-nano"
    data: str = SCENES
    split: Any = "val"
    imgsz: int = 0
    pictures: int = 20
    repeats: int = 20
    calibration: int = 100
    vocab: str = ""
    force: bool = False
    int8: bool = True


@dataclass
class Row:
    """A runtime at work."""

    name: str
    predictor: Predictor | None
    reason: str = ""
    vision: float = 0.0
    whole: float = 0.0
    agreement: Agreement | None = None


def rows(config: BenchConfig, dataset: CocoDataset, folder: Path, console: Console) -> Iterator[Row]:
    """The runtimes; what cannot be had says why."""
    cpu, no_half = torch.device("cpu"), "this CPU is not faster in bfloat16"
    halves = config.force or half_pays(cpu)
    torch_fp32 = Predictor(load_weights(config.model, [], config.vocab), "cpu", "false", config.imgsz)
    side = torch_fp32.size[0]
    yield Row("torch fp32", torch_fp32)
    if halves:
        yield Row("torch bf16", Predictor(load_weights(config.model, [], config.vocab), "cpu", "true", side))
    else:
        yield Row("torch bf16", None, no_half)
    for kind in ("onnx", "openvino"):
        (folder / kind).mkdir()
        meta = write_graphs(torch_fp32.model, folder / kind, kind, side, "auto", lambda name: None)
        console.print(f"exported {kind}", highlight=False)
        yield Row(f"{kind} fp32", Predictor(load_exported(folder / kind), half="false"))
    if halves:
        yield Row("openvino bf16", Predictor(load_exported(folder / "openvino"), half="true"))
    else:
        yield Row("openvino bf16", None, no_half)
    if not config.int8:
        yield Row("openvino int8", None, "int8=false")
        return
    shutil.copytree(folder / "openvino", folder / "int8")
    quantise(meta, folder / "int8", dataset, config.calibration)
    yield Row("openvino int8", Predictor(load_exported(folder / "int8"), half="false"))


def measure(found: list[Row], pictures: list[Tensor], repeats: int) -> None:
    """Fills in times and agreement; the first row is what the others are compared with."""
    there = [(row, row.predictor) for row in found if row.predictor is not None]
    options = DecodeOptions()
    images = letterbox(pictures[0], there[0][1].size)[0].as_subclass(Tensor)[None]
    seeing = {row.name: partial(predictor.runtime, images) for row, predictor in there}
    answering = {row.name: partial(_answers, predictor, pictures[:1], options) for row, predictor in there}
    visions, wholes = (networks.medians(actions, repeats, warmup=2) for actions in (seeing, answering))
    first = _answers(there[0][1], pictures, options)
    for row, predictor in there:
        row.vision, row.whole = visions[row.name], wholes[row.name]
        row.agreement = compare(first, _answers(predictor, pictures, options))


def _answers(predictor: Predictor, pictures: list[Tensor], options: DecodeOptions) -> list[Result]:
    return list(predictor.predict(pictures, options, 1))


def shown(found: list[Row], title: str) -> Table:
    """The table."""
    table = Table(
        "runtime",
        "vision, ms",
        "of torch",
        "whole, ms",
        "of torch",
        "box IoU",
        "mask IoU",
        "pixels",
        "caption",
        title=title,
    )
    base = found[0]
    for row in found:
        if row.agreement is None:
            table.add_row(row.name, f"left out: {row.reason}")
            continue
        said = row.agreement
        shares = (said.box_iou, said.mask_iou, said.semantic, said.captions)
        table.add_row(
            row.name,
            f"{row.vision:.1f}",
            f"{row.vision / base.vision:.2f}",
            f"{row.whole:.1f}",
            f"{row.whole / base.whole:.2f}",
            *("-" if value is None else f"{value:.4f}" for value in shares),
        )
    return table


def main() -> None:
    config = fill(BenchConfig, parse_assignments(sys.argv[1:]))
    console = Console(width=140)
    dataset = open_coco(find_data(config.data), split_names(config.split))
    places = np.linspace(0, len(dataset) - 1, min(len(dataset), config.pictures)).astype(int).tolist()
    pictures = [checked_image(dataset.annotations(place)).as_subclass(Tensor) for place in places]
    with tempfile.TemporaryDirectory() as folder:
        found = list(rows(config, dataset, Path(folder), console))
        measure(found, pictures, config.repeats)
        predictor = found[0].predictor
        assert predictor is not None
        console.print(
            shown(
                found,
                f"{config.model} at {predictor.size[0]} px, {len(pictures)} pictures of {config.data}, "
                f"{torch.get_num_threads()} threads",
            )
        )


if __name__ == "__main__":
    main()
