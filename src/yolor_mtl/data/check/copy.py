"""Writes a cleaned copy of a whole data set, or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from yolor_mtl.config import read_yaml
from yolor_mtl.data.check.cleaned import Copied, SplitCopy
from yolor_mtl.data.check.cleaned_text import copy_text_split
from yolor_mtl.data.check.plan import Plan, inside, make_plan
from yolor_mtl.data.check.result import Checked
from yolor_mtl.data.yolo_txt import KEYS
from yolor_mtl.ops.files import umask
from yolor_mtl.records import UserError


@dataclass
class Placing:
    """Puts pictures into a copy.

    Attributes:
        link: as hard links where the file system can, which take no room; else as copies.
        linked: how many were linked.
        copied: how many were copied.
    """

    link: bool = True
    linked: int = 0
    copied: int = 0

    def put(self, source: Path, target: Path) -> None:
        """Puts one file there; one that is there already is the same."""
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.link:
            try:
                os.link(os.path.realpath(source), target)
            except OSError:  # Another file system, or one without links.
                self.link = False
            else:
                self.linked += 1
                return
        shutil.copy2(source, target)
        self.copied += 1


def check_destination(checked_root: Path, sources: Mapping[str, Path], out: Path) -> None:
    """Refuses a place for the copy that would touch the data.

    Args:
        checked_root: the folder of the data set.
        sources: folders of pictures, by split.
        out: the place.

    Raises:
        UserError: it is the data set or in it, holds something, or is a file.
    """
    for folder in (checked_root, *sources.values()):
        if folder.is_dir() and inside(out, folder) and folder != Path(folder.anchor):
            raise UserError(f"out={out}: in the data set {folder}; a cleaned copy is never written in place")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out={out}: not an empty folder; name another one for the cleaned copy")


def write_copy(checked: Checked, out: Path, *, link: bool = True) -> tuple[dict[str, Copied], Placing]:
    """Writes what is sound of a data set, and what could be mended, to a new folder.

    It is made beside ``out`` and gets that name when it is whole.

    Args:
        checked: the data set, its pictures opened.
        out: a folder that is not there, or empty.
        link: hard links for pictures instead of copies.

    Returns:
        What became of each split, and how many pictures were linked and copied.

    Raises:
        UserError: ``out`` is refused, or nothing of a split would be left.
    """
    layout = checked.layout
    folders = {name: files.images for name, files in layout.splits.items()}
    check_destination(layout.root, folders, out)
    plan = make_plan(checked)
    _check_left(checked, plan)
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}-"))
    try:
        placing = Placing(link)
        copied = _write(checked, plan, temporary, placing)
        temporary.chmod(0o777 & ~umask())
        temporary.replace(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return copied, placing


def _check_left(checked: Checked, plan: Plan) -> None:
    for name, facts in checked.splits.items():
        gone = plan.gone[name]
        if facts.images and len(gone) >= facts.images:
            kinds = {
                finding.check for finding in checked.findings if finding.split == name and finding.image_id in gone
            }
            raise UserError(
                f"fix: no picture of split {name} would be left ({', '.join(sorted(kinds))}); take the split away or "
                "mend it by hand"
            )


def _write(checked: Checked, plan: Plan, out: Path, placing: Placing) -> dict[str, Copied]:
    layout = checked.layout
    copied: dict[str, Copied] = {}
    classes: dict[str, dict[str, int]] = {}
    place = partial(_place, layout.root, out)
    for name, files in layout.splits.items():
        if files.yolo is not None:
            copied[name] = copy_text_split(files.yolo, name, plan, layout.root, out, placing.put)
            continue
        orientations = {number: turn for (split, number), turn in checked.orientations.items() if split == name}
        copied[name] = SplitCopy(files, plan, orientations, classes, place, placing.put).write()
    if layout.source.is_file():
        _write_yaml(checked, plan, out)
    elif any(files.yolo for files in layout.splits.values()):
        _write_text_yaml(checked, out / "data.yaml")
    return copied


def _place(root: Path, out: Path, path: Path) -> Path:
    """Where a file of the data set lies in the copy.

    Raises:
        UserError: it is no file of the data set.
    """
    relative = Path(os.path.relpath(path, root))
    if ".." in relative.parts:
        raise UserError(f"{path}: outside of {root}; a cleaned copy of such a data set cannot be written")
    return out / relative


def _write_yaml(checked: Checked, plan: Plan, out: Path) -> None:
    """The YAML file that named the data set, for the copy."""
    path = out / checked.source.name
    if any(files.yolo for files in checked.layout.splits.values()):
        _write_text_yaml(checked, path)
        return
    content: dict[str, Any] = {key: value for key, value in read_yaml(checked.source).items() if key != "path"}
    if plan.unnamed:
        content.pop("names", None)
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _write_text_yaml(checked: Checked, path: Path) -> None:
    names = {category.id - 1: category.name for category in checked.layout.things}
    content = {key: f"images/{key}" for key in KEYS if key in checked.layout.splits} | {"names": names}
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
