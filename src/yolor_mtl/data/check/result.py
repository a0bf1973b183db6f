"""What a check says, as records and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from yolor_mtl.data.check.findings import Findings
from yolor_mtl.data.check.pictures import How
from yolor_mtl.data.check.table import CHECKS
from yolor_mtl.data.locate import Layout

SCHEMA = 1
"""Version of ``check.json``: keys are added under the same number; where one goes or changes, it is another."""

LABELS = ("boxes", "masks", "panoptic", "stuff", "captions")
"""What images can be labelled for."""


@dataclass
class SplitFacts:
    """A split in numbers.

    Attributes:
        images: listed images.
        labelled: kind of label -> images that have it.
        objects: objects, segments and captions that could be read.
        segments: see ``objects``.
        captions: see ``objects``.
    """

    images: int = 0
    labelled: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))
    objects: int = 0
    segments: int = 0
    captions: int = 0


@dataclass(frozen=True)
class Checked:
    """All that was found.

    Attributes:
        layout: the data set.
        how: how far pictures were opened.
        findings: the defects.
        splits: numbers by split.
        classes: class -> split -> objects.
        orientations: split and image id -> EXIF orientation of pictures whose labels lie on their side.
    """

    layout: Layout
    how: How
    findings: Findings
    splits: Mapping[str, SplitFacts]
    classes: Mapping[str, Mapping[str, int]]
    orientations: Mapping[tuple[str, int], int] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """Number of errors."""
        return self.findings.severities()["error"]

    @property
    def source(self) -> Path:
        """What was checked."""
        return self.layout.source

    def to_dict(self) -> dict[str, Any]:
        """What ``check.json`` holds."""
        rows = [
            {"id": kind.id, "severity": kind.severity, "count": count, "meaning": kind.meaning, "remedy": kind.remedy}
            for name, count in self.findings.counts().items()
            if (kind := CHECKS[name])
        ]
        return {
            "schema": SCHEMA,
            "data": str(self.source),
            "images": self.how,
            "summary": self.findings.severities(),
            "splits": {name: asdict(facts) for name, facts in self.splits.items()},
            "classes": {name: dict(counts) for name, counts in self.classes.items()},
            "checks": rows,
            "findings": [finding.to_dict() for finding in self.findings],
        }
