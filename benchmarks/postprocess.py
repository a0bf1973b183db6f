"""What comes after the forward of one picture, beside that forward: the answers, and their evaluation.

    .venv/bin/python benchmarks/postprocess.py
    .venv/bin/python benchmarks/postprocess.py model=nano imgsz=320 objects=20

Answers: boxes after suppression, masks and semantic map at the picture's size, panoptic map. Evaluation: an answer with
the thresholds of an evaluation goes into every metric (masks as RLE, labels read from their PNG), and the scores are
computed over fifty such pictures.

The forward runs for its time and for the shapes, types and layouts of its outputs. An untrained network's values would
say little about the time that answers take, so they are replaced by invented ones such as a trained network gives:
objects of all sizes, a semantic map of regions with noise on them. "plain" is the shortest correct code: every mask and
every class interpolated at every pixel; its answers must be those of the decoders.

Absolute times are this machine's; compare the shares, or two rows of one run.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from yolor_mtl.build import Model, build_model, model_config, possible_tasks
from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.data.semantic_maps import panoptic_pixels
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.ops.frame import letterbox_frame, sample_original
from yolor_mtl.records import (
    Annotations,
    Category,
    Frame,
    LabelSpace,
    ObjectLabel,
    Outputs,
    PanopticLabel,
    Prediction,
    SegmentLabel,
)
from yolor_mtl.tasks.base import EVALUATION, DecodeOptions, Task, decode_all

THINGS, SEMANTIC = 80, 173
"""Classes of COCO's objects, and of the published networks' semantic maps."""


@dataclass
class BenchConfig:
    """Keys of this benchmark."""

    model: str = "gelan-c-pan"
    imgsz: int = 640
    height: int = 480
    width: int = 640
    objects: int = 100
    repeats: int = 20
    device: str = "auto"
    half: str = "true"


def coco_like_space() -> LabelSpace:
    """80 things, and 173 semantic classes of which they are the first."""
    things = tuple(Category(i, f"thing {i}") for i in range(1, THINGS + 1))
    stuff = tuple(Category(i, f"stuff {i}", isthing=False) for i in range(THINGS + 1, SEMANTIC + 1))
    return LabelSpace(things, things + stuff, "invented")


def fields(number: int, size: tuple[int, int], coarse: int, generator: torch.Generator) -> Tensor:
    """(number, *size) smooth random fields of unit variance, about ``coarse`` waves across."""
    noise = torch.randn(number, coarse, coarse, generator=generator)
    smooth = F.interpolate(noise[None], size=size, mode="bicubic", align_corners=False)[0]
    return smooth / smooth.std()


def invent_semantic(logits: Tensor, generator: torch.Generator) -> None:
    """Overwrites (B, C, h, w): regions of some fifteen classes, the others far below, noise on all of it."""
    _, classes, height, width = logits.shape
    values = fields(classes, (height, width), 6, generator) * 3 - 10
    present = torch.randperm(classes, generator=generator)[:15]
    values[present] = fields(len(present), (height, width), 8, generator) * 6
    values += torch.randn(values.shape, generator=generator) * 0.3
    logits.copy_(values)


def invent_objects(outputs: dict[str, Outputs], config: BenchConfig, frame: Frame, generator: torch.Generator) -> None:
    """Overwrites detection's and instance's outputs: each object is said by its nearest points of one level."""
    detection, instance = outputs["detection"], outputs["instance"]
    (branch,) = {name.split(".")[0] for name in detection if name.endswith(".class_logits")}
    scores, sides = detection[f"{branch}.class_logits"], detection[f"{branch}.box_logits"]
    anchors = detection["anchors"].float().cpu()
    bins = sides.shape[-1] // 4
    classes = torch.randn(scores.shape, generator=generator) - 10.3
    boxes = torch.randn(sides.shape, generator=generator) * 0.3
    (left, top), (height, width) = frame.pad, frame.inner
    for _ in range(config.objects):
        area = math.exp(float(torch.empty(1).uniform_(math.log(16), math.log(300), generator=generator)))
        aspect = math.exp(float(torch.empty(1).normal_(0, 0.4, generator=generator)))
        w, h = min(area * aspect, width - 2.0), min(area / aspect, height - 2.0)
        place = torch.rand(2, generator=generator)
        x1, y1 = left + float(place[0]) * (width - w), top + float(place[1]) * (height - h)
        stride = 8 if max(w, h) < 80 else 16 if max(w, h) < 200 else 32
        distance = (anchors[:, :2] - torch.tensor([x1 + w / 2, y1 + h / 2])).norm(dim=1)
        near = torch.where(anchors[:, 2] == stride, distance, torch.inf).topk(4, largest=False).indices
        cls = int(torch.randint(classes.shape[-1], (), generator=generator))
        classes[:, near, cls] = torch.empty(len(near)).uniform_(-0.5, 3, generator=generator)
        x, y = anchors[near, 0], anchors[near, 1]
        far = torch.stack((x - x1, y - y1, x1 + w - x, y1 + h - y), dim=1) / stride
        gap = (torch.arange(bins) - far.clamp(0, bins - 1.01)[..., None]).abs()
        boxes[:, near] = ((1 - gap).clamp(min=1e-4).log()).flatten(1)
    scores.copy_(classes)
    sides.copy_(boxes)
    prototypes = instance["proto"]
    prototypes.copy_(fields(prototypes.shape[1], (prototypes.shape[2], prototypes.shape[3]), 12, generator))
    instance["coefficients"].copy_(torch.randn(instance["coefficients"].shape, generator=generator) + 0.2)


def measured(action: Callable[[], Any], repeats: int, device: torch.device) -> float:
    """Median milliseconds of a call, after two that do not count."""
    times = []
    for number in range(repeats + 2):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= 2:
            times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1000


def plain_masks(prediction: Prediction, frame: Frame, restored: dict[str, Prediction]) -> np.ndarray:
    """(N, H, W) bool: every mask at every pixel, then cut to its box."""
    boxes = restored["detection"]["boxes"]
    masks = sample_original(prediction["logits"][restored["detection"]["kept"]], frame) > 0
    height, width = frame.original
    xs, ys = torch.arange(width, device=boxes.device), torch.arange(height, device=boxes.device)
    inside_x = (xs >= boxes[:, :1].floor()) & (xs < boxes[:, 2:3].ceil())
    inside_y = (ys >= boxes[:, 1:2].floor()) & (ys < boxes[:, 3:4].ceil())
    return np.asarray((masks & inside_y[:, :, None] & inside_x[:, None, :]).cpu())


def plain_map(prediction: Prediction, frame: Frame) -> np.ndarray:
    """(H, W): every class at every pixel."""
    return np.asarray(sample_original(prediction["logits"], frame).argmax(0).to(torch.uint8).cpu())


class Parts:
    """Decoding and restoring, task by task, on given outputs of one picture."""

    def __init__(self, tasks: tuple[Task, ...], outputs: dict[str, Outputs], frame: Frame, options: DecodeOptions):
        self.tasks, self.outputs, self.frame, self.options = tasks, outputs, frame, options
        self.decoded: dict[str, list[Prediction]] = {}
        self.restored: dict[str, Prediction] = {}
        for task in tasks:
            self.decode(task)
            self.restore(task)

    def decode(self, task: Task) -> None:
        used = {name: self.decoded[name] for name in task.uses}
        self.decoded[task.name] = task.decode(self.outputs.get(task.name, {}), used, self.options)

    def restore(self, task: Task) -> None:
        used = {name: self.restored[name] for name in task.uses}
        self.restored[task.name] = task.decode.restore(self.decoded[task.name][0], self.frame, used)


def invented_outputs(
    predictor: Predictor, tasks: tuple[Task, ...], images: Tensor, config: BenchConfig, frame: Frame
) -> dict[str, Outputs]:
    """The network's outputs for the tasks, with invented values in their own types and layouts."""
    with torch.autocast(predictor.device.type, torch.bfloat16, enabled=predictor.half):
        outputs = predictor.model.network(images, [task.name for task in tasks if task.head is not None])
    generator = torch.Generator().manual_seed(0)
    invent_objects(outputs, config, frame, generator)
    invent_semantic(outputs["semantic"]["logits"], generator)
    return dict(outputs)


def picture_labels(folder: Path, answers: dict[str, Prediction], space: LabelSpace, image: int) -> Annotations:
    """The given answers, moved by a few pixels, as labels: the first seven objects, and the panoptic map as a PNG."""
    shifted = np.roll(answers["panoptic"]["map"], (5, 7), (0, 1))
    path = folder / "panoptic.png"
    if not path.exists():
        Image.fromarray(panoptic_pixels(shifted)).save(path)
    segments = tuple(SegmentLabel(s["id"], s["category"], False, s["area"]) for s in answers["panoptic"]["segments"])
    height, width = shifted.shape
    boxes, classes = answers["detection"]["boxes"][:7].tolist(), answers["detection"]["classes"].tolist()
    objects = tuple(
        ObjectLabel(i, classes[i], (x1, y1, x2, y2), (x2 - x1) * (y2 - y1), False, [[x1, y1, x2, y1, x2, y2, x1, y2]])
        for i, (x1, y1, x2, y2) in enumerate(boxes)
    )
    label = PanopticLabel(path, segments)
    return Annotations(image, folder / f"{image}.jpg", height, width, objects=objects, has_masks=True, panoptic=label)


def evaluation_times(
    tasks: tuple[Task, ...], answers: dict[str, Prediction], space: LabelSpace, images: int = 50
) -> dict[str, float]:
    """Milliseconds a picture: each metric's update, and its share of the computing at the end."""
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        labels = [picture_labels(Path(name), answers, space, image) for image in range(1, images + 1)]
        for task in tasks:
            metric = task.metric()
            started = time.perf_counter()
            for label in labels:
                metric.update(answers[task.name], label)
            updated = time.perf_counter()
            metric.compute()
            times[f"{task.name}: update"] = (updated - started) * 1000 / images
            times[f"{task.name}: compute"] = (time.perf_counter() - updated) * 1000 / images
    return times


class Report:
    """The printed table: milliseconds, and what share of the forward they are."""

    def __init__(self, title: str, forward: float) -> None:
        self.table = Table("part", "ms", "share of the forward", "plain, ms", title=title)
        self.forward = forward

    def add(self, name: str, milliseconds: float, plain: float | None = None) -> None:
        share = f"{milliseconds / self.forward:.1%}"
        self.table.add_row(name, f"{milliseconds:.1f}", share, "" if plain is None else f"{plain:.1f}")


@torch.inference_mode()
def main() -> None:
    config = fill(BenchConfig, parse_assignments(sys.argv[1:]))
    row = model_config(config.model)
    space = coco_like_space()
    model: Model = build_model(row, space, possible_tasks(row, space))
    predictor = Predictor(model, config.device, config.half, config.imgsz)
    device = predictor.device
    tasks = tuple(task for task in model.tasks if task.name != "captioning")
    heads = [task.name for task in tasks if task.head is not None]
    frame = letterbox_frame((config.height, config.width), predictor.size)
    images = torch.randint(0, 256, (1, 3, *predictor.size), dtype=torch.uint8).to(device)
    outputs = invented_outputs(predictor, tasks, images, config, frame)
    parts = Parts(tasks, outputs, frame, DecodeOptions())

    def forward() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=predictor.half):
            model.network(images, heads)

    def timed(action: Callable[[], Any]) -> float:
        return measured(action, config.repeats, device)

    masks, classes = parts.restored["instance"]["masks"], np.asarray(parts.restored["semantic"]["map"])
    report = Report(
        f"{config.model}, one picture of {config.height} x {config.width} at {config.imgsz} px, {len(masks)} objects, "
        f"{len(np.unique(classes))} classes in the map, {device}, {torch.get_num_threads()} threads",
        measured(forward, max(3, config.repeats // 4), device),
    )
    report.add(f"forward, bf16 {predictor.half}", report.forward)
    report.table.add_section()
    instance, semantic = parts.decoded["instance"][0], parts.decoded["semantic"][0]
    plain = {
        "instance": timed(lambda: plain_masks(instance, frame, parts.restored)),
        "semantic": timed(lambda: plain_map(semantic, frame)),
    }
    for task in tasks:
        decoding, restoring = timed(partial(parts.decode, task)), timed(partial(parts.restore, task))
        report.add(f"{task.name}: decode", decoding)
        report.add(f"{task.name}: restore", restoring, plain.get(task.name))
    report.add("all, in the batch path", timed(lambda: decode_all(tasks, outputs, [frame], DecodeOptions())))
    report.table.add_section()

    (answers,) = decode_all(tasks, outputs, [frame], EVALUATION)
    times = evaluation_times(tasks, answers, space)
    for name, milliseconds in times.items():
        report.add(f"evaluation, {len(answers['instance']['masks'])} objects: {name}", milliseconds)
    report.add("evaluation, all", sum(times.values()))
    console = Console(width=120)
    console.print(report.table)
    same_map = (plain_map(semantic, frame) == classes).mean()
    same_masks = (plain_masks(instance, frame, parts.restored) == np.stack(list(masks))).mean()
    console.print(f"pixels equal to plain code's: map {same_map:.6%}, masks {same_masks:.6%}")


if __name__ == "__main__":
    main()
