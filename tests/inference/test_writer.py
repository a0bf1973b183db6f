"""Files beside each other whatever the pictures are called."""

from pathlib import Path

from yolor_mtl.inference.writer import PredictionWriter


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
