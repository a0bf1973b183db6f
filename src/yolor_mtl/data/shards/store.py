"""Reads single files out of shards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import BinaryIO

from yolor_mtl.data.shards.fetched import Fetched
from yolor_mtl.data.shards.listing import Kind, Listing, Tar
from yolor_mtl.data.shards.place import ShardPlace, check_address
from yolor_mtl.records import PackedError


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
            check_address(place, self._listing.tars)

    def __reduce__(self) -> tuple[Callable[[ShardPlace], Store], tuple[ShardPlace]]:
        # Labels take it along from process to process: it opens its listing where it is used.
        return _reopened, (self.place,)

    @cached_property
    def _listing(self) -> Listing:
        return Listing(self.place.folder)

    @cached_property
    def _tars(self) -> _Local | Fetched:
        return Fetched(self.place) if self.place.url else _Local(self.place.folder)

    def read(self, path: Path) -> bytes:
        """One file, by the path that the annotations give it.

        Raises:
            FileNotFoundError: no shard holds it.
            PackedError: its shard is missing, of another size than listed, or cannot be fetched.
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


@cache
def _reopened(place: ShardPlace) -> Store:
    """A store that has been checked in another process; one for all the labels that come from there."""
    store = Store.__new__(Store)
    store.place = place
    return store


class _Local:
    """Shards beside their listing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def opened(self, tar: Tar) -> Iterator[BinaryIO]:
        path = self._folder / tar.name
        try:
            file = path.open("rb")
        except OSError as error:
            raise PackedError(f"its shard {path} is missing: {error.strerror}") from error
        with file:
            if (size := os.fstat(file.fileno()).st_size) != tar.size:
                raise PackedError(f"its shard {path} has {size} bytes instead of {tar.size}")
            yield file
