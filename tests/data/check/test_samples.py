"""The real samples: what their READMEs say, and nothing that is not so."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from shapely.geometry import LinearRing

from yolor_mtl.data.check.result import Checked
from yolor_mtl.data.check.run import check_data
from yolor_mtl.data.check.table import CHECKS
from yolor_mtl.data.locate import find_file, find_layout


def checked(shared: Path, name: str) -> Checked:
    root = shared / name
    if not root.is_dir():
        pytest.skip(f"{root} is absent: the real COCO samples live there")
    return check_data(find_layout(root))


def serious(said: Checked) -> set[str]:
    return {name for name in said.findings.counts() if CHECKS[name].severity != "note"}


def crossings_are_real(said: Checked) -> None:
    """Every polygon that is said to cross itself is not simple for shapely either."""
    for place, finding in enumerate(said.findings):
        if finding.check == "polygon-crosses" and place in said.findings.shapes:
            (outline,) = said.findings.shapes[place].outlines
            assert not LinearRing(list(zip(outline[::2], outline[1::2], strict=True))).is_simple


def test_coco_sample(shared: Path) -> None:
    said = checked(shared, "coco_sample")
    assert serious(said) == set()
    train, val = said.splits["train2017"], said.splits["val2017"]
    assert (val.images, val.objects, val.segments, val.captions) == (100, 712, 1078, 501)
    assert (train.images, train.objects, train.segments, train.captions) == (50, 470, 0, 250)
    assert val.labelled == {"boxes": 100, "masks": 100, "panoptic": 100, "stuff": 0, "captions": 100}
    assert train.labelled == {"boxes": 50, "masks": 50, "panoptic": 0, "stuff": 0, "captions": 50}


def test_coco_real(shared: Path) -> None:
    said = checked(shared, "coco_real")
    assert serious(said) <= {"polygon-crosses"}
    assert not said.errors
    crossings_are_real(said)
    train, val = said.splits["train2017r"], said.splits["val2017r"]
    assert train.labelled == {"boxes": 2221, "masks": 512, "panoptic": 80, "stuff": 0, "captions": 2051}
    assert val.labelled == {"boxes": 555, "masks": 128, "panoptic": 20, "stuff": 0, "captions": 512}
    assert (train.images, train.objects, train.segments, train.captions) == (2221, 20964, 918, 10257)
    assert (val.images, val.objects, val.segments, val.captions) == (555, 4910, 160, 2562)
    rows = msgspec.json.decode((shared / "coco_real/annotations/instances_train2017r.json").read_bytes())
    assert sum(by_split["train2017r"] for by_split in said.classes.values()) == len(rows["annotations"])


@pytest.mark.parametrize(("name", "images", "objects"), [("masks", 640, 5350), ("person", 885, 885)])
def test_the_other_files_of_coco_real(shared: Path, name: str, images: int, objects: int) -> None:
    folder = shared / "coco_real" / "annotations"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the real COCO samples live there")
    found = [
        check_data(find_file(folder / f"instances_{name}_{split}.json"), "head") for split in ("train2017r", "val2017r")
    ]
    assert sum(facts.images for said in found for facts in said.splits.values()) == images
    assert sum(facts.objects for said in found for facts in said.splits.values()) == objects
    assert all(serious(said) <= {"polygon-crosses"} for said in found)
