"""Shards at an address, fetched whole into a folder of bounded size."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from yolor_mtl.data.array_cache import cache_folder
from yolor_mtl.data.shards.listing import Tar
from yolor_mtl.data.shards.place import ShardPlace
from yolor_mtl.ops.files import write_atomic, write_text
from yolor_mtl.records import PackedError

WAITS = (1, 2, 4, None)
"""Seconds between the attempts to fetch a shard."""

CONNECT, SILENCE = 15, 30
"""Seconds until a server counts as out of reach, and as having stopped in the middle."""

PARDON = 300
"""Seconds for which a shard that could not be fetched is not asked for again, by any process of the machine."""

LEFT_OVER = 86400
"""Seconds after which a part of a shard belongs to a process that is gone."""

_PIECE = 1 << 20


class _WrongShardError(OSError):
    """Asking again would give the same."""


class Fetched:
    """The shards of a split; those used longest ago make room for others.

    A file of the cache is named by its content: data that was packed anew under the same address is not mistaken for
    what was there before.

    Args:
        place: where they lie.
    """

    def __init__(self, place: ShardPlace) -> None:
        self._url = place.url.rstrip("/")
        self._folder = Path(place.cache).expanduser() if place.cache else cache_folder() / "shards"
        self._limit = place.cache_gb * 1e9

    @contextmanager
    def opened(self, tar: Tar) -> Iterator[BinaryIO]:
        """A shard, which is fetched first where it is not there.

        Raises:
            PackedError: it cannot be fetched, or could not a moment ago.
        """
        path = self._folder / f"{tar.digest}.tar"
        # Another process may push a shard out between its fetching and its opening: then it is fetched again.
        while True:
            try:
                file = path.open("rb")
            except FileNotFoundError:
                self._fetch(tar, path)
            else:
                break
        with file:
            with contextlib.suppress(OSError):
                os.utime(path)
            yield file

    def _fetch(self, tar: Tar, path: Path) -> None:
        from filelock import FileLock

        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # One process of a machine fetches a shard, the others wait for it.
            with FileLock(self._folder / f".{tar.digest}.lock"):
                if not path.exists():
                    self._fetch_now(tar, path)
        except PackedError:
            raise
        except OSError as error:
            raise PackedError(f"the cache of shards cannot be written: {error}") from error

    def _fetch_now(self, tar: Tar, path: Path) -> None:
        failed = path.with_suffix(".failed")
        if (told := _said_lately(failed)) is not None:
            raise PackedError(told)
        for wait in WAITS:
            try:
                self._make_room(tar.size)
                write_atomic(path, lambda temporary: self._download(tar, temporary))
            except OSError as error:
                if wait is None or isinstance(error, (FileNotFoundError, PermissionError, _WrongShardError)):
                    told = f"its shard {self._url}/{tar.name} cannot be fetched: {error}"
                    with contextlib.suppress(OSError):
                        write_text(failed, told)
                    raise PackedError(told) from error
                time.sleep(wait)
            else:
                failed.unlink(missing_ok=True)
                return

    def _download(self, tar: Tar, path: Path) -> None:
        """Fetches a shard, and no byte more than it is said to have.

        Raises:
            OSError: it cannot be reached, or is not the shard that was listed.
        """
        import fsspec

        found, size = hashlib.blake2b(digest_size=20), 0
        try:
            with (
                fsspec.open(f"{self._url}/{tar.name}", "rb", **_how(self._url)) as remote,
                path.open("wb") as file,
            ):
                while size <= tar.size and (piece := remote.read(_PIECE)):
                    file.write(piece)
                    found.update(piece)
                    size += len(piece)
        # What libraries of networks raise is no OSError in general.
        except Exception as error:
            raise error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}") from error
        if size != tar.size or found.hexdigest() != tar.digest:
            raise _WrongShardError(f"not the shard that was listed ({size} bytes instead of {tar.size}, or others)")

    def _make_room(self, size: int) -> None:
        """Removes the shards used longest ago until another one fits under the limit and on the disk."""
        from filelock import FileLock

        with FileLock(self._folder / ".room.lock"):
            there = sorted(_sizes(self._folder))
            used = sum(each for _, each, _ in there) + size
            for _, each, path in there:
                if used <= self._limit and shutil.disk_usage(self._folder).free > size:
                    return
                path.unlink(missing_ok=True)
                used -= each


def _how(url: str) -> dict[str, Any]:
    """In one stream: by default fsspec asks for pieces, which not every server has, and gives up after five minutes."""
    if not url.startswith("http"):
        return {}
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE)
    return {"block_size": 0, "client_kwargs": {"timeout": timeout}}


def _said_lately(failed: Path) -> str | None:
    """Why a shard could not be fetched a moment ago."""
    with contextlib.suppress(OSError):
        if time.time() - failed.stat().st_mtime < PARDON:
            return failed.read_text(encoding="utf-8")
    return None


def _sizes(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Last use, size and path of the shards that are there; parts whose process is gone are removed."""
    for path in folder.glob("*.tar"):
        # Other processes come and go.
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            if not path.name.startswith("."):
                yield stat.st_mtime, stat.st_size, path
            elif time.time() - stat.st_mtime > LEFT_OVER:
                path.unlink()
