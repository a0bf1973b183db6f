"""Scoring without a model: the labels themselves, and result files of our own or anyone's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from yolor_mtl import cli
from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.scenes import write_scenes
from yolor_mtl.inference.evaluator import GROUND_TRUTH, evaluate_answers
from yolor_mtl.records import UserError
from yolor_mtl.tasks import TASKS

ONES = ("box/AP", "mask/AP", "semantic/mIoU", "panoptic/PQ", "caption/BLEU-4", "fitness")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("answers") / "scenes"
    write_scenes(out, train=0, val=6, seed=3, workers=1)
    return out


@pytest.fixture(scope="module")
def scenes(root: Path) -> CocoDataset:
    return open_coco(root, ["val"], cache=False)


@pytest.fixture(scope="module")
def results(scenes: CocoDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    evaluate_answers(scenes, GROUND_TRUTH).write(folder)
    return folder


def test_labels_score_one(scenes: CocoDataset) -> None:
    seen: list[int] = []
    evaluation = evaluate_answers(scenes, GROUND_TRUTH, progress=seen.append)
    assert [evaluation.scores[key] for key in ONES] == pytest.approx([1.0] * len(ONES), abs=1e-9)
    assert sum(seen) == len(scenes)
    assert evaluation.protocol["predictions"] == GROUND_TRUTH


def test_written_results_score_the_same(scenes: CocoDataset, results: Path) -> None:
    written = evaluate_answers(scenes, GROUND_TRUTH).scores
    read = evaluate_answers(scenes, str(results))
    # Whole semantic maps have no result format of COCO's, so that task is not answered by the folder.
    assert set(read.metrics) == set(TASKS) - {"semantic"}
    for key, value in read.scores.items():
        if key != "fitness":
            assert value == pytest.approx(written[key], abs=1e-6), key


def test_worse_results_score_less(scenes: CocoDataset, results: Path, tmp_path: Path) -> None:
    boxes = json.loads((results / "detections.json").read_text())
    (tmp_path / "detections.json").write_text(json.dumps([row | {"bbox": [0, 0, 5, 5]} for row in boxes[1:]]))
    evaluation = evaluate_answers(scenes, str(tmp_path))
    assert set(evaluation.metrics) == {"detection"}
    assert evaluation.scores["box/AP"] < 0.1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("detections.json", "[{", "not JSON"),
        ("detections.json", '{"a": 1}', "a list of results is needed"),
        ("detections.json", '[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]', "entry 0 has no 'category_id'"),
        ("captions.json", "[3]", "entry 0 has no 'image_id'"),
        ("panoptic.json", "{}", "under 'annotations'"),
    ],
)
def test_broken_results_are_refused(scenes: CocoDataset, tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message) as error:
        evaluate_answers(scenes, str(tmp_path))
    assert name in str(error.value)


def test_unknown_category_and_wrong_mask(scenes: CocoDataset, tmp_path: Path) -> None:
    image = scenes.annotations(0).image_id
    row = {"image_id": image, "score": 1.0}
    (tmp_path / "detections.json").write_text(json.dumps([row | {"category_id": 999, "bbox": [0, 0, 1, 1]}]))
    with pytest.raises(UserError, match="category_id 999"):
        evaluate_answers(scenes, str(tmp_path), ["detection"])
    mask = row | {"category_id": scenes.space.things[0].id, "segmentation": {"size": [1, 1], "counts": "0"}}
    (tmp_path / "segmentations.json").write_text(json.dumps([mask]))
    with pytest.raises(UserError, match=f"mask of image {image}"):
        evaluate_answers(scenes, str(tmp_path), ["instance"])


def test_nothing_there(scenes: CocoDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        evaluate_answers(scenes, str(tmp_path / "absent"))
    with pytest.raises(UserError, match="no result file"):
        evaluate_answers(scenes, str(tmp_path))
    with pytest.raises(UserError, match="did you mean 'detection'"):
        evaluate_answers(scenes, GROUND_TRUTH, ["detecton"])


def test_command(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["val", "predictions=groundtruth", f"data={root}", "split=val", f"out={tmp_path}", "--json"]
    assert cli.main(words) == 0
    told = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert told == written
    assert told["box/AP"] == pytest.approx(1.0)
    assert "precision over recall" in (tmp_path / "report.html").read_text()
    assert cli.main(["val", f"data={root}"]) == 2
    assert "model=" in capsys.readouterr().err


def test_details_order_images_and_classes(scenes: CocoDataset) -> None:
    details = evaluate_answers(scenes, GROUND_TRUTH).details()
    ids = {scenes.annotations(index).image_id for index in range(len(scenes))}
    for name, found in details.items():
        assert set(found.images) == ids, name
    boxes = details["detection"]
    assert {line.title for line in boxes.lines} == {"boxes: precision over recall", "boxes: calibration at IoU 0.50"}
    assert all(values[0] == pytest.approx(1.0) for _, values in boxes.tables[0].rows)
    matrix = details["semantic"].matrices[0]
    assert matrix.values.trace() == pytest.approx(len(matrix.rows))
    assert [row for row in matrix.columns if row != "no class"] == list(matrix.rows)
