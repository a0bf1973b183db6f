"""From a file to four answers, beside the bare forward of the vision part; and what captions cost.

    .venv/bin/python benchmarks/predict.py
    .venv/bin/python benchmarks/predict.py model=nano rounds=20
    .venv/bin/python benchmarks/predict.py int8=true

A JPEG of 640 x 640 pixels is read, letterboxed, seen, and answered: boxes, masks, semantic and panoptic map at its own
size, and a caption of twelve words. The network is untrained; its outputs are computed and then replaced by invented
ones such as a trained network gives (``benchmarks/postprocess.py``), so that the answers cost what they cost. The bars:

- over the vision part: the whole of it over trunk, boxes, masks and semantic head alone;
- over the authors' network: 1.58 s on a machine that multiplies 362 GFLOP/s, scaled by what this one does;
- beam over greedy, at five beams and twelve words;
- without a cache over with one: each word by the full forward of all words before it, twenty words; the same tokens.

Everything that is compared runs in turns, and the median counts. Absolute times are this machine's.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import networks
import numpy as np
import postprocess
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from yolor_mtl.build import build_model, model_config
from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.data.coco import open_coco
from yolor_mtl.data.named import SCENES, find_data
from yolor_mtl.inference.backends.base import Runtime
from yolor_mtl.inference.catalog import full_space
from yolor_mtl.inference.exported import load_exported
from yolor_mtl.inference.exporter import quantise, write_graphs
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.ops.device import half_pays
from yolor_mtl.ops.extras import need
from yolor_mtl.ops.frame import letterbox_frame
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.captioning.generate import generate
from yolor_mtl.tasks.captioning.tokenizer import END, START

SIDE, WORDS, MANY_WORDS, BEAM, GEMM = 640, 12, 20, 5, 2048
AUTHORS_SECONDS, AUTHORS_GFLOPS = 1.58, 362.0
LIMITS = {"fp32": 1.5, "bf16": 2.0, "int8": 2.0}
CALIBRATION = 20
"""Pictures; what an untrained network sees on them is of no account."""


@dataclass
class BenchConfig:
    """Keys of this benchmark; ``bf16`` also where the machine is not faster in it; ``int8`` adds OpenVINO's."""

    model: str = "gelan-c"
    rounds: int = 8
    objects: int = 20
    bf16: bool = False
    int8: bool = False


class Told:
    """A runtime that computes its outputs, and gives invented ones; the caption's are its own."""

    def __init__(self, runtime: Runtime, outputs: Mapping[str, Any]) -> None:
        self.device, self.half = runtime.device, runtime.half
        self.runtime, self.outputs = runtime, outputs

    def __call__(self, images: Tensor) -> dict[str, Any]:
        return {**self.runtime(images), **self.outputs}


def make_predictor(config: BenchConfig, half: bool) -> Predictor:
    """A predictor whose captions never end early."""
    row = model_config(config.model)
    torch.manual_seed(0)
    model = build_model(row, full_space(row))
    with torch.no_grad():
        model.network.heads["captioning"].out.bias[END] = -1e4  # type: ignore[index, union-attr]
    return Predictor(model, "cpu", str(half), SIDE)


def photograph() -> bytes:
    """A JPEG of 640 x 640, as hard to read as a photograph."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).resize((SIDE, SIDE))
    pixels = np.asarray(coarse) + rng.normal(0, 8, (SIDE, SIDE, 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def in_torch(config: BenchConfig, half: bool, table: Table) -> None:
    """Rows of one of torch's precisions."""
    predictor = make_predictor(config, half)
    network, images = predictor.model.network, noise()
    heads = [task.name for task in predictor.model.tasks if task.head is not None and task.name != "captioning"]

    def forward() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            network(images, heads)

    outputs = invented(config, predictor, images)
    # In fp32 the authors' time could not be met: the products alone take longer.
    end_to_end(config, predictor, outputs, forward, table, "bf16" if half else "fp32", 5.0 if half else None)


def in_openvino(config: BenchConfig, table: Table) -> None:
    """Rows of OpenVINO's int8."""
    predictor, images = make_predictor(config, half=False), noise()
    outputs = invented(config, predictor, images)
    with tempfile.TemporaryDirectory() as folder:
        meta = write_graphs(predictor.model, Path(folder), "openvino", SIDE, "false", lambda name: None)
        quantise(meta, Path(folder), open_coco(find_data(SCENES), ["val"]), CALIBRATION)
        exported = Predictor(load_exported(Path(folder)), half="false")
        end_to_end(config, exported, outputs, partial(exported.runtime, images), table, "int8", 5.0)


def noise() -> Tensor:
    """A letterboxed picture without meaning."""
    return torch.randint(0, 256, (1, 3, SIDE, SIDE), dtype=torch.uint8)


def invented(config: BenchConfig, predictor: Predictor, images: Tensor) -> Mapping[str, Any]:
    """Outputs of boxes, masks and semantic map such as a trained network gives."""
    vision = tuple(task for task in predictor.model.tasks if task.head is not None and task.name != "captioning")
    frame = letterbox_frame((SIDE, SIDE), predictor.size)
    return postprocess.invented_outputs(
        predictor, vision, images, postprocess.BenchConfig(objects=config.objects), frame
    )


def end_to_end(
    config: BenchConfig,
    predictor: Predictor,
    outputs: Mapping[str, Any],
    forward: Callable[[], object],
    table: Table,
    kind: str,
    least: float | None,
) -> None:
    """Rows of one predictor beside its vision part, ``forward``, and beside the authors' network."""
    predictor.runtime = Told(predictor.runtime, outputs)
    data, options = photograph(), DecodeOptions(max_tokens=WORDS)

    def whole() -> None:
        (result,) = predictor.predict([data], options)
        assert len(result.boxes or ()) > 0
        assert len(result["captioning"]["tokens"]) == WORDS

    square = torch.randn(GEMM, GEMM)
    actions = {"vision": forward, "whole": whole, "product": partial(torch.mm, square, square)}
    found = networks.medians(actions, config.rounds)
    (result,) = predictor.predict([data], options)
    what = f"{kind}: a file to four answers ({len(result.boxes or ())} objects, {WORDS} words) over the vision part"
    at_most(table, what, found["whole"], found["vision"], LIMITS[kind])
    gflops = 2 * GEMM**3 / found["product"] / 1e6
    authors = AUTHORS_SECONDS * 1000 * AUTHORS_GFLOPS / gflops
    what = f"{kind}: the authors' four-task network at {gflops:.0f} GFLOP/s, over ours"
    at_least(table, what, authors, found["whole"], least)


def captions(config: BenchConfig, table: Table) -> None:
    """Rows of writing alone, in fp32 as the predictor writes."""
    predictor = make_predictor(config, half=False)
    (task,) = (task for task in predictor.model.tasks if task.name == "captioning")
    head, words = task.decode.writer, task.decode.tokenizer.size  # type: ignore[attr-defined]
    never = task.decode.tokenizer.wordless  # type: ignore[attr-defined]
    images = torch.randint(0, 256, (1, 3, SIDE, SIDE), dtype=torch.uint8)
    memory = predictor.model.network(images, ["captioning"])["captioning"]
    memory = {name: memory[name] for name in head.memories}

    def cached(beam: int, length: int) -> list[int]:
        return generate(head, memory, words=words, beam=beam, max_tokens=length, never=never).tokens[0]

    def uncached() -> list[int]:
        tokens = [START]
        for _ in range(MANY_WORDS):
            # The last token is what a caption of so many would be asked for, and is not read.
            inputs = {"tokens": torch.tensor([[*tokens, END]]), "image": torch.zeros(1, dtype=torch.int64)}
            logits = head.say(memory, inputs)[0, -1, :words]
            logits[[*never, END]] = -torch.inf
            tokens.append(int(logits.argmax()))
        return tokens[1:]

    found = networks.medians(
        {
            "greedy": partial(cached, 1, WORDS),
            "beam": partial(cached, BEAM, WORDS),
            "cache": partial(cached, 1, MANY_WORDS),
            "no cache": uncached,
        },
        config.rounds,
    )
    at_most(table, f"captions of {WORDS} words: {BEAM} beams over greedy", found["beam"], found["greedy"], 2.0)
    same = "the same tokens" if cached(1, MANY_WORDS) == uncached() else "OTHER TOKENS"
    what = f"captions of {MANY_WORDS} words: without a cache over with one, {same}"
    at_least(table, what, found["no cache"], found["cache"], 1.2)


def at_most(table: Table, what: str, milliseconds: float, beside: float, limit: float) -> None:
    ratio = milliseconds / beside
    said = f"{limit:.2f}" + ("" if ratio <= limit else ", missed")
    table.add_row(what, f"{milliseconds:.1f}", f"{beside:.1f}", f"{ratio:.2f}", said)


def at_least(table: Table, what: str, milliseconds: float, beside: float, limit: float | None) -> None:
    ratio = milliseconds / beside
    said = "" if limit is None else f"{limit:.2f} or more" + ("" if ratio >= limit else ", missed")
    table.add_row(what, f"{milliseconds:.1f}", f"{beside:.1f}", f"{ratio:.2f}", said)


@torch.inference_mode()
def main() -> None:
    config = fill(BenchConfig, parse_assignments(sys.argv[1:]))
    console = Console(width=150)
    if config.int8:
        need("export", "openvino", "nncf")
    table = Table("", "ms", "beside, ms", "ratio", "limit", title=f"{config.model}, {torch.get_num_threads()} threads")
    in_torch(config, False, table)
    if config.bf16 or half_pays(torch.device("cpu")):
        in_torch(config, True, table)
    else:
        table.add_row("bf16: this machine multiplies it no faster than fp32; bf16=true runs it", "", "", "", "")
    if config.int8:
        in_openvino(config, table)
    table.add_section()
    captions(config, table)
    console.print(table)


if __name__ == "__main__":
    main()
