"""The word list that belongs to a released network that writes captions; users bring it."""

from __future__ import annotations

from pathlib import Path

from yolor_mtl.records import UserError

LARGEST = 4 * 1024 * 1024
"""Bytes; the released list takes 90 thousand."""


def read_words(path: Path) -> tuple[str, ...]:
    """Lines of a vocabulary file as they stand, empty and repeated ones too: the line's number is the word's.

    Raises:
        UserError: no such file, too large, or not UTF-8 text.
    """
    if not path.is_file():
        raise UserError(f"vocab={path}: no such file; it is the vocab.txt that was published with the checkpoint")
    if (size := path.stat().st_size) > LARGEST:
        raise UserError(f"vocab={path}: {size} bytes are no word list; {LARGEST} is the most")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"vocab={path} is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise UserError(f"cannot read vocab={path}: {error.strerror or error}") from error
    if "\0" in text:
        raise UserError(f"vocab={path} is not text; one word a line is needed")
    # Only line feeds end a line here: other separators that Python knows could be words.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return tuple(lines[:-1] if lines[-1] == "" else lines)
