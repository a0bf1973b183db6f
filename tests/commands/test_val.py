"""``yolor-mtl val``: flat scores, their protocol, and results in COCO's formats."""

import json
import re
import shutil
import warnings
from pathlib import Path

import pytest
import runs

KEYS = {
    "box/AP",
    "box/AP50",
    "mask/AP",
    "mask/AP50",
    "semantic/mIoU",
    "semantic/FWIoU",
    "semantic/accuracy",
    "panoptic/PQ",
    *(f"caption/BLEU-{n}" for n in (1, 2, 3, 4)),
    "caption/ROUGE-L",
    "caption/CIDEr",
    "fitness",
}


@pytest.fixture(scope="module")
def given(trained: Path, scenes: Path) -> list[str]:
    return ["val", f"model={trained}", f"data={scenes}", "plots=1", "workers=0", "conf=0", "max_det=20"]


def test_files(command: runs.Command, given: list[str], tmp_path: Path) -> None:
    said = command(*given, f"out={tmp_path}")
    assert said.code == 0
    scores = json.loads((tmp_path / "metrics.json").read_text())
    protocol, classes = scores.pop("protocol"), scores.pop("classes")
    assert scores.keys() >= KEYS
    assert set(classes) == {"box", "mask", "semantic", "panoptic"}
    assert {"AP", "AP50", "AP-small", "AP-medium", "AP-large"} <= set(next(iter(classes["box"].values())))
    assert all(isinstance(value, float | int) for value in scores.values())
    assert protocol["splits"] == ["val"]
    assert protocol["decoding"]["text"] == "greedy"
    detections, segmentations, captions = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("detections", "segmentations", "captions")
    )
    assert detections[0].keys() == {"image_id", "category_id", "bbox", "score"}
    assert segmentations[0].keys() >= {"image_id", "category_id", "segmentation", "score"}
    assert len(captions) == len({entry["image_id"] for entry in captions}) == 4
    panoptic = json.loads((tmp_path / "panoptic.json").read_text())["annotations"]
    assert all((tmp_path / "panoptic" / entry["file_name"]).is_file() for entry in panoptic)
    assert len(panoptic) == 4
    table = " ".join(said.out.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " ").split())
    for group in ("box", "mask", "panoptic", "caption", "semantic"):
        assert protocol[f"{group}/decoding"] in table
    for part in ("loading", "inference", "postprocess", "scoring", "writing", "report"):
        assert re.search(rf"time:.*{part} [0-9.]+ s", said.out)
    assert "metrics.json, result files and report.html" in said.out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(key.partition("/")[2] in page for key in KEYS)


def test_pure_json_and_beam(command: runs.Command, given: list[str], tmp_path: Path) -> None:
    said = command(*given, f"out={tmp_path}", "tasks=captioning", "beam=2", "conf=0.5", "--json")
    scores = said.json()
    assert said.code == 0
    assert scores["protocol"]["decoding"]["text"] == "beam 2"
    assert not any(key.startswith("box/") for key in scores)


def test_broken_pictures_are_listed(command: runs.Command, given: list[str], scenes: Path, tmp_path: Path) -> None:
    for entry in scenes.iterdir():
        if entry.name != "val":
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "val").mkdir()
    first, *others = sorted((scenes / "val").iterdir())
    for path in others:
        (tmp_path / "val" / path.name).symlink_to(path)
    said = command(*given, f"data={tmp_path}", f"out={tmp_path / 'out'}", "tasks=[semantic]", "conf=0.5")
    assert said.code == 1
    assert "precision curve" in said.out
    assert first.name in said.out
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["protocol"]["pictures"] == 3


def test_a_second_run_leaves_nothing_of_the_first(command: runs.Command, given: list[str], tmp_path: Path) -> None:
    out = f"out={tmp_path}"
    assert command(*given, out, "tasks=[detection]", "extremes=0").code == 0
    (tmp_path / "notes.txt").write_text("mine")
    assert command(*given, out, "tasks=[captioning]", "extremes=0").code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"captions.json", "metrics.json", "report.html", "notes.txt"}


def test_result_files_are_told_apart_and_drawn(
    command: runs.Command, given: list[str], scenes: Path, tmp_path: Path
) -> None:
    model, answers = tmp_path / "model", tmp_path / "answers"
    assert command(*given, f"out={model}", "extremes=0").code == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # matplotlib warns of a diagram without anything in it
        said = command("val", f"predictions={model}", f"data={scenes}", f"out={answers}", "plots=2", "extremes=1")
    assert said.code == 0
    assert f"metrics.json and report.html in {answers}/" in said.out
    assert f"as given in {model}" in " ".join(said.out.split())
    assert re.search(r"time: reading [0-9.]+ s.*scoring.*writing.*report", said.out)
    assert {path.name for path in answers.iterdir()} == {"metrics.json", "report.html"}
    page = (answers / "report.html").read_text(encoding="utf-8")
    captions = json.loads((model / "captions.json").read_text())
    assert any(entry["caption"] in page for entry in captions)
    assert page.count("data:image/jpeg") == 2 * (2 + 2 * 4)  # a worst and a best of the four tasks with files
    assert (model / "detections.json").is_file()


def test_nothing_labelled_is_refused(command: runs.Command, scenes: Path, tmp_path: Path) -> None:
    for entry in scenes.iterdir():
        if entry.name != "annotations":
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val.json").symlink_to(scenes / "annotations" / "instances_val.json")
    words = ["val", "predictions=groundtruth", f"data={tmp_path}", f"out={tmp_path / 'out'}", "plots=0", "extremes=0"]
    runs.refused(command(*words, "tasks=captioning"), "captioning", "split val", "annotations/captions_val.json")
    runs.refused(command(*words, "tasks=[semantic]"), "semantic", "panoptic_val.json", "stuffthingmaps/val/")
    runs.refused(command(*words, "tasks=[panoptic]"), "panoptic", "annotations/panoptic_val.json")
    assert not (tmp_path / "out").exists()
    said = command(*words)
    assert said.code == 0
    assert "not scored: semantic: no picture of split val is labelled for it; captioning: no picture" in said.out
    assert "PQ over" not in said.out


def test_another_model_beside(command: runs.Command, given: list[str], trained: Path, tmp_path: Path) -> None:
    said = command(*given, f"out={tmp_path}", f"beside={trained}", "extremes=0")
    assert said.code == 0
    scores = json.loads((tmp_path / "metrics.json").read_text())
    (row,) = re.findall(r"box/AP .*", said.out)
    assert re.findall(r"\d\.\d{3}", row) == [f"{scores['box/AP']:.3f}"] * 2
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 3
    assert page.count(f'<span class="who">{trained}</span>') == 1


def test_what_cannot_stand_beside(
    command: runs.Command, given: list[str], trained: Path, scenes: Path, tmp_path: Path
) -> None:
    said = command("val", "predictions=groundtruth", f"data={scenes}", f"beside={trained}", f"out={tmp_path}")
    assert (said.code, "beside=" in said.err, "model=" in said.err) == (2, True, True)
    coco = tmp_path / "annotations"
    shutil.copytree(scenes / "annotations", coco)
    (tmp_path / "val").symlink_to(scenes / "val")
    for file in coco.glob("*_val.json"):
        file.write_text(file.read_text().replace('"person"', '"human"'))
    said = command("val", f"model={trained}", f"data={tmp_path}", f"beside={trained}", f"out={tmp_path / 'out'}")
    assert said.code == 2
    assert f"beside={trained} cannot be scored on this data" in said.err
