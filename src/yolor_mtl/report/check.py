"""The page of a data check: findings with pictures, labelled images by split, objects by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from yolor_mtl.data.check.findings import Finding, Shape
from yolor_mtl.data.check.result import LABELS, Checked, SplitFacts
from yolor_mtl.data.check.table import CHECKS, Check
from yolor_mtl.data.image import UnreadableImageError, open_upright
from yolor_mtl.ops.draw import Colour, boxes
from yolor_mtl.ops.files import write_text
from yolor_mtl.report.page import data_url, templates

LISTED = 50
"""Findings of a kind that the page names; ``check.json`` has all."""

SIDE = 640
"""Longer side of the pictures on the page."""

RED: Colour = (220, 38, 38)


@dataclass(frozen=True)
class Group:
    """Findings of one kind.

    Attributes:
        kind: the row of the table.
        count: how many there are.
        findings: the first ones.
        pictures: some of them drawn, each with its text.
    """

    kind: Check
    count: int
    findings: Sequence[Finding]
    pictures: Sequence[tuple[Image.Image, str]]


def write_check(checked: Checked, path: Path) -> None:
    """Writes the page, whole or not at all."""
    page = (
        templates()
        .get_template("check.html")
        .render(
            title=f"data check of {checked.source}",
            facts=[("splits", ", ".join(checked.splits)), ("pictures opened", checked.how)],
            totals=checked.findings.severities(),
            groups=groups(checked),
            headings=("images", *LABELS, "objects", "segments", "caption texts"),
            splits=[(name, split_row(facts)) for name, facts in checked.splits.items()],
            balance=_balance(checked),
            url=data_url,
        )
    )
    write_text(path, page)


def split_row(facts: SplitFacts) -> list[int]:
    """Images, images labelled for each kind, and numbers of labels."""
    return [facts.images, *(facts.labelled[kind] for kind in LABELS), facts.objects, facts.segments, facts.captions]


def groups(checked: Checked, listed: int = LISTED, draw: bool = True) -> list[Group]:
    """Findings by kind, errors first.

    Args:
        checked: what was found.
        listed: findings of a kind that are named.
        draw: draw the first ones of each kind.
    """
    first: dict[str, list[Finding]] = {}
    drawn: dict[str, list[tuple[Image.Image, str]]] = {}
    for place, finding in enumerate(checked.findings):
        named = first.setdefault(finding.check, [])
        if len(named) < listed:
            named.append(finding)
        shape = checked.findings.shapes.get(place) if draw else None
        if shape is not None and (picture := _drawn(shape)):
            drawn.setdefault(finding.check, []).append((picture, f"{finding.where()}: {finding.message}"))
    order = ("error", "warning", "note")
    counts = sorted(checked.findings.counts().items(), key=lambda item: order.index(CHECKS[item[0]].severity))
    return [Group(CHECKS[name], count, first[name], drawn.get(name, ())) for name, count in counts]


def _drawn(shape: Shape) -> Image.Image | None:
    """The picture with what is wrong in red; ``None`` where it cannot be read."""
    try:
        picture = open_upright(shape.path)
    except UnreadableImageError:
        return None
    # Sizes that are not known stand as 1 x 1: labels are shares then.
    height, width = shape.size if min(shape.size) > 1 else (1, 1)
    shrink = min(1.0, SIDE / max(picture.size))
    picture = picture.resize([max(1, round(side * shrink)) for side in picture.size])
    scale = np.array([picture.width / width, picture.height / height])
    pen = ImageDraw.Draw(picture)
    for outline in shape.outlines:
        points = np.clip(np.asarray(outline).reshape(-1, 2) * scale, -10, 10 + max(picture.size))
        pen.line([tuple(point) for point in [*points.tolist(), points[0].tolist()]], fill=RED, width=2)
    if shape.box is None:
        return picture
    box = np.array([shape.box]) * np.tile(scale, 2)
    ordered = np.concatenate([np.minimum(box[:, :2], box[:, 2:]), np.maximum(box[:, :2], box[:, 2:])], axis=1)
    return Image.fromarray(boxes(np.asarray(picture), ordered, [""], [RED]))


def _balance(checked: Checked) -> list[tuple[str, int, float, str]]:
    """Class, objects, share of the largest class in percent, and the numbers by split; the largest first."""
    totals = {name: sum(by_split.values()) for name, by_split in checked.classes.items()}
    most = max(totals.values(), default=0) or 1
    return [
        (name, total, 100 * total / most, ", ".join(f"{k} {v:,}" for k, v in checked.classes[name].items()))
        for name, total in sorted(totals.items(), key=lambda item: -item[1])
    ]
