"""COCO's class lists against the specification of the released networks and against COCO's own files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from yolor_mtl.data.coco_stuff_classes import (
    PANOPTIC_MERGES,
    coco_stuff_classes,
    released_space,
    supercategory,
)
from yolor_mtl.records import IGNORE, Category, LabelSpace


@pytest.fixture(scope="module")
def specification(shared: Path) -> str:
    path = shared / "upstream" / "SPEC.md"
    if not path.is_file():
        pytest.skip(f"{path} is absent: the released networks are specified there")
    return path.read_text(encoding="utf-8").partition("### 5.4")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def panoptic(shared: Path) -> list[dict]:
    """COCO's own panoptic categories."""
    path = shared / "coco_sample" / "annotations" / "panoptic_val2017.json"
    if not path.is_file():
        pytest.skip(f"{path} is absent: the real COCO sample lives there")
    return json.loads(path.read_text())["categories"]


def test_classes_of_the_released_networks() -> None:
    space = released_space()
    assert (len(space.things), len(space.semantic)) == (80, 173)
    assert space.semantic[:80] == space.things
    assert all(category.id == place + 12 for place, category in enumerate(space.semantic) if 80 <= place <= 170)
    assert [(entry.id, entry.name) for entry in space.semantic[-2:]] == [(183, "other"), (0, "unlabeled")]
    assert not any(entry.isthing for entry in space.semantic[80:])
    assert len(set(space.semantic_names)) == len({entry.id for entry in space.semantic}) == 173 < IGNORE
    assert space.thing_to_semantic == tuple(range(80))
    assert space.vocabulary is None
    back = LabelSpace.from_json(space.to_json())
    assert back == space
    assert [entry.supercategory for entry in back.semantic] == [entry.supercategory for entry in space.semantic]


def test_names_and_merges_are_those_of_the_specification(specification: str) -> None:
    names = re.search(r"Stuff names in order \(ids 92\.\.182\): (.*?)\.\n", specification)
    assert names is not None
    assert list(released_space().semantic_names[80:171]) == names[1].split(", ")
    ids = {entry.name: entry.id for entry in coco_stuff_classes()}
    merges = {
        merged: sorted(map(int, numbers.split(", ")))
        for merged, numbers in re.findall(r"\d+ (\S+-merged) from ([\d, ]+\d)", specification)
    }
    assert {merged: sorted(ids[name] for name in parts) for merged, parts in PANOPTIC_MERGES.items()} == merges


def test_things_and_panoptic_classes_are_those_of_coco(panoptic: list[dict]) -> None:
    things = [(entry["id"], entry["name"]) for entry in panoptic if entry["isthing"]]
    assert [(entry.id, entry.name) for entry in released_space().things] == things
    assert {entry["name"] for entry in panoptic if entry["name"].endswith("-merged")} == set(PANOPTIC_MERGES)


def test_supercategories_are_those_of_coco(panoptic: list[dict]) -> None:
    known = {entry["name"]: entry["supercategory"] for entry in panoptic}
    assert {name: supercategory(Category(1, name)) for name in known} == known
    groups = {name: supercategory(Category(1, name)) for name in released_space().semantic_names[:171]}
    assert len(set(groups.values())) == 27
    assert len({groups[entry.name] for entry in released_space().things}) == 12
    assert {name: groups[name] for name in groups if name in known} == {n: known[n] for n in groups if n in known}


def test_supercategories_of_merged_stuff() -> None:
    """All parts lie in one group, but for the few that COCO took across groups."""
    groups = {entry.name: entry.supercategory for entry in coco_stuff_classes()}
    across = {
        merged: {name: groups[name] for name in parts if groups[name] != supercategory(Category(1, merged))}
        for merged, parts in PANOPTIC_MERGES.items()
    }
    assert {merged: parts for merged, parts in across.items() if parts} == {
        "sky-other-merged": {"fog": "water"},
        "paper-merged": {"napkin": "textile"},
        "pavement-merged": {"floor-stone": "floor"},
        "rug-merged": {"carpet": "floor"},
    }


def test_the_data_s_own_group_comes_first() -> None:
    assert supercategory(Category(1, "cat", supercategory="pets")) == "pets"
    assert supercategory(Category(1, "cat")) == "animal"
    assert supercategory(Category(1, "unicorn")) == ""
    assert Category(1, "cat", supercategory="pets") == Category(1, "cat")
