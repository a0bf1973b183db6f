"""What lies where in the shards of a split: ``shards.json`` and ``places.bin`` beside the tar files.

The tar files themselves are WebDataset's: the files of one picture follow each other and share the name up to the first
dot. Reading them in order needs no listing; reading one picture out of the middle does, and with it a training can go
on anywhere.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec
import numpy as np

from yolor_mtl.ops.files import write_atomic
from yolor_mtl.records import UserError

FORMAT = "yolor-mtl/shards/1"
NAMES, PLACES = "shards.json", "places.bin"
_TAR, _DIGEST = re.compile(r"\d{6}\.tar"), re.compile(r"[0-9a-f]{40}")

Kind = Literal["images", "panoptic", "stuff"]
"""What a file is: also the first folder of its virtual path."""

PLACE = np.dtype([("name", "<u8"), ("tar", "<u4"), ("start", "<u8"), ("size", "<u8")])
"""A row of ``places.bin``, sorted by the first column: digest of kind and name of a file, number of its tar, and its
first byte and length there."""


class Tar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One shard.

    Attributes:
        name: its file name.
        size: bytes.
        digest: BLAKE2b of all of it, 20 bytes in hexadecimal.
    """

    name: str
    size: int
    digest: str


class _Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    kinds: list[Kind]
    files: int
    tars: list[Tar]


def digest(kind: str, name: str) -> int:
    """64 bits that stand for a file: a listing of millions stays small, and is shared between processes."""
    # Annotation files may say ./a.jpg or b//a.jpg.
    path = PurePosixPath(kind, name).as_posix()
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "little")


class Listing:
    """Finds files of a split by name.

    Args:
        folder: that holds ``shards.json`` and ``places.bin``.

    Attributes:
        tars: the shards.
        kinds: what lies in them.

    Raises:
        UserError: they are missing, broken, or do not belong together.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / NAMES
        try:
            names = msgspec.json.decode(path.read_bytes(), type=_Names)
        except (OSError, msgspec.MsgspecError) as error:
            raise UserError(f"{path}: not a listing of shards: {error}; {_AGAIN}") from error
        if names.format != FORMAT:
            raise UserError(f"{path}: format {names.format!r}, expected {FORMAT!r}; {_AGAIN}")
        if not names.tars or not all(_sound(tar) for tar in names.tars):
            raise UserError(f"{path}: shards are called 000000.tar and have a size and a digest; {_AGAIN}")
        self.tars, self.kinds = tuple(names.tars), frozenset(names.kinds)
        self._places = _places(folder / PLACES, names.files)
        self._digests = self._places["name"]

    def check(self) -> None:
        """Looks at every place.

        Raises:
            UserError: some are outside of the shards.
        """
        sizes = np.array([tar.size for tar in self.tars], dtype=np.uint64)
        tar, start, size = (self._places[column] for column in ("tar", "start", "size"))
        if not (tar < len(sizes)).all() or (start > sizes[tar]).any() or (size > sizes[tar] - start).any():
            raise UserError(f"{self._folder / PLACES}: places outside of the shards; {_AGAIN}")

    def find(self, kind: str, name: str) -> tuple[Tar, int, int] | None:
        """Shard, first byte and length of a file; ``None`` where there is none."""
        row = self._row(kind, name)
        if row is None:
            return None
        _, tar, start, size = row.tolist()
        return self.tars[tar], start, size

    def tar_number(self, kind: Kind, name: str) -> int | None:
        """Number of the shard that holds a file."""
        row = self._row(kind, name)
        return None if row is None else int(row["tar"])

    def _row(self, kind: str, name: str) -> np.void | None:
        wanted = digest(kind, name)
        # Not numpy's search, which copies a column that lies between others.
        place = bisect_left(self._digests, wanted)
        if place == len(self._digests) or self._digests[place] != wanted:
            return None
        row: np.void = self._places[place]
        return row


def _sound(tar: Tar) -> bool:
    """Name and digest become paths."""
    return bool(_TAR.fullmatch(tar.name) and _DIGEST.fullmatch(tar.digest)) and tar.size > 0


def write_listing(
    folder: Path, kinds: Iterable[Kind], tars: Sequence[Tar], rows: Sequence[tuple[int, int, int, int]]
) -> None:
    """Writes the listing of shards that are whole.

    Args:
        folder: where they lie.
        kinds: what lies in them.
        tars: the shards.
        rows: a :data:`PLACE` for each file.

    Raises:
        UserError: two files have the same digest.
    """
    places = np.sort(np.array(list(rows), dtype=PLACE), order="name")
    if (places["name"][1:] == places["name"][:-1]).any():
        raise UserError(f"{folder}: two files of the split have the same digest; give one of them another name")
    write_atomic(folder / PLACES, places.tofile)
    content = msgspec.json.format(msgspec.json.encode(_Names(FORMAT, sorted(kinds), len(places), list(tars))), indent=1)
    write_atomic(folder / NAMES, lambda path: path.write_bytes(content))


_AGAIN = "write the shards again with yolor-mtl data convert"


def _places(path: Path, files: int) -> np.ndarray:
    """The places, mapped into memory."""
    try:
        size = path.stat().st_size
        # Not numpy's own format, whose header is a program to parse: rows and nothing else.
        return np.asarray(np.memmap(path, dtype=PLACE, mode="r", shape=(_whole(size, files),)))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}; {_AGAIN}") from error


def _whole(size: int, files: int) -> int:
    if size != files * PLACE.itemsize or not files:
        raise ValueError(f"{size} bytes do not belong to the {files} files of {NAMES} beside it")
    return files
