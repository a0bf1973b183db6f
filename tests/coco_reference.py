"""Labels to score, guesses at them, and pycocotools' answer to compare with: for the metrics' tests."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolor_mtl.data.coco import open_coco
from yolor_mtl.records import Annotations, Category, LabelSpace, ObjectLabel

Json = dict[str, Any]
Box = tuple[float, float, float, float]
SPACE = LabelSpace(things=(Category(1, "cat"), Category(7, "dog"), Category(3, "owl")))


@dataclass(frozen=True)
class Labels:
    """The images of a split, and its instances file for pycocotools."""

    space: LabelSpace
    images: tuple[Annotations, ...]
    instances: Path


def real_labels(shared: Path, split: str) -> Labels:
    root = shared / "coco_sample"
    if not root.is_dir():
        pytest.skip(f"{root} is absent: the real COCO sample lives there")
    data = open_coco(root, [split], cache=False)
    images = tuple(data.annotations(index) for index in range(len(data)))
    return Labels(data.space, images, root / "annotations" / f"instances_{split}.json")


def thing(number: int, xyxy: Box, category: int = 0, crowd: bool = False) -> ObjectLabel:
    """A rectangle, as box and as mask."""
    x1, y1, x2, y2 = xyxy
    area = (x2 - x1) * (y2 - y1)
    return ObjectLabel(number, category, xyxy, area, crowd, [[x1, y1, x2, y1, x2, y2, x1, y2]])


def labelled(image_id: int, *objects: ObjectLabel, **more: Any) -> Annotations:
    path = Path(f"{image_id:06}.jpg")
    settings = {"height": 60, "width": 80, "objects": objects, "has_masks": True} | more
    return Annotations(image_id=image_id, path=path, **settings)


def coco_truth(labels: Iterable[Annotations], space: LabelSpace) -> Json:
    """The labels as an instances file; ids from 1, because pycocotools takes a match with id 0 for none."""
    labels = list(labels)
    rows = [(label, item) for label in labels for item in label.objects or ()]
    return {
        "images": [{"id": label.image_id, "width": label.width, "height": label.height} for label in labels],
        "categories": [{"id": category.id, "name": category.name} for category in space.things],
        "annotations": [
            {
                "id": number,
                "image_id": label.image_id,
                "category_id": space.things[item.category].id,
                "bbox": [*item.xyxy[:2], item.xyxy[2] - item.xyxy[0], item.xyxy[3] - item.xyxy[1]],
                "area": item.area,
                "iscrowd": int(item.crowd),
                "segmentation": item.segmentation,
            }
            for number, (label, item) in enumerate(rows, start=1)
        ],
    }


def twelve_numbers(truth: Json | Path, results: Sequence[Json] | Path, kind: str, max_det: int = 100) -> list[float]:
    """pycocotools' summary, which is written for three limits of which the last is 100 in one place."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO(str(truth)) if isinstance(truth, Path) else _coco(truth)
        if isinstance(results, Path):
            found = ground.loadRes(str(results))
        elif results:
            found = ground.loadRes([dict(result) for result in results])
        else:  # loadRes looks at the first
            found = _coco(ground.dataset | {"annotations": []})
        evaluation = COCOeval(ground, found, kind)
        evaluation.params.maxDets = [1, min(10, max_det), max_det]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    numbers = [float(number) for number in evaluation.stats]
    if max_det != 100:  # summarize() asks for AP at 100 and finds nothing
        precision = evaluation.eval["precision"][:, :, :, 0, 2]
        numbers[0] = float(precision[precision > -1].mean())
    return numbers


def _coco(dataset: Json) -> COCO:
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def guesses(label: Annotations, rng: np.random.Generator, classes: int) -> list[tuple[np.ndarray, float, int]]:
    """Boxes (4,), scores and classes near the labels: some missed, doubled, shifted or of another class.

    Scores have one digit, so that many are equal.
    """
    size = np.array([label.width, label.height] * 2, dtype=np.float32)
    out = []
    for item in label.objects or ():
        for _ in range(rng.choice(3, p=[0.15, 0.65, 0.2])):
            box = np.array(item.xyxy)
            shift = rng.normal(0, 0.08, 4) * np.tile(box[2:] - box[:2], 2)
            category = item.category if rng.random() < 0.9 else int(rng.integers(classes))
            out.append((box + shift, category))
    for _ in range(rng.integers(4)):
        corners = np.sort(rng.random((2, 2)), axis=0).reshape(4) * size
        out.append((corners, int(rng.integers(classes))))
    return [(_inside(box, size), round(float(rng.random()), 1), category) for box, category in out]


def _inside(box: np.ndarray, size: np.ndarray) -> np.ndarray:
    box = box.clip(0, size).astype(np.float32)
    return np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])
