"""Every row of the fault table points to tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_row_has_its_test() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text("utf-8")]
    assert not missing
    rows = [line for line in text.splitlines() if line.startswith("|") and "as promised" in line]
    assert len(rows) >= 55
    assert all(line.rstrip().endswith("` |") for line in rows)
