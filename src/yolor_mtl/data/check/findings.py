"""Findings as they are collected: what, where, and for the first ones of a kind what to draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from yolor_mtl.data.check.table import CHECKS, Check

DRAWN = 6
"""Findings of a kind whose shapes are kept for the report."""


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One defect.

    Attributes:
        check: its kind, a key of :data:`CHECKS`.
        message: what is wrong, without the place.
        file: annotation file, label file, picture or PNG.
        split: the split; empty where it belongs to none.
        image_id: of the picture.
        annotation_id: of the annotation, or of the segment.
        place: where in the file: ``annotations[3]``, ``line 7``; empty for the whole file.
        image: the picture's name.
        source: the annotation file that a picture or PNG is listed in.
        position: index in the list that ``place`` names, or the line.
    """

    check: str
    message: str
    file: str
    split: str = ""
    image_id: int | None = None
    annotation_id: int | None = None
    place: str = ""
    image: str = ""
    source: str = ""
    position: int = -1

    @property
    def kind(self) -> Check:
        """The row of the table."""
        return CHECKS[self.check]

    def where(self) -> str:
        """File, place and ids in words."""
        ids = [f"{name} {value}" for name, value in (("image", self.image_id), ("annotation", self.annotation_id))
               if value is not None]  # fmt: skip
        return ", ".join(part for part in (self.file, self.place, *ids) if part)

    def to_dict(self) -> dict[str, Any]:
        """As ``check.json`` has it; keys without a value are left out."""
        kind = self.kind
        said = {
            "check": self.check,
            "severity": kind.severity,
            "file": self.file,
            "place": self.place,
            "split": self.split,
            "image": self.image,
            "image_id": self.image_id,
            "annotation_id": self.annotation_id,
            "message": self.message,
            "remedy": kind.remedy,
        }
        return {key: value for key, value in said.items() if value not in ("", None)}


@dataclass(frozen=True)
class Shape:
    """What of a finding can be drawn over its picture.

    Attributes:
        path: the picture.
        size: annotated height and width.
        box: xyxy; ``None`` without one.
        outlines: polygons as the file states them, x and y in turn.
    """

    path: Path
    size: tuple[int, int]
    box: tuple[float, float, float, float] | None = None
    outlines: tuple[tuple[float, ...], ...] = ()


@dataclass
class Findings:
    """All findings, in the order in which they were made.

    Attributes:
        items: the findings.
        shapes: position in ``items`` -> what to draw, of the first :data:`DRAWN` of each kind.
    """

    items: list[Finding] = field(default_factory=list)
    shapes: dict[int, Shape] = field(default_factory=dict)
    _drawn: Counter[str] = field(default_factory=Counter)

    def add(self, finding: Finding, shape: Shape | None = None) -> None:
        """Takes one in."""
        if shape is not None and self._drawn[finding.check] < DRAWN:
            self._drawn[finding.check] += 1
            self.shapes[len(self.items)] = shape
        self.items.append(finding)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.items)

    def counts(self) -> dict[str, int]:
        """Number of findings of each kind that occurs, in the table's order."""
        found = Counter(finding.check for finding in self.items)
        return {name: found[name] for name in CHECKS if found[name]}

    def severities(self) -> dict[str, int]:
        """Number of errors, warnings and notes."""
        totals = {"error": 0, "warning": 0, "note": 0}
        for name, count in self.counts().items():
            totals[CHECKS[name].severity] += count
        return totals
