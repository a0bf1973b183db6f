"""How often each class occurs, and the names that a YAML file claims."""

from __future__ import annotations

from collections.abc import Mapping

from yolor_mtl.data.check.findings import Finding, Findings
from yolor_mtl.data.coco_classes import differing_names
from yolor_mtl.data.locate import Layout
from yolor_mtl.records import Category

RARE = 10
"""Classes with fewer objects than that, in all splits, are called rare."""


def check_balance(counts: Mapping[str, Mapping[str, int]], source: str, findings: Findings) -> None:
    """Notes classes without objects and those with few.

    Args:
        counts: class -> split -> objects.
        source: what the finding is about, the data set.
        findings: where they go.
    """
    for name, by_split in counts.items():
        total = sum(by_split.values())
        if not total:
            findings.add(Finding("class-unused", f"{name!r} has no object", source))
        elif total < RARE:
            where = ", ".join(f"{split} {count}" for split, count in by_split.items())
            findings.add(Finding("class-rare", f"{name!r} has {total} objects ({where})", source))


def check_claimed_names(layout: Layout, categories: Mapping[int, str], findings: Findings) -> None:
    """Notes names of a YAML file that are not those of the annotation files."""
    things = [Category(number, name) for number, name in sorted(categories.items())]
    if layout.names and not layout.things and (differing := differing_names(layout, things)):
        told = f"names: disagree with the categories of the annotation files about {', '.join(differing[:5])}"
        findings.add(Finding("category-collides", told, str(layout.source)))
