"""``yolor-mtl data check`` as a whole, and what training and prediction do with the same faults."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import broken
import coco_builder as coco
import pytest
import runs
from PIL import Image

from yolor_mtl.data.check.table import CHECKS


def several(root: Path) -> Path:
    """A set with faults of all severities: of three pictures one each, of a box, a mask and a caption."""
    broken.clean(root, train=8, val=3)
    shutil.copy(root / "images/train/000001.jpg", root / "images/train/spare.jpg")
    broken.PICTURES["PNG cut off"].inject(root)
    (root / "images/train/000003.jpg").unlink()
    broken._saved_as(root / "images/train/000004.jpg", "JPEG", (41, 30))
    for name in ("box inverted", "RLE with a wrong sum", "caption empty", "segment's area"):
        broken.LABELS[name].inject(root)
    return root


def test_a_sound_set(command: runs.Command, tmp_path: Path) -> None:
    said = command("data", "check", str(broken.clean(tmp_path)))
    assert said.code == 0
    assert "no errors, 0 warnings" in said.out
    assert "labelled for panoptic" in said.out


def test_warnings_are_no_errors(command: runs.Command, tmp_path: Path) -> None:
    broken.LABELS["polygon crosses itself"].inject(broken.clean(tmp_path))
    said = command("data", "check", str(tmp_path))
    assert said.code == 0
    assert "no errors, 1 warnings" in said.out
    assert "polygon-crosses" in said.out


def test_faults_in_terminal_page_and_json(command: runs.Command, tmp_path: Path) -> None:
    root, out = several(tmp_path / "data"), tmp_path / "out"
    said = command("data", "check", str(root), f"out={out}")
    assert said.code == 1
    told = json.loads((out / "check.json").read_text())
    assert told == command("data", "check", f"path={root}", "--json").json()
    assert told["schema"] == 1
    assert told["summary"]["error"] == sum(row["count"] for row in told["checks"] if row["severity"] == "error")
    by_check = {finding["check"]: finding for finding in told["findings"]}
    assert {"image-missing", "image-size", "image-truncated", "box-inverted", "rle-sum", "caption-empty",
            "segment-area", "image-unlisted"} == by_check.keys()  # fmt: skip
    for name, finding in by_check.items():
        assert finding["severity"] == CHECKS[name].severity
        assert finding["remedy"] == CHECKS[name].remedy
        assert name in said.out
    box = by_check["box-inverted"]
    assert box["file"].endswith("annotations/instances_train.json")
    assert (box["place"], box["annotation_id"], box["image_id"], box["image"]) == (
        "annotations[0]", 3, 1, "000001.jpg",
    )  # fmt: skip
    assert told["splits"]["train"]["labelled"]["boxes"] == 8
    assert told["classes"]["cat"] == {"train": 8, "val": 3}
    page = (out / "check.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 3
    assert "http" not in page
    for name in by_check:
        assert name in page


def test_long_lists_are_cut_on_the_terminal_only(command: runs.Command, tmp_path: Path) -> None:
    broken.clean(tmp_path, train=9)
    for path in sorted((tmp_path / "images/train").iterdir())[:8]:
        path.unlink()
    said = command("data", "check", str(tmp_path))
    assert said.out.count("no such file") == 5
    assert "and 3 more" in said.out
    told = command("data", "check", str(tmp_path), "--json").json()
    assert sum(finding["check"] == "image-missing" for finding in told["findings"]) == 8


def test_fix(command: runs.Command, tmp_path: Path) -> None:
    root, copy = several(tmp_path / "data"), tmp_path / "copy"
    said = command("data", "check", str(root), "fix=true", f"out={copy}")
    assert said.code == 0, said
    assert "the copy has 0 errors, 0 warnings" in said.out
    assert "hard-linked" in said.out
    assert json.loads((copy / "check.json").read_text())["summary"]["error"] == 5
    again = command("data", "check", str(copy))
    assert again.code == 0
    trained = command("train", *runs.words(data=copy, out=tmp_path / "run", epochs=1))
    assert trained.code == 0, trained
    assert "skipped" not in trained.out


@pytest.mark.parametrize("how", ["images=false", "images=none", "images=head"])
def test_pictures_need_not_be_opened(command: runs.Command, tmp_path: Path, how: str) -> None:
    broken.PICTURES["JPEG cut off"].inject(broken.clean(tmp_path))
    said = command("data", "check", str(tmp_path), how)
    assert said.code == 0
    assert "pictures were not decoded" in said.out


def test_several_processes(command: runs.Command, tmp_path: Path) -> None:
    broken.clean(tmp_path, train=40)
    for name in ("JPEG cut off", "panoptic PNG cut off"):
        {**broken.PICTURES, **broken.LABELS}[name].inject(tmp_path)
    alone, both = (command("data", "check", str(tmp_path), f"workers={n}", "--json").json() for n in (1, 2))
    assert alone == both
    assert alone["summary"]["error"] == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_processes_that_open_pictures(tmp_path: Path, number: signal.Signals, code: int) -> None:
    folder = tmp_path / "data/images/train"
    images = [coco.image(number, width=2000, height=2000) for number in range(1, 401)]
    coco.split(tmp_path / "data", "train", captions={"images": images, "annotations": []})
    Image.new("RGB", (2000, 2000)).save(folder / "one.jpg")
    for entry in images:
        (folder / entry["file_name"]).hardlink_to(folder / "one.jpg")
    process = runs.shell(["data", "check", str(tmp_path / "data"), "workers=2"], tmp_path)
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not listed.exists():
        process.kill()
        pytest.skip("this system does not list a process's children")
    children: list[str] = []
    while len(children) < 2 and process.poll() is None:
        children = listed.read_text().split() if listed.exists() else []
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert len(children) == 2
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_refused(command: runs.Command, tmp_path: Path) -> None:
    root = broken.clean(tmp_path / "data")
    runs.refused(command("data", "check"), "data set is missing", "data check path/to/coco")
    runs.refused(command("data", "check", str(tmp_path / "absent")), "absent")
    runs.refused(command("data", "check", str(root), "images=wole"), "images='wole'", "did you mean 'whole'?")
    runs.refused(command("data", "check", str(root), "workers=-1"), "workers=-1")
    runs.refused(command("data", "check", str(root), "fix=true"), "out= is missing")
    runs.refused(command("data", "check", str(root), "fix=true", f"out={root}"), "never written in place")
    runs.refused(command("data", "check", str(root), "fix=true", f"out={root}/copy"), "never written in place")
    runs.refused(command("data", "check", str(root), "fix=true", "images=none", f"out={tmp_path}/c"), "images=none")
    one = root / "annotations/instances_train.json"
    runs.refused(command("data", "check", str(one), "fix=true", f"out={tmp_path}/c"), "is one file")
    (tmp_path / "empty").mkdir()
    runs.refused(command("data", "check", str(tmp_path / "empty")), "no annotations found")
    for path in (root / "annotations").glob("*.json"):
        path.write_text("[")
    runs.refused(command("data", "check", str(root)), "nothing to check could be read", ".json")
    assert not (tmp_path / "c").exists()


def test_prediction_skips_and_lists_broken_pictures(command: runs.Command, trained: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    unreadable = {"image-empty", "image-truncated", "image-damaged", "image-unreadable", "image-huge"}
    expected = set()
    for number, (name, fault) in enumerate(broken.PICTURES.items()):
        root = broken.clean(tmp_path / f"data{number}")
        fault.inject(root)
        if fault.check not in unreadable or name == "a folder":
            continue
        source = broken.SECOND if name in ("PNG cut off", "PNG damaged", "claims to be huge") else broken.FIRST
        shutil.copy(root / "images/train" / source, pictures / f"{number:02}-{source}")
        expected.add(f"{number:02}-{source}")
    shutil.copy(root / "images/train/000004.jpg", pictures / "sound.jpg")
    said = command("predict", f"model={trained}", f"source={pictures}", f"out={tmp_path / 'out'}", "imgsz=64")
    assert said.code == 1
    failed = json.loads((tmp_path / "out/failures.json").read_text())
    assert {Path(entry["path"]).name for entry in failed} == expected
    assert len(expected) == 8
    lines = (tmp_path / "out/predictions.jsonl").read_text().splitlines()
    assert [Path(json.loads(line)["path"]).name for line in lines] == ["sound.jpg"]
