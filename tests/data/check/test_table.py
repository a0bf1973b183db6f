"""The table of checks, and that the documents have all of it."""

from __future__ import annotations

from pathlib import Path

import broken
import pytest

from yolor_mtl.data.check.table import CHECKS

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_says_what_it_means_and_what_to_do(name: str) -> None:
    row = CHECKS[name]
    assert row.id == name
    assert row.meaning
    assert row.remedy
    assert row.mended or row.severity != "error", "a cleaned copy has no errors"


def test_the_formats_list_all_checks() -> None:
    text = (DOCS / "formats.md").read_text(encoding="utf-8")
    for row in CHECKS.values():
        assert f"| `{row.id}` | {row.severity} | {row.meaning} | {row.mended or 'stays'} |" in text


def test_the_fault_table_has_every_fault() -> None:
    text = (DOCS / "reliability.md").read_text(encoding="utf-8")
    faults = {f"picture: {name}": fault for name, fault in broken.PICTURES.items()} | dict(broken.LABELS)
    for name, fault in faults.items():
        assert f"| `{fault.check}` ({CHECKS[fault.check].severity}) | `{name}` |" in text
    assert len(broken.PICTURES) >= 12
    assert len(broken.LABELS) >= 15


def test_the_injected_faults_cover_the_checks_of_annotation_files() -> None:
    covered = {fault.check for fault in (*broken.PICTURES.values(), *broken.LABELS.values())}
    texts = {"line-broken", "label-unreadable", "label-shared", "label-stray", "label-missing"}
    assert {name for name, row in CHECKS.items() if row.severity != "note"} - texts == covered
