"""Reads single files out of shards; those at an address are fetched whole into a folder of bounded size."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from yolor_mtl.data.array_cache import cache_folder
from yolor_mtl.data.shards.listing import NAMES, Kind, Listing, Tar
from yolor_mtl.data.shards.order import WINDOW
from yolor_mtl.ops.extras import need
from yolor_mtl.ops.files import write_atomic
from yolor_mtl.records import UserError

ROOM = 3 * WINDOW
"""Shards that must fit into the cache: the windows of two views, and what other processes are ahead or behind."""

SCHEMES = ("http", "https", "s3", "gs", "gcs", "az", "abfs", "hf", "file")
"""Where shards may be fetched from; a data set must not name anything that runs a program or opens an archive."""

WAITS = (1, 2, 4, None)
"""Seconds between the attempts to fetch a shard."""

_PIECE = 1 << 20


@dataclass
class ShardKeys:
    """The block ``shards`` of a data set's YAML file.

    Attributes:
        url: address of the folder that holds ``SPLIT/000000.tar``.
        cache: folder that fetched shards are kept in; empty for the user's cache folder.
        cache_gb: gigabytes (10^9 bytes) that they may take, give or take one for each loading process.
    """

    url: str = ""
    cache: str = ""
    cache_gb: float = 16.0


@dataclass(frozen=True)
class ShardPlace:
    """Where the shards of a split lie.

    Attributes:
        folder: the listing, and the shards themselves unless they have an address.
        url: address of the split's shards; empty where they lie beside the listing.
        cache: see :class:`ShardKeys`.
        cache_gb: see there.
    """

    folder: Path
    url: str = ""
    cache: str = ""
    cache_gb: float = 16.0

    def folder_of(self, kind: Kind) -> Path:
        """The virtual folder of a kind of files."""
        return self.folder / kind


def shards_of(root: Path, split: str) -> ShardPlace | None:
    """Where a split's shards lie in a data set, if it has some."""
    folder = root / "shards" / split
    return ShardPlace(folder) if (folder / NAMES).is_file() else None


class Store:
    """The files of a split's shards, by their virtual paths.

    Args:
        place: where they lie.

    Raises:
        UserError: the listing is refused, the address is of a kind that is not fetched from, or the cache is too
            small.
    """

    def __init__(self, place: ShardPlace) -> None:
        self.place = place
        self._listing.check()
        if place.url:
            _check_room(place, self._listing.tars)

    def __reduce__(self) -> tuple[Callable[[ShardPlace], Store], tuple[ShardPlace]]:
        # Labels take it along from process to process: it opens its listing where it is used.
        return _reopened, (self.place,)

    @cached_property
    def _listing(self) -> Listing:
        return Listing(self.place.folder)

    @cached_property
    def _tars(self) -> _Local | _Fetched:
        return _Fetched(self.place) if self.place.url else _Local(self.place.folder)

    def read(self, path: Path) -> bytes:
        """One file, by the path that the annotations give it.

        Raises:
            FileNotFoundError: no shard holds it.
            OSError: its shard is missing, of another size than listed, or cannot be fetched.
        """
        kind, *parts = path.relative_to(self.place.folder).parts
        found = self._listing.find(kind, "/".join(parts))
        if found is None:
            raise FileNotFoundError(str(path))
        tar, start, size = found
        with self._tars.opened(tar) as file:
            file.seek(start)
            return file.read(size)

    def tar_number(self, kind: Kind, name: str) -> int | None:
        """Number of the shard that holds a file; ``None`` where none does."""
        return self._listing.tar_number(kind, name)


def _reopened(place: ShardPlace) -> Store:
    """A store that has been checked in another process."""
    store = Store.__new__(Store)
    store.place = place
    return store


def _check_room(place: ShardPlace, tars: Sequence[Tar]) -> None:
    need("shards", "fsspec", "filelock")
    scheme = place.url.partition("://")[0]
    if scheme not in SCHEMES or "::" in place.url:
        raise UserError(f"shards: url: {place.url}: shards are fetched from {', '.join(SCHEMES)} only")
    largest = max(tar.size for tar in tars)
    wanted = min(sum(tar.size for tar in tars), ROOM * largest)
    if wanted > place.cache_gb * 1e9:
        raise UserError(
            f"shards: cache_gb={place.cache_gb:g} has no room for {min(ROOM, len(tars))} shards of "
            f"{largest / 1e9:.2g} GB; give {wanted / 1e9:.2g} or more, or write smaller shards"
        )


class _Local:
    """Shards beside their listing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def opened(self, tar: Tar) -> Iterator[BinaryIO]:
        path = self._folder / tar.name
        try:
            file = path.open("rb")
        except FileNotFoundError as error:
            raise OSError(f"its shard {path} is missing") from error
        with file:
            if (size := os.fstat(file.fileno()).st_size) != tar.size:
                raise OSError(f"its shard {path} has {size} bytes instead of {tar.size}")
            yield file


class _Fetched:
    """Shards at an address; those used longest ago make room for others."""

    def __init__(self, place: ShardPlace) -> None:
        self._url = place.url.rstrip("/")
        key = hashlib.blake2b(self._url.encode(), digest_size=8).hexdigest()
        self._root = Path(place.cache).expanduser() if place.cache else cache_folder() / "shards"
        self._folder = self._root / key
        self._limit = place.cache_gb * 1e9

    @contextmanager
    def opened(self, tar: Tar) -> Iterator[BinaryIO]:
        # Another process may push a shard out between its fetching and its opening: then it is fetched again.
        path = self._folder / tar.name
        while True:
            try:
                file = path.open("rb")
            except FileNotFoundError:
                self._fetch(tar, path)
                continue
            break
        with file:
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)
            yield file

    def _fetch(self, tar: Tar, path: Path) -> None:
        from filelock import FileLock

        self._folder.mkdir(parents=True, exist_ok=True)
        # One process of a machine fetches a shard, the others wait for it.
        with FileLock(self._folder / f".{tar.name}.lock"):
            if path.exists():
                return
            with FileLock(self._root / ".room.lock"):
                self._make_room(tar.size)
            for wait in WAITS:
                try:
                    write_atomic(path, lambda temporary: self._download(tar, temporary))
                except OSError as error:
                    if wait is None:
                        raise OSError(f"its shard {self._url}/{tar.name} cannot be fetched: {error}") from error
                    time.sleep(wait)
                else:
                    return

    def _download(self, tar: Tar, path: Path) -> None:
        """Fetches a shard, and no byte more than it is said to have.

        Raises:
            OSError: it cannot be reached, or is not the shard that was listed.
        """
        import fsspec

        found, size = hashlib.blake2b(digest_size=20), 0
        try:
            with fsspec.open(f"{self._url}/{tar.name}", "rb") as remote, path.open("wb") as file:
                while size <= tar.size and (piece := remote.read(_PIECE)):
                    file.write(piece)
                    found.update(piece)
                    size += len(piece)
        except ImportError as error:
            raise OSError(str(error)) from error
        # What libraries of networks raise is no OSError in general.
        except Exception as error:
            raise error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}") from error
        if size != tar.size or found.hexdigest() != tar.digest:
            raise OSError(f"not the shard that was listed ({size} bytes instead of {tar.size}, or others)")

    def _make_room(self, size: int) -> None:
        """Removes the shards used longest ago until another one fits."""
        there = [(entry.stat(), entry) for entry in self._root.glob("*/*.tar")]
        there.sort(key=lambda found: found[0].st_mtime)
        used = sum(stat.st_size for stat, _ in there) + size
        for stat, entry in there:
            if used <= self._limit:
                return
            entry.unlink(missing_ok=True)
            used -= stat.st_size
