"""COCO's evaluation beside pycocotools', and masks of a whole data set encoded as they arrive.

    .venv/bin/python benchmarks/evaluation.py
    .venv/bin/python benchmarks/evaluation.py images=500

Labels and answers are invented: polygons (a few crowds as RLE), and of each picture a hundred masks, most of them near
an object, as crops of many sizes. Both sides get the same plain lists and must give the same numbers. The stages hold:

- load: lists of dictionaries to indexed data sets, masks' areas included (``COCO``, ``loadRes``)
- evaluate: overlaps, matching, precision and recall, the twelve numbers (``evaluate``, ``accumulate``, ``summarize``)

Absolute times are this machine's; compare the rows of one run.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console
from rich.table import Table

from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.ops.coco_eval import CocoEvaluation, truth_rows
from yolor_mtl.ops.masks import CroppedMasks, segmentation_to_rle
from yolor_mtl.records import Annotations, Category, LabelSpace, ObjectLabel, Prediction, Segmentation
from yolor_mtl.tasks.base import Metric
from yolor_mtl.tasks.detection.metric import BoxMetric
from yolor_mtl.tasks.instance.metric import MaskMetric

HEIGHT, WIDTH = 480, 640

TOLERANCE = 1e-6
"""Greatest difference of a number from pycocotools'."""


@dataclass
class BenchConfig:
    """Keys of this benchmark; ``reference=false`` leaves pycocotools out."""

    images: int = 5000
    detections: int = 100
    classes: int = 80
    reference: bool = True


def invented_object(number: int, rng: np.random.Generator, classes: int) -> ObjectLabel:
    """An object of 12 to 350 pixels: a polygon of 24 uneven points; one of seventy is a crowd, as RLE."""
    size = np.exp(rng.uniform(np.log(6), np.log(175)))
    radii = size * np.exp(rng.normal(0, 0.3, 2))
    centre = rng.random(2) * (WIDTH, HEIGHT)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    spread = 1 + rng.uniform(-0.15, 0.15, 24)
    points = centre + np.stack((np.cos(angles), np.sin(angles)), axis=1) * radii * spread[:, None]
    points = points.clip(0, (WIDTH, HEIGHT))
    (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
    mask: Segmentation = [points.ravel().round(2).tolist()]
    rle = segmentation_to_rle(mask, HEIGHT, WIDTH)
    crowd = bool(rng.random() < 1 / 70)
    box = (float(x1), float(y1), float(x2), float(y2))
    return ObjectLabel(
        number, int(rng.zipf(1.4)) % classes, box, float(coco_mask.area(rle)), crowd, rle if crowd else mask
    )


def invented_labels(config: BenchConfig) -> list[Annotations]:
    """Pictures with seven objects on average."""
    rng = np.random.default_rng(0)
    labels = []
    for image in range(1, config.images + 1):
        objects = tuple(invented_object(100 * image + i, rng, config.classes) for i in range(rng.poisson(7)))
        path = Path(f"{image:012}.jpg")
        labels.append(Annotations(image, path, HEIGHT, WIDTH, objects=objects, has_masks=True))
    return labels


def ellipse(box: np.ndarray) -> tuple[tuple[int, int], np.ndarray]:
    """Corner and crop of an ellipse that fills a box, on the pixels of the picture."""
    left, top = np.floor(box[:2].clip(0, (WIDTH - 1, HEIGHT - 1))).astype(int)
    right, bottom = np.maximum(np.ceil(box[2:].clip(0, (WIDTH, HEIGHT))).astype(int), (left + 1, top + 1))
    middle, half = (box[:2] + box[2:]) / 2, np.maximum((box[2:] - box[:2]) / 2, 0.5)
    x = ((np.arange(left, right) + 0.5 - middle[0]) / half[0]) ** 2
    y = ((np.arange(top, bottom) + 0.5 - middle[1]) / half[1]) ** 2
    return (int(left), int(top)), y[:, None] + x < 1


def answer(label: Annotations, config: BenchConfig) -> Prediction:
    """Detections near the objects and anywhere; the nearer, the better their scores."""
    rng = np.random.default_rng(label.image_id)
    number = config.detections
    away = np.exp(rng.normal(np.log(6 + rng.random((number, 1)) * 100), 0.6, (number, 2)))
    corner = rng.random((number, 2)) * (WIDTH, HEIGHT)
    boxes, classes = np.hstack((corner - away, corner + away)), rng.integers(config.classes, size=number)
    scores = rng.beta(1, 12, number)
    objects = label.objects or ()
    near = np.flatnonzero(rng.random(number) < 0.6) if objects else np.zeros(0, dtype=int)
    for row in near:
        item = objects[int(rng.integers(len(objects)))]
        true, error = np.array(item.xyxy), rng.gamma(1.5, 0.08)
        boxes[row] = true + rng.normal(0, error, 4) * np.tile(true[2:] - true[:2], 2)
        classes[row] = item.category if rng.random() < 0.9 else classes[row]
        scores[row] = np.clip(rng.beta(3, 3) - error, 0.001, 1)
    boxes = np.hstack((np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])))
    boxes = boxes.clip(0, (WIDTH, HEIGHT, WIDTH, HEIGHT))
    order = np.argsort(-scores)
    crops = [ellipse(box) for box in boxes[order]]
    return {
        "boxes": torch.from_numpy(boxes[order]).float(),
        "scores": torch.from_numpy(scores[order]).float(),
        "classes": torch.from_numpy(classes[order]),
        "masks": CroppedMasks((HEIGHT, WIDTH), [corner for corner, _ in crops], [crop for _, crop in crops]),
    }


def truth_lists(labels: list[Annotations], space: LabelSpace) -> list[dict[str, Any]]:
    """COCO's annotations of all objects, masks as RLE, with ids from 1."""
    rows = [
        dict(row, segmentation=segmentation_to_rle(item.segmentation, label.height, label.width))
        for label in labels
        for row, item in zip(truth_rows(label, space.things), label.objects or (), strict=True)
        if item.segmentation is not None
    ]
    return [dict(row, id=number) for number, row in enumerate(rows, start=1)]


def written_results(metric: Metric) -> list[dict[str, Any]]:
    """The answers as the metric writes them."""
    with tempfile.TemporaryDirectory() as folder:
        (path,) = metric.write(Path(folder))
        found: list[dict[str, Any]] = json.loads(path.read_text())
        return found


def plain_reference(
    labels: list[Annotations], space: LabelSpace, results: list[dict[str, Any]], kind: str
) -> tuple[list[float], float, float]:
    """pycocotools' twelve numbers, and its seconds to load and to evaluate."""
    truth = truth_lists(labels, space)
    dataset = {
        "images": [{"id": label.image_id, "width": label.width, "height": label.height} for label in labels],
        "categories": [{"id": category.id, "name": category.name} for category in space.things],
        "annotations": truth,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        ground = COCO()
        ground.dataset = dataset
        ground.createIndex()
        evaluation = COCOeval(ground, ground.loadRes([dict(result) for result in results]), kind)
        loaded = time.perf_counter()
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        ended = time.perf_counter()
    return [float(number) for number in evaluation.stats], loaded - started, ended - loaded


def peak() -> float:
    """Greatest memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def feed(labels: list[Annotations], metrics: Mapping[str, Metric], config: BenchConfig) -> dict[str, float]:
    """Makes the answers one after the other and adds each to the metrics; seconds that the metrics took."""
    seconds = dict.fromkeys(metrics, 0.0)
    for label in labels:
        found = answer(label, config)
        for name, metric in metrics.items():
            started = time.perf_counter()
            metric.update(found, label)
            seconds[name] += time.perf_counter() - started
    return seconds


def our_numbers(
    labels: list[Annotations], space: LabelSpace, results: list[dict[str, Any]], kind: Literal["bbox", "segm"]
) -> tuple[list[float], float]:
    """Our twelve numbers, and the seconds to load and evaluate together: ours does both in one call."""
    truth = truth_lists(labels, space)
    images = [{"id": label.image_id, "width": label.width, "height": label.height} for label in labels]
    started = time.perf_counter()
    numbers = CocoEvaluation(images, space.things, truth, results, kind).numbers()
    return list(numbers.values()), time.perf_counter() - started


def main() -> None:
    config = fill(BenchConfig, parse_assignments(sys.argv[1:]))
    console = Console(width=120)
    space = LabelSpace(things=tuple(Category(i, f"class {i}") for i in range(1, config.classes + 1)))
    labels = invented_labels(config)
    answer(labels[0], config)  # what the first call loads is no growth
    metrics: dict[str, Metric] = {"box": BoxMetric(space), "mask": MaskMetric(space)}
    before = peak()
    updates = feed(labels, metrics, config)
    grown = peak() - before
    count = config.images * config.detections
    console.print(
        f"{count:,} masks encoded as they came: the peak of memory grew by {grown:.0f} MB, "
        f"{grown / config.images * 1024:.0f} kB a picture; whole they would be {count * HEIGHT * WIDTH / 2**30:,.0f} GB"
    )
    table = Table(
        "",
        "pycocotools: load",
        "evaluate",
        "ours: load + evaluate",
        "times faster than both",
        "than evaluate alone",
        "greatest difference",
        title=f"seconds, {config.images} pictures with {config.detections} detections",
    )
    whole = Table(
        "", "update (masks: RLE)", "compute", "details", "all, ms a picture", title="the metric itself, seconds"
    )
    for name, kind in (("box", "bbox"), ("mask", "segm")):
        metric = metrics[name]
        started = time.perf_counter()
        metric.compute()
        computed = time.perf_counter()
        metric.details()
        ended = time.perf_counter()
        spent = updates[name] + ended - started
        parts = (updates[name], computed - started, ended - computed)
        whole.add_row(name, *(f"{value:.2f}" for value in parts), f"{spent / config.images * 1000:.2f}")
        if config.reference:
            results = written_results(metric)
            ours, seconds = our_numbers(labels, space, results, kind)  # type: ignore[arg-type]
            theirs, loading, evaluating = plain_reference(labels, space, results, kind)
            difference = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
            factors = (f"{(loading + evaluating) / seconds:.1f}", f"{evaluating / seconds:.1f}")
            times = (f"{value:.2f}" for value in (loading, evaluating, seconds))
            table.add_row(name, *times, *factors, f"{difference:.1e}")
            if difference > TOLERANCE:
                raise SystemExit(f"{kind}: numbers differ by {difference}")
    if config.reference:
        console.print(table)
    console.print(whole)


if __name__ == "__main__":
    main()
