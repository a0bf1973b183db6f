"""Packs a data set into shards that WebDataset reads too."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.locate import Layout, SplitFiles
from yolor_mtl.data.shards.listing import Kind, Tar, digest, write_listing
from yolor_mtl.ops.extras import need
from yolor_mtl.ops.files import umask
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
    layout: Layout, out: Path, size: int, progress: Callable[[int], object] = lambda pictures: None
) -> dict[str, Packed]:
    """Writes a packed copy of a data set: its annotation files as they are, and everything else in shards.

    It is made beside ``out`` and gets that name when it is whole.

    Args:
        layout: the data set.
        out: a folder that is not there yet, or is empty.
        size: bytes after which a shard is full.
        progress: called with the pictures that were packed since the last call.

    Returns:
        What became of each split.

    Raises:
        UserError: ``out`` holds something, or the labels are not in COCO's layout.
        OSError: the disk is full or cannot be written.
    """
    need("shards", "webdataset")
    _check(layout, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        made = Path(name) / "made"
        (made / "annotations").mkdir(parents=True)
        packed = {}
        for split, files in layout.splits.items():
            for kind, path in files.annotation_files().items():
                shutil.copyfile(path, made / "annotations" / f"{kind}_{split}.json")
            data = open_coco(layout.source, [split], cache=False)
            packed[split] = _write_split(data, files, made / "shards" / split, size, progress)
        for folder in (made, *(path for path in made.rglob("*") if path.is_dir())):
            folder.chmod(0o777 & ~umask())
        if out.exists():
            out.rmdir()
        made.rename(out)
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


def _write_split(
    data: CocoDataset, files: SplitFiles, folder: Path, size: int, progress: Callable[[int], object]
) -> Packed:
    # An extra's; only packing needs it.
    from webdataset import ShardWriter

    folder.mkdir(parents=True)
    packed = Packed()
    names: dict[str, tuple[Kind, str]] = {}
    tars: list[Tar] = []
    rows: list[tuple[int, int, int, int]] = []

    opened: list[BinaryIO] = []

    def opener(name: str) -> BinaryIO:
        opened.append(Path(name).open("wb"))  # noqa: SIM115 - closed when its shard is full
        return opened[-1]

    def finished(name: str) -> None:
        opened.pop().close()
        path = Path(name)
        for member, start, length in _members(path):
            if member in names:
                rows.append((digest(*names.pop(member)), len(tars), start, length))
        tars.append(Tar(path.name, path.stat().st_size, _digest_of(path)))

    # Mixed once here: shards whose neighbours are alike would make a training see one kind of picture at a time.
    order = np.random.default_rng(0).permutation(len(data)).tolist()
    pattern, most = f"{str(folder).replace('%', '%%')}/%06d.tar", len(data) + 1
    # Files are opened here: given a name, webdataset would start a program where one begins with "pipe:".
    told: dict[str, Any] = {"opener": opener, "post": finished, "verbose": 0, "encoder": False, "mtime": 0}
    with ShardWriter(pattern, maxcount=most, maxsize=size, **told) as writer:
        for place, index in enumerate(order):
            annotations = data.annotations(index)
            sample: dict[str, Any] = {}
            for kind, name, path in _files(annotations, files):
                ending = ENDINGS[kind] or path.suffix.lower().removeprefix(".") or "image"
                try:
                    sample[ending] = path.read_bytes()
                except OSError as error:
                    packed.failures[str(path)] = error.strerror or str(error)
                    continue
                names[f"{place:09d}.{ending}"] = (kind, name)
            if sample:
                about = {
                    "file_name": annotations.path.relative_to(files.images).as_posix(),
                    "image_id": annotations.image_id,
                    "captions": annotations.captions or (),
                }
                writer.write({"__key__": f"{place:09d}", "json": msgspec.json.encode(about), **sample})
            progress(1)
    if not rows:
        raise UserError(f"{files.images}: none of the pictures of {files.name} can be read")
    write_listing(folder, tars, rows)
    packed.files, packed.shards, packed.bytes = len(rows), len(tars), sum(tar.size for tar in tars)
    return packed


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
