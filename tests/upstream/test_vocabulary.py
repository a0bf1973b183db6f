"""Word lists as users hand them in."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolor_mtl.records import UserError
from yolor_mtl.upstream import vocabulary
from yolor_mtl.upstream.vocabulary import read_words


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\nb\n", ("a", "b")),
        (b"a\nb", ("a", "b")),
        (b"a\r\nb\r\n", ("a", "b")),
        (b"\xef\xbb\xbfa\n\n\na\n", ("a", "", "", "a")),
        ("é\n\\n\n\x85\u2028\n".encode(), ("é", "\\n", "\x85\u2028")),
        (b"\n", ("",)),
        (b"", ()),
    ],
)
def test_lines_as_they_stand(tmp_path: Path, content: bytes, words: tuple[str, ...]) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    assert read_words(tmp_path / "vocab.txt") == words


@pytest.mark.parametrize(
    ("content", "told"), [(b"a\xff\n", "is not UTF-8 text"), (b"a\0b\n", "is not text"), (b"a" * 101, "no word list")]
)
def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, told: str) -> None:
    monkeypatch.setattr(vocabulary, "LARGEST", 100)
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_words(tmp_path / "vocab.txt")


def test_absent(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "vocab.txt"):
        with pytest.raises(UserError, match=f"vocab={path}: no such file"):
            read_words(path)
