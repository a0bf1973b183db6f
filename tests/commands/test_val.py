"""``yolor-mtl val``: flat scores, their protocol, and results in COCO's formats."""

import json
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
    protocol = scores.pop("protocol")
    assert scores.keys() >= KEYS
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
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(key.partition("/")[2] in page for key in KEYS)


def test_pure_json_and_beam(command: runs.Command, given: list[str], tmp_path: Path) -> None:
    said = command(*given, f"out={tmp_path}", "tasks=[captioning]", "beam=2", "conf=0.5", "--json")
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
