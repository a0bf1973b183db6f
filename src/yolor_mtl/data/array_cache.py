"""Named arrays in one file that is memory-mapped, kept in the user's cache folder and keyed by content.

A file is: magic, length of the header, header (JSON), padding, the arrays. One file stands for one name,
so that a data set which changes replaces its entry instead of leaving the old one behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from yolor_mtl.ops.files import write_atomic

Arrays = Mapping[str, np.ndarray]

_MAGIC = b"yolorix1"
_ALIGN = 64


class _Entry(msgspec.Struct, frozen=True):
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int


class _Header(msgspec.Struct, frozen=True):
    key: str
    size: int
    checksum: int
    entries: list[_Entry]


class _Memo(msgspec.Struct, frozen=True):
    path: str
    size: int
    mtime_ns: int
    digest: str


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/yolor_mtl``, else ``~/.cache/yolor_mtl``; not created."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "yolor_mtl"


def digest_of(parts: Iterable[str | bytes]) -> str:
    """Digest of texts, in order; no two different sequences share one by running together."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Digest of a file's bytes, remembered while its size and time of change stay the same.

    Raises:
        OSError: the file cannot be read.
    """
    path = path.resolve()
    stat = path.stat()
    memo_path = cache_folder() / f"digest-{digest_of([str(path)])}.json"
    with contextlib.suppress(OSError, ValueError):  # No memo, or a damaged one.
        memo = msgspec.json.decode(memo_path.read_bytes(), type=_Memo)
        if (memo.path, memo.size, memo.mtime_ns) == (str(path), stat.st_size, stat.st_mtime_ns):
            return memo.digest
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
    _write(memo_path, [msgspec.json.encode(_Memo(str(path), stat.st_size, stat.st_mtime_ns, digest))])
    return digest


def entry_path(name: str) -> Path:
    """The file of an entry, whether or not it exists."""
    return cache_folder() / f"{name}.idx"


def load(path: Path, key: str) -> dict[str, np.ndarray] | None:
    """The arrays stored in an entry's file, memory-mapped and read-only.

    Returns:
        ``None`` where there are none, where they were stored under another key, or where the file is damaged.
    """
    try:
        return _map(path, key)
    except (OSError, ValueError, TypeError):
        return None


def store(path: Path, key: str, arrays: Arrays) -> None:
    """Writes an entry's file, replacing what was there at once or not at all.

    A folder that cannot be written is no error.
    """
    entries: list[_Entry] = []
    chunks: list[bytes | memoryview] = []
    place = checksum = 0
    for label, array in arrays.items():
        data = np.ascontiguousarray(array)
        raw = data.reshape(-1).view(np.uint8).data
        padding = bytes(-len(raw) % _ALIGN)
        entries.append(_Entry(label, data.dtype.str, data.shape, place))
        chunks += [raw, padding]
        place += len(raw) + len(padding)
        checksum = zlib.crc32(padding, zlib.crc32(raw, checksum))
    header = msgspec.json.encode(_Header(key, place, checksum, entries))
    lead = _MAGIC + len(header).to_bytes(8, "little") + header
    _write(path, [lead, bytes(-len(lead) % _ALIGN), *chunks])


def _map(path: Path, key: str) -> dict[str, np.ndarray] | None:
    with path.open("rb") as file:
        header, start = _read_header(file)
    if header.key != key:
        return None
    # Plain arrays over the map: slices of np.memmap itself are slow, and pickle as copies without saying so.
    whole = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    payload = whole[start:]
    # A file cut short by a full disk, or bytes gone bad, must not reach training as labels.
    if len(payload) != header.size or zlib.crc32(payload.data) != header.checksum:
        return None
    return {entry.name: _view(payload, entry) for entry in header.entries}


def _read_header(file: BinaryIO) -> tuple[_Header, int]:
    """The header, and where the arrays start."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("not an index")
    length = int.from_bytes(file.read(8), "little")
    if length > 1 << 20:
        raise ValueError("header too long")
    header = msgspec.json.decode(file.read(length), type=_Header)
    end = len(_MAGIC) + 8 + length
    return header, end + -end % _ALIGN


def _view(payload: np.ndarray, entry: _Entry) -> np.ndarray:
    dtype = np.dtype(entry.dtype)
    length = int(np.prod(entry.shape, dtype=np.int64)) * dtype.itemsize
    return payload[entry.start : entry.start + length].view(dtype).reshape(entry.shape)


def _write(path: Path, chunks: Sequence[bytes | memoryview]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.writelines(chunks)

    # The cache only saves time: without it every start reads the annotation files again.
    with contextlib.suppress(OSError):
        write_atomic(path, write)
