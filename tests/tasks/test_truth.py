"""The labels themselves, given as answers, score one: readers, metrics and truths mean the same."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import coco_builder as coco
import numpy as np
import pytest
import torch

from yolor_mtl.data.coco import CocoDataset, open_coco, panoptic_map, semantic_map
from yolor_mtl.data.scenes import write_scenes
from yolor_mtl.records import IGNORE, Annotations
from yolor_mtl.tasks import TASKS

PERFECT = {
    "detection": ("box/AP", "box/AP50", "box/AP75", "box/AR100"),
    "instance": ("mask/AP", "mask/AP50", "mask/AP75", "mask/AR100"),
    "semantic": ("semantic/mIoU", "semantic/FWIoU", "semantic/accuracy", "semantic/mean-accuracy"),
    "panoptic": ("panoptic/PQ", "panoptic/SQ", "panoptic/RQ", "panoptic/PQ-things", "panoptic/PQ-stuff"),
    "captioning": ("caption/BLEU-1", "caption/BLEU-4", "caption/ROUGE-L"),
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    out = tmp_path_factory.mktemp("scenes") / "out"
    write_scenes(out, train=0, val=6, seed=11, workers=1)
    return open_coco(out, ["val"], cache=False)


@pytest.fixture(scope="module")
def real(shared: Path) -> CocoDataset:
    return open_coco(shared / "coco_sample", ["val2017"], cache=False)


def _scores(task: str, data: CocoDataset, indices: Iterable[int]) -> dict[str, float]:
    scoring = TASKS[task].scoring(data.space)
    metric = scoring.metric()
    for labels in map(data.annotations, indices):
        assert metric.evaluates(labels)
        metric.update(scoring.truth(labels), labels)
    return metric.compute()


@pytest.mark.parametrize("task", TASKS)
def test_real_labels(real: CocoDataset, task: str) -> None:
    scores = _scores(task, real, range(0, 100, 4))
    assert [scores[key] for key in PERFECT[task]] == pytest.approx([1.0] * len(PERFECT[task]), abs=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_scenes(scenes: CocoDataset, task: str) -> None:
    scores = _scores(task, scenes, range(len(scenes)))
    assert [scores[key] for key in PERFECT[task]] == pytest.approx([1.0] * len(PERFECT[task]), abs=1e-9)


def test_original_masks_with_crowds(shared: Path) -> None:
    data = open_coco(shared / "coco_sample", ["train2017"], cache=False)
    crowded = [i for i in range(len(data)) if any(item.crowd for item in data.annotations(i).objects or ())]
    assert crowded
    for task, keys in (("detection", ("box/AP", "box/AR100")), ("instance", ("mask/AP", "mask/AR100"))):
        scores = _scores(task, data, [*crowded, *range(10)])
        assert [scores[key] for key in keys] == pytest.approx([1.0, 1.0], abs=1e-9)


@pytest.fixture
def crowd(tmp_path: Path) -> CocoDataset:
    """One picture of 40 x 30 with an object, a crowd, and a strip of pixels without a label."""
    objects = [coco.thing(1, 7), coco.thing(2, 7, bbox=[20, 3, 10, 8], iscrowd=1, segmentation=_rle())]
    ids = np.full((30, 40), 300)
    ids[3:11, 2:12] = 1
    ids[3:11, 20:30] = 70_000
    ids[25:] = 0
    segments = [
        {"id": 1, "category_id": 1, "area": 80},
        {"id": 70_000, "category_id": 1, "iscrowd": 1, "area": 80},
        {"id": 300, "category_id": 9, "area": 840},
    ]
    categories = [{"id": 1, "name": "cat", "isthing": 1}, {"id": 9, "name": "sky", "isthing": 0}]
    entry = {"image_id": 7, "file_name": "7.png", "segments_info": segments}
    images = [coco.image(7)]
    coco.split(
        tmp_path,
        "train",
        instances=coco.instances(images, objects),
        panoptic={"images": images, "annotations": [entry], "categories": categories},
        captions={"images": images, "annotations": [coco.caption(7, "A cat."), coco.caption(7, "Cats.")]},
    )
    coco.panoptic_png(tmp_path / "annotations/panoptic_train/7.png", ids)
    return open_coco(tmp_path, ["train"], cache=False)


def _rle() -> dict[str, object]:
    """Rows 3 to 10 of columns 20 to 29, column by column."""
    counts = [20 * 30 + 3]
    for _ in range(9):
        counts += [8, 22]
    counts += [8]
    return {"size": [30, 40], "counts": [*counts, 30 * 40 - sum(counts)]}


def _truth(data: CocoDataset, task: str) -> tuple[dict[str, object], Annotations]:
    annotations = data.annotations(0)
    return TASKS[task].scoring(data.space).truth(annotations), annotations


def test_boxes_and_masks_without_crowds(crowd: CocoDataset) -> None:
    boxes, _ = _truth(crowd, "detection")
    masks, _ = _truth(crowd, "instance")
    for found in (boxes, masks):
        assert torch.equal(found["boxes"], torch.tensor([[2.0, 3, 12, 11]]))  # type: ignore[arg-type]
        assert torch.equal(found["scores"], torch.ones(1))  # type: ignore[arg-type]
        assert torch.equal(found["classes"], torch.zeros(1, dtype=torch.int64))  # type: ignore[arg-type]
    assert len(masks["masks"]) == 1  # type: ignore[arg-type]
    dense = masks["masks"].dense(0)  # type: ignore[attr-defined]
    assert dense.sum() == 80
    assert dense[3:11, 2:12].all()


def test_maps(crowd: CocoDataset) -> None:
    semantic, annotations = _truth(crowd, "semantic")
    assert np.array_equal(np.asarray(semantic["map"]), semantic_map(annotations, crowd.space))
    assert (np.asarray(semantic["map"])[25:] == IGNORE).all()
    panoptic, _ = _truth(crowd, "panoptic")
    wanted = panoptic_map(annotations)
    wanted[wanted == 70_000] = 0
    assert np.array_equal(panoptic["map"], wanted)  # type: ignore[arg-type]
    assert panoptic["segments"] == [
        {"id": 1, "category": 0, "isthing": True, "score": 1.0, "area": 80},
        {"id": 300, "category": 1, "isthing": False, "score": 1.0, "area": 840},
    ]
    for task in ("semantic", "panoptic"):
        assert _scores(task, crowd, [0])[PERFECT[task][0]] == 1


def test_the_first_caption(crowd: CocoDataset) -> None:
    assert _truth(crowd, "captioning")[0] == {"text": "A cat.", "score": 1.0}


def test_an_image_without_objects(tmp_path: Path) -> None:
    data = open_coco(
        coco.split(tmp_path, "train", instances=coco.instances([coco.image(1)], [])), ["train"], cache=False
    )
    found, _ = _truth(data, "instance")
    assert found["boxes"].shape == (0, 4)  # type: ignore[attr-defined]
    assert len(found["masks"]) == 0  # type: ignore[arg-type]
    assert _scores("detection", data, [0]) == {}
