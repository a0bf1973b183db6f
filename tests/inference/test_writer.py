"""Files beside each other whatever the pictures are called."""

import json
from pathlib import Path

import pytest

from yolor_mtl.inference.writer import PredictionWriter, Stems
from yolor_mtl.records import UserError


def test_stems_never_collide() -> None:
    free = Stems()
    stems = [free.free(stem) for stem in ("a", "a", "a-2", "a", "b", "a-2")]
    assert len(set(stems)) == len(stems)
    assert stems[:2] == ["a", "a-2"]
    assert Stems().of(["x/a.jpg", "y/a.png", "x/a.jpg"]) == {"x/a.jpg": "a", "y/a.png": "a-2"}


def test_old_failures_go(tmp_path: Path) -> None:
    (tmp_path / "failures.json").write_text("[]")
    with PredictionWriter(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]


def test_lines_are_kept_and_one_that_was_cut_is_not(tmp_path: Path) -> None:
    whole = json.dumps({"path": "a.jpg"}) + "\n"
    (tmp_path / "predictions.jsonl").write_text(whole + '{"path": "b.j')
    with PredictionWriter(tmp_path, ["a.jpg", "b.jpg"], resume=True) as writer:
        assert writer.done == {"a.jpg"}
        writer.line({"path": "b.jpg"})
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["a.jpg", "b.jpg"]
    (tmp_path / "predictions.jsonl").write_text("something else\n" + whole)
    with pytest.raises(UserError, match="line 1: not a line of predict"):
        PredictionWriter(tmp_path, resume=True)
