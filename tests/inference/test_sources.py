"""What ``source=`` may be."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import pytest
from PIL import Image

from yolor_mtl.data.image import UnreadableImageError
from yolor_mtl.inference.sources import find_pictures, open_source
from yolor_mtl.records import UserError


class _Stdin:
    def __init__(self, buffer: BinaryIO) -> None:
        self.buffer = buffer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(3):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(tmp_path / "in" / f"{number}.png")
    return tmp_path


def names(source: str) -> list[str]:
    return [Path(shot.path).name for shot in open_source(source).shots]


def test_folders_patterns_and_single_files(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.md"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in find_pictures(str(tmp_path))] == ["a.png", "b.JPG"]
    assert find_pictures(str(tmp_path / "notes.md")) == [tmp_path / "notes.md"]
    assert [path.name for path in find_pictures(str(tmp_path / "*.*"))] == ["a.png", "b.JPG", "notes.md"]
    for source, reason in (("*.gif", "no file matches"), ("absent", "no such file"), ("folder.jpg", "no pictures")):
        with pytest.raises(UserError, match=reason):
            open_source(str(tmp_path / source))


def test_a_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"in/2.png\n\n  {folder / 'in' / '0.png'}  \nin/absent.png\n"
    (folder / "list.txt").write_text(text, encoding="utf-8-sig")
    source = open_source(str(folder / "list.txt"))
    assert source.total == 3
    shots = list(source.shots)
    assert shots[0].read()[0, 0, 0] == 2
    assert shots[1].read()[0, 0, 0] == 0
    with pytest.raises(UnreadableImageError, match="no such file"):
        shots[2].read()
    monkeypatch.chdir(folder)
    assert names("list.txt") == ["2.png", "0.png", "absent.png"]
    for content, reason in ((b" \n", "the list is empty"), (b"\xff\xfe\x00", "not a text file")):
        (folder / "list.txt").write_bytes(content)
        with pytest.raises(UserError, match=reason):
            open_source("list.txt")


def test_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(data: bytes) -> None:
        monkeypatch.setattr("sys.stdin", _Stdin(io.BufferedReader(io.BytesIO(data))))  # type: ignore[arg-type]

    for form in ("PNG", "JPEG", "BMP", "WEBP", "GIF"):
        buffer = io.BytesIO()
        Image.new("RGB", (9, 7), (200, 0, 0)).save(buffer, form)
        given(buffer.getvalue())
        (shot,) = open_source("-").shots
        assert shot.read().shape == (3, 7, 9), form
    given(f"{folder}/in/1.png\n\n{folder}/in/caf\u00e9.png".encode())
    assert names("-") == ["1.png", "caf\u00e9.png"]
    given(b"")
    with pytest.raises(UserError, match="nothing came"):
        open_source("-")
    given(b"\x89PNG cut short")
    (shot,) = open_source("-").shots
    with pytest.raises(UnreadableImageError):
        shot.read()


def test_a_number_is_a_camera_unless_a_file_has_that_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av", reason="cameras need PyAV: pip install 'yolor-mtl[video]'")
    monkeypatch.chdir(folder / "in")
    with pytest.raises(UserError, match="source=97"):
        open_source("97")
    (folder / "in" / "0.png").rename(folder / "in" / "0")
    assert names("0") == ["0"]
