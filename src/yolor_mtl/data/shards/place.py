"""Where the shards of a split lie, and what a data set may say about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from yolor_mtl.data.shards.listing import NAMES, Kind, Tar
from yolor_mtl.data.shards.order import WINDOW
from yolor_mtl.ops.extras import need
from yolor_mtl.records import UserError

SCHEMES = ("http", "https", "s3", "gs", "gcs", "az", "abfs", "hf", "file")
"""Where shards may be fetched from; a data set must not name anything that runs a program or opens an archive."""

ROOM = 3 * WINDOW
"""Shards that must fit into the cache: the windows of two views, and what other processes are ahead or behind."""


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


def check_address(place: ShardPlace, tars: Sequence[Tar]) -> None:
    """Refuses what would fail at every shard.

    Raises:
        UserError: an address of a kind that is not fetched from, a package for it that is missing, or a cache that is
            too small.
    """
    need("shards", "fsspec", "filelock")
    import fsspec

    address = urlsplit(place.url)
    if address.scheme not in SCHEMES or "::" in place.url:
        raise UserError(f"shards: url: {place.url}: shards are fetched from {', '.join(SCHEMES)} only")
    if address.query or address.fragment or "@" in address.netloc:
        told = "the names of the shards are put behind it, and messages show it"
        raise UserError(f"shards: url: give the address without a password, ? and #: {told}")
    try:
        fsspec.get_filesystem_class(address.scheme)
    except ImportError as error:
        raise UserError(f"shards: url: {place.url}: {error}") from error
    largest = max(tar.size for tar in tars)
    wanted = min(sum(tar.size for tar in tars), ROOM * largest)
    if wanted > place.cache_gb * 1e9:
        raise UserError(
            f"shards: cache_gb={place.cache_gb:g} has no room for {min(ROOM, len(tars))} shards of "
            f"{largest / 1e9:.2g} GB; give {wanted / 1e9:.2g} or more, or write smaller shards"
        )
