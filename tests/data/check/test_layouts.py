"""Text labels, Roboflow's layout and YAML files are checked and cleaned as COCO's folder is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import broken
import coco_builder as coco
import numpy as np
import pytest
import yaml
from PIL import Image

from yolor_mtl.data.check.copy import write_copy
from yolor_mtl.data.check.result import Checked
from yolor_mtl.data.check.run import check_data
from yolor_mtl.data.check.table import CHECKS
from yolor_mtl.data.coco import open_coco
from yolor_mtl.data.locate import find_layout
from yolor_mtl.records import UserError

BOX, OUTLINE = "1 0.5 0.5 0.25 0.5\n", "0 0.1 0.1 0.9 0.1 0.5 0.9\n"


def checked(root: Path) -> Checked:
    return check_data(find_layout(root), workers=1)


def serious(said: Checked) -> dict[str, int]:
    return {name: count for name, count in said.findings.counts().items() if CHECKS[name].severity != "note"}


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 40, 3), dtype=np.uint8)).save(path)


def yolo(root: Path) -> Path:
    """Two pictures to train on and one to validate on."""
    for seed, (split, name, text) in enumerate((("train", "a", BOX), ("train", "b", OUTLINE), ("val", "c", BOX))):
        picture(root / f"images/{split}/{name}.jpg", seed)
        coco.write(root / f"labels/{split}/{name}.txt", text)
    coco.write(root / "data.yaml", "train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return root


def lines(text: str) -> Callable[[Path], object]:
    return lambda root: coco.write(root / "labels/train/a.txt", text)


TEXTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "three values": (lines("1 0.5 0.5 0.5\n" + BOX), "line-broken"),
    "words": (lines("cat 0.5 0.5 0.5 0.5\n" + BOX), "line-broken"),
    "unknown class": (lines("7 0.5 0.5 0.5 0.5\n" + BOX), "category-unknown"),
    "NaN": (lines("1 nan 0.5 0.5 0.5\n" + BOX), "box-not-finite"),
    "pixels": (lines("1 20 10 10 5\n" + BOX), "box-outside"),
    "negative width": (lines("1 0.5 0.5 -0.2 0.5\n" + BOX), "box-inverted"),
    "no width": (lines("1 0.5 0.5 0 0.5\n" + BOX), "box-empty"),
    "leaves": (lines("1 0.9 0.5 0.5 0.5\n" + BOX), "box-leaves"),
    "twice": (lines(BOX + BOX), "object-twice"),
    "crosses itself": (lines("0 0.1 0.1 0.9 0.9 0.9 0.1 0.1 0.9\n"), "polygon-crosses"),
    "no text": (lambda root: (root / "labels/train/a.txt").write_bytes(b"\xff\xfe\x00\x80"), "label-unreadable"),
    "shared label": (lambda root: picture(root / "images/train/a.png", 9), "label-shared"),
    "picture cut off": (
        lambda root: (p := root / "images/train/a.jpg").write_bytes(p.read_bytes()[:-200]),
        "image-truncated",
    ),
    "in two splits": (
        lambda root: (root / "images/val/c.jpg").write_bytes((root / "images/train/b.jpg").read_bytes()),
        "image-in-two-splits",
    ),
}


def test_sound_text_labels(tmp_path: Path) -> None:
    said = checked(yolo(tmp_path))
    assert serious(said) == {}
    counts = open_coco(tmp_path, ["train"], cache=False).counts
    assert said.splits["train"].labelled == {key: counts[key] for key in said.splits["train"].labelled}
    assert said.classes == {"cat": {"train": 1, "val": 0}, "dog": {"train": 1, "val": 1}}


@pytest.mark.parametrize("name", TEXTS)
def test_broken_text_labels(tmp_path: Path, name: str) -> None:
    inject, check = TEXTS[name]
    inject(yolo(tmp_path / "data"))
    said = checked(tmp_path / "data")
    found = next(finding for finding in said.findings if finding.check == check)
    if check.startswith(("line", "box", "object", "category")):
        assert found.file.endswith("labels/train/a.txt")
        assert found.place == ("line 2" if name == "twice" else "line 1")
        assert found.image_id == 1
    write_copy(said, tmp_path / "copy")
    assert serious(checked(tmp_path / "copy")).keys() <= {"polygon-crosses"}
    assert len(open_coco(tmp_path / "copy", ["train"], cache=False)) == (
        1 if name in ("no text", "picture cut off", "in two splits") else 2
    )
    assert (tmp_path / "copy/labels/train/b.txt").exists() == (name != "in two splits")


def test_notes_about_text_labels(tmp_path: Path) -> None:
    yolo(tmp_path)
    picture(tmp_path / "images/train/d.jpg", 8)
    coco.write(tmp_path / "labels/train/gone.txt", BOX)
    found = {finding.check: finding.message for finding in checked(tmp_path).findings}
    assert "gone.txt" in found["label-stray"]
    assert "d.jpg" in found["label-missing"]


def test_a_list_of_pictures(tmp_path: Path) -> None:
    yolo(tmp_path / "data")
    coco.write(tmp_path / "data/train.txt", "images/train/a.jpg\nimages/train/absent.jpg\n")
    coco.write(tmp_path / "data/data.yaml", "train: train.txt\nval: images/val\nnames: [cat, dog]\n")
    said = checked(tmp_path / "data")
    assert serious(said) == {"image-missing": 1}
    write_copy(said, tmp_path / "copy")
    assert serious(checked(tmp_path / "copy")) == {}
    assert (tmp_path / "copy/labels/train/images/train/a.txt").exists() or list((tmp_path / "copy").rglob("a.txt"))


def roboflow(root: Path) -> Path:
    """COCO's clean set in Roboflow's layout, with the group that it lists first."""
    broken.clean(root / "coco")
    group = {"id": 0, "name": "pets", "supercategory": "none"}
    for split, folder in (("train", "train"), ("val", "valid")):
        (root / "coco/images" / split).rename(root / folder)
        content = yaml.safe_load((root / f"coco/annotations/instances_{split}.json").read_text())
        content["categories"] = [group, *(entry | {"supercategory": "pets"} for entry in content["categories"])]
        coco.write(root / folder / "_annotations.coco.json", content)
    return root


def test_roboflow(tmp_path: Path) -> None:
    root = roboflow(tmp_path / "data")
    said = checked(root)
    assert serious(said) == {}
    assert set(said.classes) == {"cat", "dog"}
    (root / "train/000001.jpg").unlink()
    write_copy(checked(root), tmp_path / "copy")
    assert serious(checked(tmp_path / "copy")) == {}
    assert len(open_coco(tmp_path / "copy", ["train"], cache=False)) == 3
    assert (tmp_path / "copy/train/_annotations.coco.json").exists()


def test_a_yaml_file_with_other_names(tmp_path: Path) -> None:
    root = broken.clean(tmp_path / "data")
    path = coco.write(root / "mine.yaml", "path: .\ntrain: train\nval: val\nnames: [cat, cow]\n")
    said = checked(path)
    assert serious(said) == {"category-collides": 1}
    with pytest.raises(UserError, match="cow, dog"):
        open_coco(path, ["train"], cache=False)
    write_copy(said, tmp_path / "copy")
    assert serious(checked(tmp_path / "copy" / "mine.yaml")) == {}
    open_coco(tmp_path / "copy" / "mine.yaml", ["train"], cache=False)
