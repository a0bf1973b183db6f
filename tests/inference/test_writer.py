"""Files beside each other whatever the pictures are called, and sources of pictures."""

from pathlib import Path

import pytest

from yolor_mtl.inference.sources import find_pictures
from yolor_mtl.inference.writer import PredictionWriter
from yolor_mtl.records import UserError


def test_stems_never_collide(tmp_path: Path) -> None:
    with PredictionWriter(tmp_path) as writer:
        stems = [writer._free_stem(stem) for stem in ("a", "a", "a-2", "a", "b", "a-2")]
    assert len(set(stems)) == len(stems)
    assert stems[:2] == ["a", "a-2"]


def test_old_failures_go(tmp_path: Path) -> None:
    (tmp_path / "failures.json").write_text("[]")
    with PredictionWriter(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]


def test_sources(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in find_pictures(str(tmp_path))] == ["a.png", "b.JPG"]
    assert find_pictures(str(tmp_path / "notes.txt")) == [tmp_path / "notes.txt"]
    assert [path.name for path in find_pictures(str(tmp_path / "*.*"))] == ["a.png", "b.JPG", "notes.txt"]
    for source, reason in (("*.gif", "no file matches"), ("absent", "no such file"), ("folder.jpg", "no pictures")):
        with pytest.raises(UserError, match=reason):
            find_pictures(str(tmp_path / source))
