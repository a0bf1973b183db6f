"""Mask AP and AR against pycocotools."""

import json
import pickle
from pathlib import Path

import coco_builder as coco
import numpy as np
import pytest
import torch
from coco_reference import SPACE, coco_truth, guesses, labelled, real_labels, thing, twelve_numbers
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from yolor_mtl.data.coco import open_coco
from yolor_mtl.ops.coco_eval import CocoEvaluation
from yolor_mtl.ops.masks import CroppedMasks, decode_segmentation
from yolor_mtl.records import Annotations, LabelSpace, Prediction
from yolor_mtl.tasks.instance.metric import MaskMetric

Found = list[tuple[np.ndarray, float, int]]  # (H, W) masks, scores, classes


def cropped(masks: list[np.ndarray], size: tuple[int, int]) -> CroppedMasks:
    corners, crops = [], []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        top, left = (int(rows[0]), int(columns[0])) if rows.size else (0, 0)
        corners.append((left, top))
        crops.append(mask[top : rows[-1] + 1, left : columns[-1] + 1] if rows.size else np.zeros((0, 0), bool))
    return CroppedMasks(size, corners, crops)


def prediction(found: Found, label: Annotations) -> Prediction:
    return {
        "masks": cropped([mask for mask, _, _ in found], (label.height, label.width)),
        "scores": torch.tensor([score for _, score, _ in found]),
        "classes": torch.tensor([category for _, _, category in found], dtype=torch.int64),
    }


def results(images: list[tuple[Annotations, Found]], space: LabelSpace) -> list[dict]:
    """COCO's results list of the whole masks."""
    return [
        {
            "image_id": label.image_id,
            "category_id": space.things[category].id,
            "segmentation": coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)),
            "score": float(np.float32(score)),
        }
        for label, found in images
        for mask, score, category in found
    ]


def scored(images: list[tuple[Annotations, Found]], space: LabelSpace = SPACE) -> MaskMetric:
    metric = MaskMetric(space)
    for label, found in images:
        assert metric.evaluates(label)
        metric.update(prediction(found, label), label)
    return metric


def true_masks(label: Annotations) -> Found:
    return [
        (decode_segmentation(item.segmentation, label.height, label.width).astype(bool), 0.5, item.category)
        for item in label.objects or ()
    ]


def guessed(label: Annotations, rng: np.random.Generator, classes: int) -> Found:
    """Shifted masks of some objects, and boxes of :func:`guesses` as masks."""
    moved = [
        (np.roll(mask, tuple(rng.integers(-3, 4, 2)), axis=(0, 1)), round(float(rng.random()), 1), category)
        for mask, _, category in true_masks(label)
        if rng.random() < 0.85
    ]
    boxes = []
    for box, score, category in guesses(label, rng, classes)[:5]:
        x1, y1, x2, y2 = box.round().astype(int)
        mask = np.zeros((label.height, label.width), bool)
        mask[y1:y2, x1:x2] = True
        boxes.append((mask, score, category))
    return moved + boxes


@pytest.mark.parametrize("split", ["val2017", "train2017"])
def test_case_11_real_labels_score_as_pycocotools_scores_them(shared: Path, tmp_path: Path, split: str) -> None:
    labels = real_labels(shared, split)
    rng = np.random.default_rng(1)
    images = [(label, guessed(label, rng, len(labels.space.things))) for label in labels.images]
    metric = scored(images, labels.space)
    numbers = metric.compute()
    expected = twelve_numbers(labels.instances, results(images, labels.space), "segm")
    assert list(numbers)[:3] == ["mask/AP", "mask/AP50", "mask/AP75"]
    assert list(numbers.values()) == pytest.approx(expected, abs=1e-9)
    assert 0.1 < numbers["mask/AP"] < 0.9

    (path,) = metric.write(tmp_path)
    assert twelve_numbers(labels.instances, path, "segm") == pytest.approx(expected, abs=1e-9)


def test_the_labels_as_predictions_are_perfect(shared: Path) -> None:
    labels = real_labels(shared, "val2017")
    numbers = scored([(label, true_masks(label)) for label in labels.images], labels.space).compute()
    assert numbers["mask/AP"] == pytest.approx(1, abs=1e-9)
    assert numbers["mask/AR100"] == 1


def test_two_halves_merge_into_one_whole() -> None:
    images = [(label, true_masks(label)) for label in (labelled(i, thing(1, (i, 2, 30, 30 + i))) for i in range(1, 7))]
    images[2][1].append((np.ones((60, 80), bool), 0.9, 0))
    whole, first, second = (scored(part) for part in (images, images[3:], images[:4]))
    first.merge(second)
    assert first.compute() == whole.compute()


def test_images_with_an_object_without_a_mask_are_not_evaluated() -> None:
    metric = MaskMetric(SPACE)
    assert not metric.evaluates(labelled(1, thing(1, (0, 0, 9, 9)), has_masks=False))
    assert not metric.evaluates(labelled(1, objects=None))
    assert metric.evaluates(labelled(1))
    assert metric.compute() == {}


def test_masks_of_another_size_are_refused() -> None:
    label = labelled(1)
    answer = prediction([(np.ones((6, 8), bool), 0.5, 0)], labelled(1, height=6, width=8))
    with pytest.raises(ValueError, match=r"masks of \(6, 8\) for image 1 of \(60, 80\)"):
        MaskMetric(SPACE).update(answer, label)


def test_an_object_whose_box_has_no_area_keeps_its_mask(tmp_path: Path) -> None:
    things = [coco.thing(1, 1, bbox=[2, 3, 10, 0]), coco.thing(2, 1, bbox=[90, 3, 10, 8]), coco.thing(3, 1)]
    truth = coco.instances([coco.image(1)], things)
    data = open_coco(coco.split(tmp_path, "val", instances=truth), ["val"], cache=False)
    label = data.annotations(0)
    found = [(label, true_masks(label)[:1])]
    expected = twelve_numbers(truth, results(found, data.space), "segm")
    assert list(scored(found, data.space).compute().values()) == pytest.approx(expected, abs=1e-9)
    assert 0 < expected[0] < 0.5  # two of three are missed


rectangles = st.tuples(st.integers(0, 40), st.integers(0, 30), st.integers(0, 39), st.integers(0, 29))


def rectangle(corner: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((60, 80), bool)
    x, y, w, h = corner
    mask[y : y + h, x : x + w] = True
    return mask


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(rectangles.filter(lambda r: r[2] > 1 and r[3] > 1), st.booleans()), max_size=4),
            st.lists(st.tuples(rectangles, st.sampled_from([0.25, 0.5]), st.integers(0, 1)), max_size=5),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_odd_cases_score_as_pycocotools_scores_them(cases: list) -> None:
    """Empty masks, equal scores, crowds, images without objects or answers."""
    images = [
        (
            labelled(9 - i, *(thing(n, (x, y, x + w, y + h), crowd=c) for n, ((x, y, w, h), c) in enumerate(truth))),
            [(rectangle(corner), score, category) for corner, score, category in found],
        )
        for i, (truth, found) in enumerate(cases)
    ]
    labels = [label for label, _ in images]
    numbers = scored(images).compute()
    if all(item.crowd for label in labels for item in label.objects or ()):
        assert numbers == {}
    else:
        expected = twelve_numbers(coco_truth(labels, SPACE), results(images, SPACE), "segm")
        assert list(numbers.values()) == pytest.approx(expected, abs=1e-9)


def test_written_masks_are_text(tmp_path: Path) -> None:
    label = labelled(1, thing(1, (0, 0, 9, 9)))
    (path,) = scored([(label, true_masks(label))]).write(tmp_path)
    (row,) = json.loads(path.read_text())
    assert row["category_id"] == SPACE.things[0].id
    assert coco_mask.decode(row["segmentation"]).sum() == 81


def test_one_evaluation_serves_numbers_and_details_until_an_image_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(*args: object, **more: object) -> CocoEvaluation:
        made.append(args)
        return CocoEvaluation(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("yolor_mtl.tasks.instance.metric.CocoEvaluation", counted)
    metric, other = MaskMetric(SPACE), MaskMetric(SPACE)
    for number, each in ((1, metric), (2, other)):
        label = labelled(number, thing(number, (0, 0, 20, 20)))
        each.update(prediction(true_masks(label), label), label)
    first = metric.compute()
    metric.details()
    assert len(made) == 1
    metric.merge(other)
    assert len(metric.details().images) == 2
    assert len(made) == 2
    label = labelled(3, thing(3, (0, 0, 20, 20)))
    metric.update(prediction([], label), label)
    assert metric.compute() != first
    assert len(made) == 3
    assert pickle.loads(pickle.dumps(metric)).compute() == metric.compute()
