"""Packs a data set into shards that WebDataset reads too."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.locate import Layout, SplitFiles
from yolor_mtl.data.shards.listing import Kind, Tar, digest, write_listing
from yolor_mtl.data.yolo_txt import PICTURES
from yolor_mtl.ops.extras import need
from yolor_mtl.records import Annotations, UserError

ENDINGS: Mapping[Kind, str] = {"images": "", "panoptic": "panoptic.png", "stuff": "stuff.png"}
"""What a file is called in its shard, behind the number of its picture; a picture keeps its own ending."""

_PIECE = 1 << 20


@dataclass
class Packed:
    """What became of a split.

    Attributes:
        files: pictures and maps in the shards.
        shards: how many shards.
        bytes: their size.
        failures: path of each file that could not be read, and why; the labels of such a picture stay.
    """

    files: int = 0
    shards: int = 0
    bytes: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def write_shards(
    layout: Layout,
    out: Path,
    size: int,
    progress: Callable[[int], object] = lambda pictures: None,
    *,
    cache: bool = False,
) -> dict[str, Packed]:
    """Writes a packed copy of a data set: its annotation files as they are, and everything else in shards.

    It is made in a hidden folder of ``out``, and put in place when it is whole.

    Args:
        layout: the data set.
        out: a folder that is not there yet, or is empty.
        size: bytes after which a shard is full.
        progress: called with the pictures that were packed since the last call.
        cache: see :func:`open_coco`.

    Returns:
        What became of each split.

    Raises:
        UserError: ``out`` holds something, the labels are not in COCO's layout, or no picture can be read.
        OSError: the disk is full or cannot be written.
    """
    need("shards", "webdataset")
    _check(layout, out)
    with ExitStack() as undo:
        if not out.exists():
            out.mkdir(parents=True)
            undo.callback(shutil.rmtree, out)
        # Inside of it: what lies beside it may be another disk.
        with tempfile.TemporaryDirectory(dir=out, prefix=".packing-") as name:
            made = Path(name)
            packed = {split: _pack(layout, split, made, size, progress, cache) for split in layout.splits}
            if not any(each.files for each in packed.values()):
                raise UserError(f"{layout.source}: none of its pictures can be read")
            # Without annotations it is no data set yet.
            for part in ("shards", "annotations"):
                (made / part).rename(out / part)
        undo.pop_all()
    return packed


def _pack(layout: Layout, split: str, made: Path, size: int, progress: Callable[[int], object], cache: bool) -> Packed:
    """One split; one without a single readable picture is left out."""
    files = layout.splits[split]
    data = open_coco(layout.source, [split], cache=cache)
    packed = _write_split(data, files, made / "shards" / split, size, progress)
    if packed.files:
        (made / "annotations").mkdir(exist_ok=True)
        for kind, path in files.annotation_files().items():
            shutil.copyfile(path, made / "annotations" / f"{kind}_{split}.json")
    return packed


def _check(layout: Layout, out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out={out}: not an empty folder; name another one for the shards")
    for split, files in layout.splits.items():
        if files.shards:
            raise UserError(f"{layout.source}: {split} is in shards already")
        if files.yolo or files.roboflow:
            raise UserError(
                f"{layout.source}: shards are made of data in COCO's layout, annotations/instances_{split}.json and "
                "pictures in a folder; export it as COCO first"
            )


class _Shelf:
    """The shards of a split while they are written.

    Attributes:
        tars: those that are full.
        rows: a row of the listing for each file in them.
        kinds: what was put into them.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.tars: list[Tar] = []
        self.rows: list[tuple[int, int, int, int]] = []
        self._open: list[BinaryIO] = []
        self._awaited: dict[str, tuple[Kind, str]] = {}
        self._known: set[tuple[Kind, str]] = set()

    @property
    def kinds(self) -> set[Kind]:
        return {kind for kind, _ in self._known}

    def takes(self, kind: Kind, name: str) -> bool:
        """Whether a file is not there yet: two entries of an annotation file may name one picture."""
        return (kind, name) not in self._known

    def expect(self, member: str, kind: Kind, name: str) -> None:
        """A file will be in a shard, as this member."""
        self._awaited[member] = (kind, name)
        self._known.add((kind, name))

    def open(self, name: str) -> BinaryIO:
        """A new shard. Given its name, webdataset would start a program where it begins with "pipe:"."""
        self._open.append(Path(name).open("wb"))  # noqa: SIM115 - closed when it is full
        return self._open[-1]

    def full(self, name: str) -> None:
        """A shard is written: closes it and notes what is where."""
        self._open.pop().close()
        path = Path(name)
        for member, start, length in _members(path):
            if member in self._awaited:
                self.rows.append((digest(*self._awaited.pop(member)), len(self.tars), start, length))
        self.tars.append(Tar(path.name, path.stat().st_size, _digest_of(path)))

    def close(self) -> None:
        """Writes the listing; without a single file nothing stays."""
        assert not self._awaited, f"not in the shards: {self._awaited}"
        if self.rows:
            write_listing(self.folder, self.kinds, self.tars, self.rows)
        else:
            shutil.rmtree(self.folder)


def _write_split(
    data: CocoDataset, files: SplitFiles, folder: Path, size: int, progress: Callable[[int], object]
) -> Packed:
    # An extra's; only packing needs it.
    from webdataset import ShardWriter

    shelf, failures = _Shelf(folder), {}
    # Mixed once here: shards whose neighbours are alike would make a training see one kind of picture at a time.
    order = np.random.default_rng(0).permutation(len(data)).tolist()
    pattern, most = f"{str(folder).replace('%', '%%')}/%06d.tar", len(data) + 1
    told: dict[str, Any] = {"opener": shelf.open, "post": shelf.full, "verbose": 0, "encoder": False, "mtime": 0}
    with ShardWriter(pattern, maxcount=most, maxsize=size, **told) as writer:
        for place, index in enumerate(order):
            annotations, key = data.annotations(index), f"{place:09d}"
            sample: dict[str, bytes] = {}
            for kind, name, path in _files(annotations, files):
                ending = ENDINGS[kind] or (path.suffix[1:] if path.suffix.lower() in PICTURES else "image")
                if not shelf.takes(kind, name):
                    continue
                try:
                    sample[ending] = path.read_bytes()
                except OSError as error:
                    failures[str(path)] = error.strerror or str(error)
                    continue
                shelf.expect(f"{key}.{ending}", kind, name)
            if sample:
                writer.write({"__key__": key, "json": _about(annotations, files), **sample})
            progress(1)
    shelf.close()
    return Packed(len(shelf.rows), len(shelf.tars), sum(tar.size for tar in shelf.tars), failures)


def _about(annotations: Annotations, files: SplitFiles) -> bytes:
    """What other readers of WebDataset may want to know of a picture, as JSON."""
    name = annotations.path.relative_to(files.images).as_posix()
    return msgspec.json.encode(
        {"file_name": name, "image_id": annotations.image_id, "captions": annotations.captions or ()}
    )


def _files(annotations: Annotations, files: SplitFiles) -> Iterator[tuple[Kind, str, Path]]:
    """Kind, name and path of each file of a picture."""
    places: Sequence[tuple[Kind, Path | None, Path | None]] = (
        ("images", annotations.path, files.images),
        ("panoptic", annotations.panoptic.path if annotations.panoptic else None, files.panoptic_maps),
        ("stuff", annotations.stuff_map, files.stuff_maps),
    )
    for kind, path, folder in places:
        if path is not None and folder is not None:
            yield kind, path.relative_to(folder).as_posix(), path


def _members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, first byte and length of the files of a tar."""
    with tarfile.open(path) as tar:
        for member in tar:
            yield member.name, member.offset_data, member.size


def _digest_of(path: Path) -> str:
    found = hashlib.blake2b(digest_size=20)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()
