"""Semantic scores against counting pixels class by class."""

from pathlib import Path

import numpy as np
import pytest
import torch
from coco_builder import panoptic_png, png
from coco_reference import labelled, real_labels
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from yolor_mtl.data.coco import semantic_map
from yolor_mtl.records import IGNORE, Annotations, Category, LabelSpace, PanopticLabel, SegmentLabel
from yolor_mtl.tasks.semantic.metric import SemanticMetric

STUFF = LabelSpace(semantic=tuple(Category(number, f"class {number}") for number in (1, 5, 9)), semantic_protocol="own")
Pairs = list[tuple[np.ndarray, np.ndarray]]  # label and answer of each image


def by_hand(pairs: Pairs, classes: int) -> dict[str, float]:
    """Each class's pixels, one class after the other: the textbook's definitions."""
    truth = np.concatenate([label.reshape(-1) for label, _ in pairs])
    told = np.concatenate([answer.reshape(-1) for _, answer in pairs])
    truth, told = truth[truth != IGNORE], told[truth != IGNORE]
    ious, accuracies, weighted = [], [], 0.0
    for category in range(classes):
        both = int(((truth == category) & (told == category)).sum())
        either = int(((truth == category) | (told == category)).sum())
        labelled_pixels = int((truth == category).sum())
        if either:
            ious.append(both / either)
            weighted += labelled_pixels / len(truth) * both / either
        if labelled_pixels:
            accuracies.append(both / labelled_pixels)
    return {
        "semantic/mIoU": float(np.mean(ious)),
        "semantic/FWIoU": weighted,
        "semantic/accuracy": float((truth == told).mean()),
        "semantic/mean-accuracy": float(np.mean(accuracies)),
    }


def scored(answers: list[tuple[Annotations, object]], space: LabelSpace) -> SemanticMetric:
    metric = SemanticMetric(space)
    for label, answer in answers:
        assert metric.evaluates(label)
        metric.update({"map": answer}, label)
    return metric


def stuff_label(folder: Path, number: int, pixels: np.ndarray) -> Annotations:
    """An image whose COCO-Stuff map says the classes ``pixels`` (positions in ``STUFF``) or IGNORE."""
    ids = np.array([category.id - 1 for category in STUFF.semantic] + [IGNORE])
    path = folder / f"{number}.png"
    png(path, ids[np.where(pixels == IGNORE, len(ids) - 1, pixels)])
    return labelled(number, objects=None, stuff_map=path, height=pixels.shape[0], width=pixels.shape[1])


def noisy(truth: np.ndarray, rng: np.random.Generator, classes: int) -> np.ndarray:
    """The label, moved, with blocks of other classes; unlabelled pixels answered at random."""
    answer = np.roll(truth, tuple(rng.integers(-9, 10, 2)), axis=(0, 1))
    for _ in range(4):
        top, left = rng.integers(0, truth.shape[0] - 20), rng.integers(0, truth.shape[1] - 20)
        answer[top : top + 60, left : left + 60] = rng.integers(classes)
    return np.where(answer == IGNORE, rng.integers(0, classes, truth.shape), answer).astype(np.uint8)


def test_real_maps_score_as_counted_by_hand(shared: Path) -> None:
    labels = real_labels(shared, "val2017")
    space, rng = labels.space, np.random.default_rng(0)
    images = labels.images[::4]
    truths = [semantic_map(label, space) for label in images]
    answers = [noisy(truth, rng, len(space.semantic)) for truth in truths]
    assert any((truth == IGNORE).any() for truth in truths)
    metric = scored([(la, torch.from_numpy(a)) for la, a in zip(images, answers, strict=True)], space)
    numbers = metric.compute()
    assert numbers == pytest.approx(by_hand(list(zip(truths, answers, strict=True)), len(space.semantic)), abs=1e-12)
    assert 0.1 < numbers["semantic/mIoU"] < 0.95
    assert metric.confusion().sum() == sum((truth != IGNORE).sum() for truth in truths)

    perfect = scored(list(zip(images, truths, strict=True)), space).compute()
    assert perfect == dict.fromkeys(numbers, 1.0)


pixels = arrays.arrays(np.uint8, (3, 4), elements=st.sampled_from([0, 1, 2, IGNORE]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(pixels, arrays.arrays(np.uint8, (3, 4), elements=st.sampled_from([0, 1, 2, 3, 255])))))
def test_odd_maps_score_as_counted_by_hand(tmp_path_factory: pytest.TempPathFactory, pairs: Pairs) -> None:
    """Absent classes, answers that are no class, nothing labelled."""
    folder = tmp_path_factory.mktemp("maps")
    answers = [(stuff_label(folder, n, truth), answer) for n, (truth, answer) in enumerate(pairs)]
    numbers = scored(answers, STUFF).compute()
    if all((truth == IGNORE).all() for truth, _ in pairs):
        assert numbers == {}
    else:
        assert numbers == pytest.approx(by_hand(pairs, 3), abs=1e-12)


def test_numbers_of_a_small_map(tmp_path: Path) -> None:
    label = stuff_label(tmp_path, 1, np.array([[0, 0, 1, IGNORE]]))
    metric = scored([(label, np.array([[0, 1, 1, 2]], np.uint8))], STUFF)
    assert metric.confusion().tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert metric.compute() == pytest.approx(
        {
            "semantic/mIoU": 0.5,  # 1/2 and 1/2; class 2 stands on an unlabelled pixel only
            "semantic/FWIoU": 0.5,
            "semantic/accuracy": 2 / 3,
            "semantic/mean-accuracy": 0.75,
        }
    )


def test_halves_merge_and_an_image_counts_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    answers = [
        (stuff_label(tmp_path, n, rng.integers(0, 3, (5, 6))), rng.integers(0, 3, (5, 6)).astype(np.uint8))
        for n in range(6)
    ]
    whole, first, second = (scored(part, STUFF) for part in (answers, answers[:4], answers[2:]))
    first.merge(second)
    assert first.compute() == whole.compute()
    assert scored(answers * 2, STUFF).compute() == whole.compute()


def test_a_map_of_another_size_is_refused(tmp_path: Path) -> None:
    label = stuff_label(tmp_path, 3, np.zeros((4, 6), int))
    with pytest.raises(ValueError, match=r"map of \(6, 4\) for image 3 of \(4, 6\)"):
        SemanticMetric(STUFF).update({"map": np.zeros((6, 4), np.uint8)}, label)


def test_what_is_evaluated(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    panoptic_png(path, np.full((2, 2), 7))
    panoptic = labelled(1, panoptic=PanopticLabel(path, (SegmentLabel(7, 2, False, 4),)), height=2, width=2)
    metric = scored([(panoptic, np.full((2, 2), 2, np.uint8))], STUFF)
    assert metric.compute()["semantic/mIoU"] == 1
    assert not metric.evaluates(labelled(1))
    assert not SemanticMetric(LabelSpace()).evaluates(panoptic)
    assert SemanticMetric(STUFF).compute() == {}
    assert metric.write(tmp_path) == []
