"""A cleaned copy of a split with text labels: sound lines stay as they stand."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from yolor_mtl.data.check.cleaned import Copied, Put
from yolor_mtl.data.check.plan import Plan
from yolor_mtl.data.yolo_txt import YoloSplit, first_id, label_path, list_images, read_lines
from yolor_mtl.ops.files import write_text

_DROPPED = frozenset(
    {
        "line-broken",
        "category-unknown",
        "box-not-finite",
        "box-inverted",
        "box-outside",
        "box-empty",
        "mask-empty",
        "object-twice",
    }
)


def copy_text_split(split: YoloSplit, name: str, plan: Plan, root: Path, out: Path, put: Put) -> Copied:
    """Copies pictures to ``images/<name>/`` and labels to where the reader looks for them.

    Args:
        split: the split.
        name: its name.
        plan: what happens to the data set.
        root: folder of the data set; pictures outside it keep their names only.
        out: the copy.
        put: puts a file into it.
    """
    copied = Copied()
    with warnings.catch_warnings(action="ignore"):
        listing = list_images(split, lambda kind, file, message: None)
    taken: set[Path] = set()
    for number, (image, label) in enumerate(zip(listing.images, listing.labels, strict=True), first_id(split)):
        if number in plan.gone[name]:
            copied.left_out += 1
            continue
        target = _free(out / "images" / name / _short(Path(image), split, root), taken)
        put(Path(image), target)
        copied.names[str(target)] = None
        if label is not None:
            lines = _lines(label, split.classes, plan, copied)
            write_text(Path(label_path(str(target.parent), target.name)), "".join(f"{line}\n" for line in lines))
    return copied


def _short(image: Path, split: YoloSplit, root: Path) -> Path:
    """A picture's place below the folder of its split."""
    base = split.images if split.images != Path(root.anchor) else root.absolute()
    return image.relative_to(base) if image.is_relative_to(base) else Path(image.name)


def _free(path: Path, taken: set[Path]) -> Path:
    """The path, with a number where another picture has its label file."""
    number, free = 1, path
    while free.with_suffix("") in taken:
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    taken.add(free.with_suffix(""))
    return free


def _lines(label: str, classes: Mapping[int, str], plan: Plan, copied: Copied) -> list[str]:
    marks = plan.files[label].entries["annotations"]
    lines: list[str] = []
    texts = Path(label).read_text(encoding="utf-8-sig").splitlines()
    for number, found in read_lines(label, classes):
        checks = marks.get(number, set())
        if not _DROPPED.isdisjoint(checks) or isinstance(found, ValueError):
            copied.left_out += 1
        elif "box-leaves" in checks and len(found[1]) == 4:
            copied.mended += 1
            lines.append(_clipped(*found))
        else:
            copied.kept += 1
            lines.append(texts[number - 1])
    return lines


def _clipped(category: int, values: list[float]) -> str:
    x, y, width, height = values
    left, right = max(0.0, x - width / 2), min(1.0, x + width / 2)
    top, bottom = max(0.0, y - height / 2), min(1.0, y + height / 2)
    box = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return " ".join([str(category), *(f"{value:.9g}" for value in box)])
