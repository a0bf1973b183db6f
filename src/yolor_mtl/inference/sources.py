"""What ``source=`` may be: pictures, folders, patterns, lists, films, cameras, and what comes in."""

from __future__ import annotations

import glob
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from yolor_mtl.data.image import read_image
from yolor_mtl.inference.video import Film, camera, film
from yolor_mtl.records import UserError

ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Files of a folder that are taken for pictures."""

FILMS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})
"""Files that are taken for films."""

LARGEST_PICTURE = 512 * 2**20
"""Bytes of a picture on standard input."""


@dataclass(frozen=True)
class Shot:
    """A picture that is read when its turn comes.

    Attributes:
        path: where it comes from.
        read: gives (3, H, W) uint8 RGB, upright; raises :class:`UnreadableImageError`.
        frame: its number in a film, from 0; ``None`` for a picture of its own.
        time: seconds from the start of the film.
    """

    path: str
    read: Callable[[], Tensor]
    frame: int | None = None
    time: float | None = None


@dataclass(frozen=True)
class Source:
    """Pictures one after the other.

    Attributes:
        shots: they can be gone through once.
        total: how many, where that is known.
        film: where they are the frames of one.
        files: what is read, where that is known before.
    """

    shots: Iterable[Shot]
    total: int | None = None
    film: Film | None = None
    files: Sequence[Path] = ()


def open_source(source: str) -> Source:
    """What a source names.

    Args:
        source: a picture, a film, a folder of pictures, a pattern, a ``.txt`` that lists pictures (one a line, those
            that are not absolute are sought from the working folder and then beside the list), a camera's number, or
            ``-``: a picture's bytes, or the names of pictures one a line, on standard input.

    Raises:
        UserError: there is no such thing, or nothing in it.
    """
    if source == "-":
        return _standard_input(sys.stdin.buffer)
    path = Path(source)
    if source.isdigit() and not path.exists():
        return _frames(camera(int(source)), ())
    if path.suffix.lower() in FILMS and path.is_file():
        return _frames(film(path), (path,))
    if path.suffix.lower() == ".txt" and path.is_file():
        names = [line.strip() for line in _lines(path)]
        found = [_beside(name, path.parent) for name in names if name]
        if not found:
            raise UserError(f"source={source}: the list is empty; one picture a line is needed")
        return _pictures(found)
    return _pictures(find_pictures(source))


def find_pictures(source: str) -> list[Path]:
    """The pictures of a source, in the order of their names.

    Args:
        source: a file (of any ending), a folder (its pictures, not those of its subfolders), or a glob pattern.

    Raises:
        UserError: there is no such thing, or no picture in it.
    """
    path = Path(source)
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in ENDINGS and entry.is_file())
        if not found:
            raise UserError(f"source={source}: no pictures in this folder; known endings: {', '.join(sorted(ENDINGS))}")
        return found
    if path.exists():
        return [path]
    if glob.has_magic(source):
        # A pattern may be absolute, which Path.glob refuses.
        found = sorted(Path(name) for name in glob.glob(source, recursive=True))  # noqa: PTH207
        if found := [entry for entry in found if entry.is_file()]:
            return found
        raise UserError(f"source={source}: no file matches this pattern")
    raise UserError(f"source={source}: no such file or folder")


def _picture(path: Path) -> Shot:
    return Shot(str(path), partial(read_image, path))


def _pictures(paths: Sequence[Path]) -> Source:
    return Source((_picture(path) for path in paths), len(paths), files=paths)


def _frames(frames: Film, files: Sequence[Path]) -> Source:
    shots = (Shot(frames.path, frame.read, frame.number, frame.time) for frame in frames)
    return Source(shots, frames.total, frames, files)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"source={path}: not a text file; a .txt lists pictures, one a line") from error


def _beside(name: str, folder: Path) -> Path:
    """A listed picture; where it is not found it keeps its name, to be reported as any picture that is missing."""
    path = Path(name)
    return folder / path if not path.exists() and (folder / path).exists() else path


def _standard_input(stream: BinaryIO) -> Source:
    """A picture, or names as they come: ``find`` may be still at work."""
    # A picture's first bytes are no text; no name is longer than a buffer.
    start = stream.readline(4096)
    if not start:
        raise UserError("source=-: nothing came on standard input; a picture, or names one a line, are needed")
    try:
        first = start.decode("utf-8")
    except UnicodeDecodeError:
        first = "\0"
    if "\0" not in first:
        return Source(_picture(Path(name)) for name in _names(first, stream))
    data = start + stream.read(LARGEST_PICTURE + 1 - len(start))
    if len(data) > LARGEST_PICTURE:
        raise UserError(f"source=-: more than {LARGEST_PICTURE} bytes on standard input, which is no picture")
    return Source([Shot("stdin", lambda: read_image(io.BytesIO(data)))], 1)


def _names(first: str, stream: BinaryIO) -> Iterator[str]:
    for line in chain([first], (raw.decode("utf-8", "surrogateescape") for raw in stream)):
        if name := line.strip():
            yield name
