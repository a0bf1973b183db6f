"""Box AP and AR against pycocotools."""

import json
import pickle
import tempfile
from pathlib import Path

import coco_builder as coco
import numpy as np
import pytest
import torch
from coco_reference import SPACE, Labels, coco_truth, guesses, labelled, real_labels, thing, twelve_numbers
from hypothesis import given, settings
from hypothesis import strategies as st

from yolor_mtl.data.coco import open_coco
from yolor_mtl.ops.coco_eval import CocoEvaluation
from yolor_mtl.records import Annotations, LabelSpace, Prediction
from yolor_mtl.tasks.detection.metric import BoxMetric


def prediction(rows: list[tuple[np.ndarray, float, int]]) -> Prediction:
    return {
        "boxes": torch.from_numpy(np.array([box for box, _, _ in rows], dtype=np.float32).reshape(-1, 4)),
        "scores": torch.tensor([score for _, score, _ in rows]),
        "classes": torch.tensor([category for _, _, category in rows], dtype=torch.int64),
    }


def results(pairs: list[tuple[Annotations, Prediction]], space: LabelSpace) -> list[dict]:
    """COCO's results list, made another way than the metric's."""
    return [
        {
            "image_id": label.image_id,
            "category_id": space.things[category].id,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for label, answer in pairs
        for (x1, y1, x2, y2), score, category in zip(
            *(answer[key].tolist() for key in ("boxes", "scores", "classes")), strict=True
        )
    ]


def scored(pairs: list[tuple[Annotations, Prediction]], space: LabelSpace = SPACE, max_det: int = 100) -> BoxMetric:
    metric = BoxMetric(space, max_det)
    for label, answer in pairs:
        assert metric.evaluates(label)
        metric.update(answer, label)
    return metric


def guessed(labels: Labels, seed: int = 0) -> list[tuple[Annotations, Prediction]]:
    rng = np.random.default_rng(seed)
    return [(label, prediction(guesses(label, rng, len(labels.space.things)))) for label in labels.images]


@pytest.mark.parametrize("split", ["val2017", "train2017"])
def test_case_11_real_labels_score_as_pycocotools_scores_them(shared: Path, split: str) -> None:
    labels = real_labels(shared, split)
    pairs = guessed(labels)
    numbers = scored(pairs, labels.space).compute()
    assert list(numbers)[:3] == ["box/AP", "box/AP50", "box/AP75"]
    assert list(numbers.values()) == pytest.approx(
        twelve_numbers(labels.instances, results(pairs, labels.space), "bbox"), abs=1e-9
    )
    assert 0.1 < numbers["box/AP"] < 0.9
    assert any(item.crowd for label in labels.images for item in label.objects or ())


def test_the_labels_as_predictions_are_perfect(shared: Path) -> None:
    labels = real_labels(shared, "val2017")
    pairs = [(im, prediction([(np.array(o.xyxy), 0.5, o.category) for o in im.objects or ()])) for im in labels.images]
    numbers = scored(pairs, labels.space).compute()
    assert numbers["box/AP"] == pytest.approx(1, abs=1e-9)
    assert numbers["box/AR100"] == 1


def test_written_results_score_the_same(shared: Path, tmp_path: Path) -> None:
    labels = real_labels(shared, "val2017")
    metric = scored(guessed(labels), labels.space)
    (path,) = metric.write(tmp_path)
    assert list(metric.compute().values()) == pytest.approx(twelve_numbers(labels.instances, path, "bbox"), abs=1e-9)
    assert set(json.loads(path.read_text())[0]) == {"image_id", "category_id", "bbox", "score"}


def test_two_halves_merge_into_one_whole(shared: Path) -> None:
    labels = real_labels(shared, "val2017")
    pairs = guessed(labels)
    whole, first, second = (scored(part, labels.space) for part in (pairs, pairs[60:], pairs[:70]))
    first.merge(second)  # ten images were seen by both
    assert first.compute() == whole.compute()


def test_without_objects_there_is_nothing_to_score() -> None:
    found = prediction([(np.array([1, 1, 5, 5]), 0.5, 0)])
    assert BoxMetric(SPACE).compute() == {}
    assert scored([(labelled(1), found)]).compute() == {}
    assert scored([(labelled(1, thing(4, (0, 0, 9, 9), crowd=True)), found)]).compute() == {}
    assert not BoxMetric(SPACE).evaluates(labelled(1, objects=None))


def test_without_detections_nothing_is_found() -> None:
    numbers = scored([(labelled(1, thing(1, (0, 0, 40, 40))), prediction([]))]).compute()
    assert numbers["box/AP"] == numbers["box/AR100"] == 0
    assert numbers["box/AP-small"] == -1  # none to find: pycocotools says so


def test_empty_results_are_a_json_list(tmp_path: Path) -> None:
    (path,) = scored([(labelled(1), prediction([]))]).write(tmp_path)
    assert json.loads(path.read_text()) == []


@pytest.mark.parametrize("max_det", [3, 10, 12, 100])
def test_only_the_best_of_a_class_count(max_det: int) -> None:
    rng = np.random.default_rng(3)
    objects = [thing(i, (i, 0, i + 8.0, 30)) for i in range(1, 70, 2)]
    label = labelled(5, *objects)
    rows = [(np.array(o.xyxy) + rng.normal(0, 0.4, 4), round(float(rng.random()), 2), 0) for o in objects * 5]
    pairs = [(label, prediction(rows))]
    expected = twelve_numbers(coco_truth([label], SPACE), results(pairs, SPACE), "bbox", max_det)
    numbers = scored(pairs, max_det=max_det).compute()
    assert f"box/AR{max_det}" in numbers
    assert numbers["box/AP"] == pytest.approx(expected[0], abs=1e-9)
    recalls = [numbers[f"box/AR{limit}"] for limit in (1, 10, max_det)]
    assert recalls == pytest.approx(expected[6:9], abs=1e-9)


boxes = st.tuples(*(st.integers(0, 40) for _ in range(2)), *(st.integers(1, 39) for _ in range(2))).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]) if b[1] + b[3] < 60 else 60.0)
)
truths = st.lists(st.tuples(boxes, st.integers(0, 1), st.booleans()), max_size=5)
found = st.lists(st.tuples(boxes, st.sampled_from([0.25, 0.5, 1.0]), st.integers(0, 2)), max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(truths, found), min_size=1, max_size=3))
def test_odd_cases_score_as_pycocotools_scores_them(images: list) -> None:
    """Few objects, equal scores, crowds, images without either; class 2 never has an object."""
    labels = [
        labelled(40 - i, *(thing(n, box, c, crowd) for n, (box, c, crowd) in enumerate(truth)))
        for i, (truth, _) in enumerate(images)
    ]
    pairs = [
        (la, prediction([(np.array(b), s, c) for b, s, c in f])) for la, (_, f) in zip(labels, images, strict=True)
    ]
    numbers = scored(pairs).compute()
    if all(item.crowd for label in labels for item in label.objects or ()):
        assert numbers == {}
    else:
        expected = twelve_numbers(coco_truth(labels, SPACE), results(pairs, SPACE), "bbox")
        assert list(numbers.values()) == pytest.approx(expected, abs=1e-9)


raw_boxes = st.tuples(st.integers(-30, 90), st.integers(-30, 70), st.integers(-3, 60), st.integers(-3, 60))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(raw_boxes, st.integers(0, 1), st.booleans(), st.floats(0, 1)), min_size=1, max_size=6))
def test_labels_are_scored_as_the_file_states_them(rows: list) -> None:
    """From the file to the numbers: boxes that leave the picture, without area or with a negative side, and crowds."""
    categories = coco.classes(cat=1, dog=2)
    things = [
        coco.thing(n, n % 2, c + 1, bbox=list(b), iscrowd=int(crowd), area=b[2] * b[3])
        for n, (b, c, crowd, _) in enumerate(rows, start=1)
    ]
    truth = coco.instances([coco.image(k, width=80, height=60) for k in (0, 1)], things, categories)
    with tempfile.TemporaryDirectory() as folder:
        data = open_coco(coco.split(Path(folder), "val", instances=truth), ["val"], cache=False)
        labels = [data.annotations(index) for index in range(len(data))]
    found = [
        (
            label,
            prediction([(np.array(o.xyxy) + (n % 3), rows[o.id - 1][3], o.category) for n, o in enumerate(objects)]),
        )
        for label in labels
        for objects in [label.objects or ()]
    ]
    numbers = scored(found, data.space).compute()
    if all(row["iscrowd"] for row in things):
        assert numbers == {}
    else:
        expected = twelve_numbers(truth, results(found, data.space), "bbox")
        assert list(numbers.values()) == pytest.approx(expected, abs=1e-9)


def test_one_evaluation_serves_numbers_and_details_until_an_image_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(*args: object, **more: object) -> CocoEvaluation:
        made.append(args)
        return CocoEvaluation(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("yolor_mtl.tasks.detection.metric.CocoEvaluation", counted)
    metric, other = BoxMetric(SPACE), BoxMetric(SPACE)
    for number, each in ((1, metric), (2, other)):
        label = labelled(number, thing(number, (0, 0, 20, 20)))
        each.update(prediction([(np.array((0.0, 0, 20, 20)), 0.5, 0)]), label)
    first = metric.compute()
    metric.details()
    assert len(made) == 1
    metric.merge(other)
    assert len(metric.details().images) == 2
    assert len(made) == 2
    label = labelled(3, thing(3, (0, 0, 20, 20)))
    metric.update(prediction([]), label)
    assert metric.compute() != first
    assert len(made) == 3
    assert pickle.loads(pickle.dumps(metric)).compute() == metric.compute()
