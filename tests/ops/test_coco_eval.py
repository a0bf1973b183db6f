"""The twelve numbers on plain lists; the metrics' tests compare them with pycocotools on real labels."""

from typing import Any

import pytest
from coco_reference import SPACE, coco_truth, labelled, thing, twelve_numbers
from pycocotools import mask

from yolor_mtl.ops.coco_eval import CocoEvaluation, truth_rows
from yolor_mtl.ops.details import Details

NAMES = ["AP", "AP50", "AP75", "AP-small", "AP-medium", "AP-large"]
NAMES += ["AR1", "AR10", "AR100", "AR-small", "AR-medium", "AR-large"]


def box(image_id: int, xywh: tuple[float, ...], score: float, category: int = 1) -> dict:
    return {"image_id": image_id, "category_id": category, "bbox": list(xywh), "score": score}


def numbers(labels: list, results: list[dict], max_det: int = 100) -> dict[str, float]:
    images = [{"id": label.image_id, "width": label.width, "height": label.height} for label in labels]
    truth = [row for label in labels for row in truth_rows(label, SPACE.things)]
    return CocoEvaluation(images, SPACE.things, truth, results, "bbox", max_det).numbers()


def test_truth_rows_carry_the_files_own_values() -> None:
    label = labelled(12, thing(5, (1, 2, 4, 9), category=2, crowd=True))
    assert truth_rows(label, SPACE.things) == [
        {"image_id": 12, "category_id": 3, "bbox": [1, 2, 3, 7], "area": 21, "iscrowd": 1}
    ]
    assert truth_rows(labelled(1, objects=None), SPACE.things) == []


def test_names_and_order() -> None:
    found = numbers([labelled(1, thing(1, (0, 0, 20, 20)))], [box(1, (0, 0, 20, 20), 0.5)])
    assert list(found) == NAMES
    assert found["AP"] == found["AP-small"] == pytest.approx(1, abs=1e-9)
    assert found["AP-medium"] == found["AR-large"] == -1


def test_the_last_limit_names_its_recall() -> None:
    found = numbers([labelled(1, thing(1, (0, 0, 20, 20)))], [], max_det=300)
    assert list(found)[6:9] == ["AR1", "AR10", "AR300"]


@pytest.mark.parametrize("ids", [(0, 1), (1, 2)])
def test_an_annotation_whose_id_is_0_counts_as_any_other(ids: tuple[int, int]) -> None:
    objects = [thing(number, (30.0 * number, 0, 30.0 * number + 20, 20)) for number in ids]
    found = numbers([labelled(1, *objects)], [box(1, (*item.xyxy[:2], 20, 20), 0.5) for item in objects])
    assert found["AR100"] == 1


@pytest.mark.parametrize("order", [1, -1])
def test_equal_scores_keep_the_order_they_came_in(order: int) -> None:
    """One hit and one miss with one score: AP depends on which comes first, and pycocotools takes it as it comes."""
    label = labelled(1, thing(1, (0, 0, 20, 20)))
    results = [box(1, (0, 0, 20, 20), 0.5), box(1, (40, 40, 20, 20), 0.5)][::order]
    expected = twelve_numbers(coco_truth([label], SPACE), results, "bbox")
    assert list(numbers([label], results).values()) == pytest.approx(expected, abs=1e-12)
    assert expected[0] == pytest.approx(1 if order == 1 else 0.5, abs=1e-6)


@pytest.mark.parametrize(("factor", "drawn"), [(1, 2), (100, 1), (-1, 1)])
def test_scores_need_not_be_probabilities(factor: float, drawn: int) -> None:
    label = labelled(1, thing(1, (0, 0, 20, 20)))
    results = [box(1, (0, 0, 20, 20), 0.5 * factor)]
    images = [{"id": 1, "width": label.width, "height": label.height}]
    evaluation = CocoEvaluation(images, SPACE.things, truth_rows(label, SPACE.things), results, "bbox")
    assert evaluation.numbers()["AP"] == pytest.approx(1, abs=1e-9)
    assert len(evaluation.details("boxes").lines) == drawn


def test_nothing_to_find_gives_no_numbers() -> None:
    assert numbers([], []) == {}
    assert numbers([labelled(1)], [box(1, (0, 0, 5, 5), 0.9)]) == {}
    assert numbers([labelled(1, thing(1, (0, 0, 9, 9), crowd=True))], []) == {}


def rectangle(left: float, top: float, width: float, height: float) -> Any:
    """A rectangle of a picture of :func:`labelled` as RLE."""
    right, bottom = left + width, top + height
    return mask.merge(mask.frPyObjects([[left, top, right, top, right, bottom, left, bottom]], 60, 80))


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_case_03_results_in_a_crowd_are_neither_right_nor_wrong(kind: Any) -> None:
    """A crowd excuses any number of results whose own area lies in it, and is not missed if nobody finds it.

    One result has ten of its twelve columns in the crowd: from a threshold of 0.85 on, which is three of ten, it is
    wrong and comes before the only right one, which halves the precision.
    """
    label = labelled(1, thing(1, (0, 0, 20, 20)), thing(2, (30, 0, 70, 50), crowd=True))
    inside = [box(1, (35 + i, 5, 9, 9), 0.9) for i in range(3)]
    right = box(1, (0, 0, 20, 20), 0.1)
    truth = coco_truth([label], SPACE)
    for row in truth["annotations"]:
        row["segmentation"] = rectangle(*row["bbox"])

    def scored(*results: dict) -> dict[str, float]:
        answers = [result | {"segmentation": rectangle(*result["bbox"])} for result in results]
        if kind == "segm":
            answers = [{key: value for key, value in answer.items() if key != "bbox"} for answer in answers]
        found = CocoEvaluation(truth["images"], SPACE.things, truth["annotations"], answers, kind).numbers()
        assert list(found.values()) == pytest.approx(twelve_numbers(truth, answers, kind), abs=1e-12)
        return found

    assert scored(right)["AR100"] == scored(*inside, right)["AR100"] == 1
    assert scored(*inside, right)["AP"] == pytest.approx(1, abs=1e-9)
    astride = scored(*inside, box(1, (60, 5, 12, 9), 0.9), right)
    assert astride["AP50"] == pytest.approx(1, abs=1e-9)
    assert astride["AP"] == pytest.approx(0.85, abs=1e-9)
    assert scored(*inside, box(1, (10, 50, 9, 9), 0.9), right)["AP"] == pytest.approx(0.5, abs=1e-9)


def test_inputs_stay_as_they_are() -> None:
    label = labelled(1, thing(1, (0, 0, 20, 20)))
    results = [box(1, (0, 0, 20, 20), 0.5)]
    numbers([label], results)
    assert results == [box(1, (0, 0, 20, 20), 0.5)]


def details(labels: list, results: list[dict]) -> Details:
    images = [{"id": label.image_id, "width": label.width, "height": label.height} for label in labels]
    truth = [row for label in labels for row in truth_rows(label, SPACE.things)]
    return CocoEvaluation(images, SPACE.things, truth, results, "bbox").details("boxes")


def test_each_class_has_its_sizes() -> None:
    """A class alone has the numbers that pycocotools gives for it; the classes are not in the order of their ids."""
    cats, dogs = [thing(1, (0, 0, 20, 20)), thing(2, (0, 0, 50, 50))], [thing(3, (20, 20, 60, 60), category=1)]
    label = labelled(1, *cats, *dogs)
    results = [box(1, (0, 0, 19, 20), 0.9), box(1, (0, 0, 50, 40), 0.8), box(1, (20, 20, 40, 37), 0.7, category=7)]
    found = details([label], results).by_class()
    assert list(found) == ["dog", "cat"]  # the best first
    for name, number, objects in (("cat", 1, cats), ("dog", 7, dogs)):
        own = [row for row in results if row["category_id"] == number]
        expected = dict(
            zip(NAMES, twelve_numbers(coco_truth([labelled(1, *objects)], SPACE), own, "bbox"), strict=True)
        )
        assert found[name] == pytest.approx({key: expected[key] for key in NAMES if key not in ("AR1", "AR10")})


def test_what_is_said_where_nothing_is_is_shown() -> None:
    label = labelled(1, thing(1, (0, 0, 20, 20)), thing(2, (30, 0, 50, 20), category=1))
    results = [box(1, (0, 0, 20, 20), 0.9), *(box(1, (60, 10 * i, 9, 9), 0.9, category=3) for i in range(3))]
    (matrix,) = details([label], results).matrices
    rows = [dict(zip(matrix.columns, values, strict=True)) for values in matrix.values.tolist()]
    shares = dict(zip(matrix.rows, rows, strict=True))
    assert matrix.rows[-1] == "background"
    assert shares["background"]["owl"] == 1
    assert shares["cat"]["cat"] == shares["dog"]["missed"] == 1
    assert shares["background"]["missed"] == 0
