"""``yolor-mtl models``: the counts of the networks, as published where they are published."""

from __future__ import annotations

from itertools import pairwise

import pytest
import runs

from yolor_mtl.commands import models

TOTALS = {
    "yolov7-af-pan": (46_087_277, 46_087_277),
    "gelan-c-pan": (27_793_549, 27_793_549),
    "gyolo": (52_601_178, 33_526_477),
}
"""With the branches for training, and without them."""

FOUR = ["detection", "instance", "semantic", "captioning", "panoptic"]


def test_counts(command: runs.Command) -> None:
    said = command("models", "--json")
    assert (said.code, said.err) == (0, "")
    rows = {row["name"]: row for row in said.json()}
    assert {"paper", "gelan-c", "small", "tiny", "nano", *TOTALS} == set(rows)
    for name, (total, inference) in TOTALS.items():
        assert rows[name]["parameters"]["total"] == total
        assert rows[name]["parameters"]["inference"] == inference
    for row in rows.values():
        parameters = row["parameters"]
        assert parameters["vision"] + parameters["caption"] == parameters["total"]
        assert row["tasks"] == [task for task in FOUR if parameters["caption"] or task != "captioning"]
    assert rows["paper"]["parameters"]["total"] == pytest.approx(80e6, rel=0.01)
    assert rows["paper"]["variants"]["semantic"]["single-scale"] == 44_461
    assert rows["gelan-c-pan"]["gflops"] == pytest.approx(146.7, abs=0.2)  # as published
    sizes = [rows[name]["parameters"]["total"] for name in ("paper", "small", "tiny", "nano")]
    costs = [rows[name]["gflops"] for name in ("paper", "small", "tiny", "nano")]
    assert all(larger > 2 * smaller for values in (sizes, costs) for larger, smaller in pairwise(values))


def test_a_table(command: runs.Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two of them: counting takes its time, and the others' counts are checked above."""
    monkeypatch.setattr(models, "packaged_names", lambda folder: ["tiny", "paper"])
    said = command("models")
    assert said.code == 0
    assert "79,640.9" in said.out
    assert said.out.index("paper") < said.out.index("tiny")  # the largest first
    told = "  semantic head, implicit knowledge apart: single-scale 44,461, multi-scale 779,105"
    assert f"paper: detection, instance, semantic, captioning, panoptic\n{told}\n" in said.out
