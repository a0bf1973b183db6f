"""From findings to what a cleaned copy leaves out and changes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from yolor_mtl.data.check.findings import Finding
from yolor_mtl.data.check.result import Checked

GONE = frozenset(
    {
        "image-missing",
        "image-empty",
        "image-truncated",
        "image-damaged",
        "image-unreadable",
        "image-huge",
        "image-size",
        "image-name",
        "image-same-bytes",
        "image-in-two-splits",
    }
)
"""Findings for which a picture leaves its split."""

DROPPED = frozenset(
    {
        "entry-broken",
        "image-duplicate-id",
        "category-duplicate-id",
        "annotation-image-unknown",
        "category-unknown",
        "object-twice",
        "caption-empty",
        "caption-type",
        "panoptic-twice",
        "panoptic-missing",
        "panoptic-unreadable",
        "panoptic-size",
    }
)
"""Findings for which an entry leaves its list."""

_UNLABELLED = frozenset({"panoptic-missing", "panoptic-unreadable", "panoptic-size"})


@dataclass
class FilePlan:
    """What happens to one annotation file.

    Attributes:
        left_out: the whole file is.
        entries: list -> position -> what was found there.
        images: ids that leave this file.
        duplicated: image ids that several entries have.
    """

    left_out: bool = False
    entries: dict[str, dict[int, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    images: set[int] = field(default_factory=set)
    duplicated: set[int] = field(default_factory=set)


@dataclass
class Plan:
    """What happens to a data set.

    Attributes:
        files: annotation file or label file -> what happens to it.
        gone: split -> image ids that leave it.
        twice: split -> image ids whose picture another one has.
        renumber: kinds of classes are made one list.
        unnamed: names of the YAML file are left out.
        stuff: COCO-Stuff maps that are left out.
    """

    files: dict[str, FilePlan] = field(default_factory=lambda: defaultdict(FilePlan))
    gone: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    twice: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    renumber: bool = False
    unnamed: bool = False
    stuff: set[str] = field(default_factory=set)


def make_plan(checked: Checked) -> Plan:
    """What follows from what was found."""
    plan = Plan()
    for finding in checked.findings:
        _take(plan, finding, str(checked.source))
    return plan


def _take(plan: Plan, finding: Finding, source: str) -> None:
    check, image = finding.check, finding.image_id
    file = plan.files[finding.source or finding.file]
    if image is not None:
        _take_image(plan, finding, image)
    if check in ("file-unreadable", "panoptic-folder"):
        file.left_out = True
    elif check == "category-collides":
        if finding.file == source:
            plan.unnamed = True
        else:
            plan.renumber = True
    elif check.startswith("stuff-"):
        plan.stuff.add(finding.file)
    elif finding.position >= 0 and (finding.place or not check.startswith("image-")):
        # Text labels: the label file and the line.
        place = plan.files[finding.file] if finding.place.startswith("line") else file
        key = finding.place.partition("[")[0] if "[" in finding.place else "annotations"
        place.entries[key][finding.position].add(check)


def _take_image(plan: Plan, finding: Finding, image: int) -> None:
    """What follows for the image of a finding as a whole."""
    check, file = finding.check, plan.files[finding.source or finding.file]
    if check in GONE or check == "label-unreadable":
        plan.gone[finding.split].add(image)
    elif check == "image-disagrees" or check in _UNLABELLED:
        file.images.add(image)
    elif check == "image-file-twice":
        plan.twice[finding.split].add(image)
    elif check == "image-duplicate-id":
        file.duplicated.add(image)


def inside(path: Path, folder: Path) -> bool:
    """Whether a path is a folder, or in it."""
    return path.resolve() == folder.resolve() or folder.resolve() in path.resolve().parents
