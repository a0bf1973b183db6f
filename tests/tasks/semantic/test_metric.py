"""Semantic scores against counting pixels class by class."""

import pickle
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
from yolor_mtl.data.coco_stuff_classes import PANOPTIC_MERGES, released_space, supercategory
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


def by_hand_super(pairs: Pairs, space: LabelSpace) -> dict[str, float]:
    """The same numbers of maps whose pixels say the group instead of the class."""
    groups = [supercategory(category) for category in space.semantic]
    names = sorted(set(groups))
    table = np.full(256, IGNORE, np.uint8)
    table[: len(groups)] = [names.index(group) for group in groups]
    numbers = by_hand([(table[label], table[answer]) for label, answer in pairs], len(names))
    return {key.replace("semantic/", "semantic/super-"): value for key, value in numbers.items()}


def scored(
    answers: list[tuple[Annotations, object]], space: LabelSpace, told: LabelSpace | None = None
) -> SemanticMetric:
    metric = SemanticMetric(space, told)
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
    pairs = list(zip(truths, answers, strict=True))
    expected = by_hand(pairs, len(space.semantic)) | by_hand_super(pairs, space)
    assert numbers == pytest.approx(expected, abs=1e-12)
    assert 0.1 < numbers["semantic/mIoU"] < 0.95
    assert numbers["semantic/super-accuracy"] > numbers["semantic/accuracy"]
    assert "27 supercategories" in metric.protocol["semantic/super-mIoU"]
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


def test_released_classes_score_as_counted_by_hand(shared: Path) -> None:
    """Answers in the released networks' 173 classes: any part of a merged class is that class, the rest is none."""
    labels, told, rng = real_labels(shared, "val2017"), released_space(), np.random.default_rng(1)
    names, places = labels.space.semantic_names, {name: place for place, name in enumerate(told.semantic_names)}
    images = labels.images[::8]
    truths = [semantic_map(label, labels.space) for label in images]

    def says(truth: np.ndarray, cell: int = 16) -> np.ndarray:
        """The truth in the model's words, in every block of pixels another part of a merged class."""
        answer = np.full(truth.shape, places["unlabeled"], np.uint8)
        coarse = rng.integers(0, 12, (truth.shape[0] // cell + 1, truth.shape[1] // cell + 1))
        pick = np.kron(coarse, np.ones((cell, cell), int))[: truth.shape[0], : truth.shape[1]]
        for place in np.unique(truth[truth != IGNORE]):
            parts = [places[name] for name in PANOPTIC_MERGES.get(names[place], (names[place],))]
            answer[truth == place] = np.array(parts)[pick[truth == place] % len(parts)]
        return answer

    answers = [says(truth) for truth in truths]
    assert len({value for answer in answers for value in np.unique(answer)}) > len(
        np.unique(np.concatenate(list(map(np.ravel, truths))))
    )
    perfect = scored(list(zip(images, answers, strict=True)), labels.space, told)
    assert set(perfect.compute().values()) == {1.0}
    assert perfect.protocol["semantic"] == "panoptic-133"
    assert perfect.protocol["semantic/answers"].startswith("coco-stuff-173")
    assert len(perfect.protocol["semantic/model classes without a place in the data"]) == 14

    wrong = [noisy(answer, rng, 173) for answer in answers]
    parts = {name: whole for whole, group in PANOPTIC_MERGES.items() for name in group}
    table = np.full(256, 200, np.uint8)  # 200 is no class
    for name, place in places.items():
        if parts.get(name, name) in names:
            table[place] = names.index(parts.get(name, name))
    metric = scored(list(zip(images, wrong, strict=True)), labels.space, told)
    expected = by_hand([(truth, table[answer]) for truth, answer in zip(truths, wrong, strict=True)], len(names))
    assert {key: value for key, value in metric.compute().items() if "super" not in key} == pytest.approx(expected)
    assert metric.confusion()[:, -1].sum() > 0


def test_supercategories_of_a_small_map(tmp_path: Path) -> None:
    """Two kinds of water taken for each other are right by group; a pixel without an answer is in no group."""
    names = {"sea": 1, "river": 5, "cat": 9}
    space = LabelSpace(semantic=tuple(Category(number, name) for name, number in names.items()))
    label = stuff_label(tmp_path, 1, np.array([[0, 0, 1, 2]]))
    metric = scored([(label, np.array([[0, 1, 0, 200]], np.uint8))], space)
    assert metric.super_confusion().tolist() == [[3, 0, 0], [0, 0, 1]]
    assert metric.compute() == pytest.approx(
        {
            "semantic/mIoU": 1 / 9,  # sea 1/3, river and cat 0
            "semantic/FWIoU": 1 / 6,
            "semantic/accuracy": 1 / 4,
            "semantic/mean-accuracy": 1 / 6,
            "semantic/super-mIoU": 1 / 2,
            "semantic/super-FWIoU": 3 / 4,
            "semantic/super-accuracy": 3 / 4,
            "semantic/super-mean-accuracy": 1 / 2,
        }
    )
    assert [table.title for table in metric.details().tables] == [
        "semantic map, class by class",
        "semantic map, by supercategory",
    ]


@pytest.mark.parametrize("groups", [("x", "x", "x"), ("x", "y", "z"), ("x", "x", "")])
def test_groups_that_say_nothing_give_no_scores(tmp_path: Path, groups: tuple[str, str, str]) -> None:
    """One group of all, one a class, or a class without one."""
    classes = zip((1, 5, 9), groups, strict=True)
    space = LabelSpace(semantic=tuple(Category(n, f"class {n}", supercategory=group) for n, group in classes))
    metric = scored([(stuff_label(tmp_path, 1, np.zeros((2, 2), int)), np.zeros((2, 2), np.uint8))], space)
    assert not any("super" in key for key in [*metric.compute(), *metric.protocol])


def test_an_image_leaves_about_two_kilobytes(shared: Path) -> None:
    """Neither maps nor the labels stay; what is kept of an image is its cells of the matrix."""
    labels = real_labels(shared, "val2017")
    rng = np.random.default_rng(0)
    answers = [(label, noisy(semantic_map(label, labels.space), rng, 133)) for label in labels.images[:20]]
    few, many = (len(pickle.dumps(scored(part, labels.space))) for part in (answers[:10], answers))
    assert (many - few) / 10 < 4000
