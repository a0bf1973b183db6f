"""What data= may be; the embedded scenes are drawn once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from yolor_mtl.config import packaged
from yolor_mtl.data import named
from yolor_mtl.data.coco import open_coco
from yolor_mtl.data.named import WHOLE, find_data
from yolor_mtl.data.scenes import writer
from yolor_mtl.records import UserError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and scenes of four pictures."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(named, "packaged", lambda kind, name: {"train": 3, "val": 1, "seed": 5})
    return tmp_path


def test_places(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("path: .")
    for path in (tmp_path, tmp_path / "data.yaml"):
        assert find_data(str(path)) == path
    with pytest.raises(UserError, match=r"data=.*nowhere: no such folder or file; .*the word scenes"):
        find_data(str(tmp_path / "nowhere"))


def test_scenes_are_drawn_once(cache: Path) -> None:
    calls: list[tuple[int, int]] = []

    def find() -> Path:
        return find_data("scenes", lambda done, total: calls.append((done, total)))

    out = find()
    assert out == cache / "yolor_mtl" / "scenes-1-3-1-5"
    assert calls[-1] == (4, 4)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert len(open_coco(out, ["train", "val"], cache=False)) == 4
    calls.clear()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert find() == out
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_scenes_that_were_never_finished_are_drawn_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    keep: Callable[[Path, object], None] = writer._write_json

    def fail_at_the_last(path: Path, content: object) -> None:
        written.append(path.name)
        if path.name == Path(WHOLE).name:
            raise KeyboardInterrupt
        keep(path, content)

    monkeypatch.setattr(writer, "_write_json", fail_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        find_data("scenes")
    assert len(written) == 6  # the file that says that all is there came last
    monkeypatch.setattr(writer, "_write_json", keep)
    out = find_data("scenes")
    assert (out / WHOLE).is_file()
    assert len(open_coco(out, ["train"], cache=False)) == 3


def test_the_shipped_numbers() -> None:
    row = packaged("data", "scenes")
    assert set(row) == {"train", "val", "seed"}
    assert row["val"] > 0  # or WHOLE would never be there
