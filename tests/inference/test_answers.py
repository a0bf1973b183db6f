"""Scoring without a model: the labels themselves, and result files of our own or anyone's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import coco_builder as coco
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
    page = (tmp_path / "report.html").read_text()
    assert "precision over recall" in page
    assert all(title in page for title in ("Pictures", "Worst for detection", "Best for captioning", "the answers"))
    assert page.count("data:image/jpeg") == 2 * (6 + 2 * 2 * 5)  # all six, and two worst and two best of five tasks
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


def test_scores_by_class(scenes: CocoDataset) -> None:
    classes = evaluate_answers(scenes, GROUND_TRUTH).to_dict()["classes"]
    assert set(classes) == {"box", "mask", "semantic", "panoptic"}
    assert {"AP", "AP50", "AP75", "AP-small", "AP-medium", "AP-large"} <= set(next(iter(classes["box"].values())))
    present = {item.category for index in range(len(scenes)) for item in scenes.annotations(index).objects or ()}
    assert set(classes["box"]) == set(classes["mask"]) == {scenes.space.names[category] for category in present}
    assert all(row["IoU"] == 1 for row in classes["semantic"].values())
    assert all(row["PQ"] == row["SQ"] == row["RQ"] == 1 for row in classes["panoptic"].values())


def test_how_they_were_decoded_is_not_known(scenes: CocoDataset, results: Path) -> None:
    said = evaluate_answers(scenes, str(results)).protocol
    groups = ("box", "mask", "caption", "panoptic")
    assert {said[f"{group}/decoding"] for group in groups} == {f"as given in {results}"}
    assert evaluate_answers(scenes, GROUND_TRUTH).protocol["semantic/decoding"] == "the labels themselves"


def test_an_image_that_the_data_has_not(scenes: CocoDataset, tmp_path: Path) -> None:
    row = {"image_id": 987654, "score": 1.0, "category_id": scenes.space.things[0].id, "bbox": [0, 0, 1, 1]}
    (tmp_path / "detections.json").write_text(json.dumps([row]))
    with pytest.raises(UserError, match="987654"):
        evaluate_answers(scenes, str(tmp_path))


def test_a_task_asked_for_needs_labels_and_answers(root: Path, results: Path, tmp_path: Path) -> None:
    for entry in root.iterdir():
        (tmp_path / entry.name).mkdir() if entry.name == "annotations" else (tmp_path / entry.name).symlink_to(entry)
    for path in (root / "annotations").iterdir():
        if not path.name.startswith("captions"):
            (tmp_path / "annotations" / path.name).symlink_to(path)
    data = open_coco(tmp_path, ["val"], cache=False)
    with pytest.raises(UserError, match=r"nothing to score captioning by.*split val.*annotations/captions_val\.json"):
        evaluate_answers(data, GROUND_TRUTH, ["captioning", "detection"])
    evaluation = evaluate_answers(data, GROUND_TRUTH)
    assert set(evaluation.metrics) == set(TASKS) - {"captioning"}
    assert list(evaluation.protocol["not scored"]) == ["captioning"]
    assert not any(key.startswith("caption/") for key in [*evaluation.scores, *evaluation.protocol])
    with pytest.raises(UserError, match=r"no semantic/<stem>\.png in it.*leave semantic out"):
        evaluate_answers(data, str(results), ["detection", "semantic"])


def test_labels_without_anything_to_find(tmp_path: Path) -> None:
    content = coco.instances([coco.image(1)], [coco.thing(1, 1, iscrowd=1)])
    data = open_coco(coco.split(tmp_path, "val", instances=content), ["val"], cache=False)
    with pytest.raises(UserError, match=r"nothing to score in split val.*detection"):
        evaluate_answers(data, GROUND_TRUTH, ["detection"])


def test_time_by_part(scenes: CocoDataset, results: Path, tmp_path: Path) -> None:
    evaluation = evaluate_answers(scenes, str(results))
    evaluation.write(tmp_path)
    assert list(evaluation.seconds) == ["reading", "scoring", "writing"]
    assert all(seconds > 0 for seconds in evaluation.seconds.values())


@pytest.fixture
def earlier(scenes: CocoDataset, tmp_path: Path) -> Path:
    """What an evaluation of a model left, and files of the user's own."""
    evaluation = evaluate_answers(scenes, GROUND_TRUTH)
    del evaluation.protocol["predictions"]
    evaluation.write(tmp_path)
    for name in ("mine.json", "panoptic/mine.png"):
        (tmp_path / name).write_text("{}")
    return tmp_path


RESULTS = {"detections.json", "segmentations.json", "captions.json", "panoptic.json"}


def test_results_of_an_earlier_evaluation_go(scenes: CocoDataset, earlier: Path) -> None:
    assert {path.name for path in earlier.iterdir()} == {*RESULTS, "panoptic", "metrics.json", "mine.json"}
    evaluation = evaluate_answers(scenes, GROUND_TRUTH, ["captioning"])
    evaluation.write(earlier)
    assert {path.name for path in earlier.iterdir()} == {"captions.json", "panoptic", "metrics.json", "mine.json"}
    assert [path.name for path in (earlier / "panoptic").iterdir()] == ["mine.png"]


def test_a_folder_of_pictures_without_others_goes(scenes: CocoDataset, earlier: Path) -> None:
    (earlier / "panoptic" / "mine.png").unlink()
    evaluate_answers(scenes, GROUND_TRUTH, ["captioning"]).write(earlier)
    assert not (earlier / "panoptic").exists()


@pytest.mark.parametrize("hostile", ["{}", "[", '{"annotations": [{"file_name": "../mine.json"}, {}]}'])
def test_nothing_outside_goes(scenes: CocoDataset, earlier: Path, hostile: str) -> None:
    (earlier / "panoptic.json").write_text(hostile)
    evaluate_answers(scenes, GROUND_TRUTH, ["captioning"]).write(earlier)
    assert (earlier / "mine.json").is_file()
    assert (earlier / "panoptic" / "mine.png").is_file()


def test_what_was_given_stays(scenes: CocoDataset, earlier: Path, results: Path, tmp_path_factory: Any) -> None:
    evaluate_answers(scenes, str(earlier), ["captioning"]).write(earlier, results=False)
    assert {path.name for path in earlier.iterdir()} >= RESULTS  # scored in place
    evaluate_answers(scenes, GROUND_TRUTH, ["detection"]).write(earlier, results=False)
    assert {path.name for path in earlier.iterdir()} >= RESULTS  # what was scored in place belongs to somebody
    foreign = tmp_path_factory.mktemp("foreign")
    (foreign / "detections.json").write_text("[]")
    evaluate_answers(scenes, GROUND_TRUTH, ["captioning"]).write(foreign)
    assert (foreign / "detections.json").is_file()  # no evaluation was here
