"""Pictures that are there twice, in one split or in two, and pictures that nobody lists."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from yolor_mtl.data.check.findings import Finding, Findings, Shape
from yolor_mtl.data.check.pictures import Facts, Picture
from yolor_mtl.data.locate import SplitFiles
from yolor_mtl.data.yolo_txt import PICTURES

_MAPS = ("panoptic_", "stuffthingmaps")


def check_twice(pictures: Sequence[Picture], facts: Mapping[Path, Facts], findings: Findings) -> None:
    """Pictures of the same bytes in one split, and the same file or bytes in two splits."""
    first: dict[object, dict[str, Picture]] = {}
    # In the order in which a cleaned copy keeps them: the split that scores are measured on comes first.
    for picture in sorted(pictures, key=lambda picture: _rank(picture.split)):
        keys: list[object] = [os.path.realpath(picture.path)]
        if (found := facts.get(picture.path)) and found.digest:
            keys.append(found.digest)
        others = [other for key in keys for other in first.get(key, {}).values()]
        elsewhere = next((other for other in others if other.split != picture.split), None)
        beside = next((other for other in others if other.split == picture.split and other.path != picture.path), None)
        if elsewhere:
            _note(findings, "image-in-two-splits", picture, f"split {elsewhere.split} has it as {elsewhere.name}")
        if beside:
            told = f"the same bytes as {beside.name}, image {beside.image_id}"
            _note(findings, "image-same-bytes", picture, told)
        for key in keys:
            first.setdefault(key, {}).setdefault(picture.split, picture)


def _note(findings: Findings, check: str, picture: Picture, message: str) -> None:
    findings.add(picture.finding(check, message), Shape(picture.path, (picture.height, picture.width)))


def _rank(split: str) -> tuple[int, str]:
    """Splits that score come first: in them a picture stays."""
    kinds = ("test", "val", "", "train")
    kind = next((kind for kind in ("test", "val", "train") if split.startswith(kind)), "")
    return kinds.index(kind), split


def check_unlisted(splits: Mapping[str, SplitFiles], pictures: Sequence[Picture], findings: Findings) -> None:
    """Notes, for each folder, pictures that no split lists."""
    listed = {os.path.normpath(picture.path) for picture in pictures}
    folders = {files.images: name for name, files in splits.items() if files.yolo is None}
    for folder, name in folders.items():
        spare: list[str] = []
        for place, below, names in os.walk(folder):
            # Folders of another split, of label maps and hidden ones are not this split's pictures.
            below[:] = [
                each for each in below if not each.startswith((".", *_MAPS)) and Path(place) / each not in folders
            ]
            spare += [
                path
                for each in names
                if Path(each).suffix.lower() in PICTURES and not each.startswith(".")
                if (path := os.path.normpath(Path(place) / each)) not in listed
            ]
        if spare:
            message = f"{len(spare)} pictures, such as {Path(min(spare)).name}"
            findings.add(Finding("image-unlisted", message, str(folder), name))
