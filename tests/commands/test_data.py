"""``yolor-mtl data``."""

from pathlib import Path

import runs


def test_scenes_and_stats(command: runs.Command, tmp_path: Path) -> None:
    out = tmp_path / "scenes"
    said = command("data", "scenes", str(out), "--train", "2", "--val", "1", "workers=1")
    assert said.code == 0
    assert "2 + 1 scenes" in said.out
    said = command("data", "stats", str(out))
    assert said.code == 0
    assert "train, val" in said.out
    assert (
        command("data", "stats", f"path={out}", "json=true").json()
        == command("data", "stats", str(out), "--json").json()
    )
    one = command("data", "stats", str(out), "split=val", "--json").json()
    assert one != command("data", "stats", str(out), "--json").json()


def test_refused(command: runs.Command, tmp_path: Path) -> None:
    runs.refused(command("data", "scenes"), "folder is missing", "data scenes OUT")
    runs.refused(command("data", "stats"), "data set is missing")
    runs.refused(command("data", "stats", str(tmp_path / "absent")), "absent")
    runs.refused(command("data", "scenes", str(tmp_path / "x"), "trian=3"), "trian", "did you mean 'train'")
    (tmp_path / "mine.txt").write_text("")
    runs.refused(command("data", "scenes", str(tmp_path)), "not empty")
