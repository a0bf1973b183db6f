"""A split's annotations as flat arrays with offsets.

120,000 images stay a handful of arrays: workers share them after a fork, since reading them touches no
reference counts, and a start with a warm cache maps them from disk instead of parsing JSON.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from yolor_mtl.data import array_cache
from yolor_mtl.data.coco_json import (
    CaptionsFile,
    InstancesFile,
    JsonCaption,
    JsonCategory,
    JsonImage,
    JsonObject,
    JsonPanoptic,
    JsonPanopticCategory,
    PanopticFile,
    StuffFile,
    entries,
    read_json,
    safe_name,
)
from yolor_mtl.data.coco_segmentation import mask_text
from yolor_mtl.data.labels import clipped_box
from yolor_mtl.data.locate import SplitFiles
from yolor_mtl.data.yolo_txt import Listing, list_images, read_instances
from yolor_mtl.records import UserError

READER_VERSION = "2"
"""Changes with the meaning of the arrays, so that older cache entries are rebuilt."""

BOXES, MASKS, PANOPTIC, CAPTIONS = 1, 2, 4, 8
"""Bits of ``labels``: what an image is labelled for."""


class SplitIndex:
    """Read-only view of one split's arrays; made by :func:`load_index`.

    Attributes:
        arrays: for n images: ``image_ids`` (n,), ``sizes`` (n, 2) height and width, ``labels`` (n,) bits; offsets
            ``object_at``, ``segment_at``, ``caption_at`` (n + 1,) into the tables; by object ``object_id``,
            ``object_category``, ``object_box`` (xyxy as the file states it, inside the image or not), ``object_area``,
            ``object_crowd``; by segment ``segment_id``, ``segment_category``, ``segment_area``, ``segment_crowd``;
            texts (``name`` and ``png`` by image, ``mask`` by object, ``caption``), each as bytes with ``_from`` and
            ``_to``; ``dropped`` (1,) boxes without area inside their image, which training leaves out. Categories are
            the file's own ids.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], source: tuple[Path, str] | None = None) -> None:
        self.arrays = arrays
        self._source = source

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers that are not forked (forkserver, spawn) map the same file instead of each getting a copy.
        return (reopen_index, self._source) if self._source else (SplitIndex, (dict(self.arrays),))

    def __len__(self) -> int:
        return len(self.arrays["image_ids"])

    def labelled(self, bit: int) -> np.ndarray:
        """(n,) bool: the images labelled for one of ``BOXES``, ``MASKS``, ``PANOPTIC``, ``CAPTIONS``."""
        return np.asarray((self.arrays["labels"] & bit) != 0)

    def rows(self, table: str, image: int) -> range:
        """Rows of ``object``, ``segment`` or ``caption`` that belong to an image."""
        at = self.arrays[f"{table}_at"]
        return range(int(at[image]), int(at[image + 1]))

    def text(self, name: str, row: int) -> bytes:
        """Entry ``row`` of ``name``, ``png``, ``mask`` or ``caption``, UTF-8; empty where there is none."""
        start, end = self.arrays[f"{name}_from"][row], self.arrays[f"{name}_to"][row]
        return self.arrays[name][start:end].tobytes()


def load_index(files: SplitFiles, *, cache: bool) -> SplitIndex:
    """The index of a split, from the cache where that still matches the annotation files.

    Raises:
        UserError: an annotation file is refused.
    """
    paths = files.annotation_files()
    listing = list_images(files.yolo) if files.yolo else None
    if not cache:
        return SplitIndex(build_arrays(paths, listing))
    if listing:
        entry = cache_entry("index", {f"text labels of {files.name}": listing.split.file})
        key = array_cache.digest_of([READER_VERSION, listing.key])
    else:
        entry, key = cache_entry("index", paths), content_key(paths)
    if stored := array_cache.load(entry, key):
        return SplitIndex(stored, (entry, key))
    built = build_arrays(paths, listing)
    array_cache.store(entry, key, built)
    # Mapped pages are shared by all processes and given back under pressure; built arrays are neither.
    stored = array_cache.load(entry, key)
    return SplitIndex(stored, (entry, key)) if stored else SplitIndex(built)


def reopen_index(entry: Path, key: str) -> SplitIndex:
    """The index that another process opened from its cache entry.

    Raises:
        UserError: the entry is gone or was replaced since.
    """
    if stored := array_cache.load(entry, key):
        return SplitIndex(stored, (entry, key))
    raise UserError(f"{entry}: removed, or its annotation files changed, while a run was using them; start again")


def cache_entry(what: str, paths: Mapping[str, Path]) -> Path:
    """The cache entry about these files, whatever they hold."""
    digest = array_cache.digest_of(f"{kind} {path.resolve()}" for kind, path in paths.items())
    return array_cache.entry_path(f"{what}-{digest}")


def content_key(paths: Mapping[str, Path]) -> str:
    """Digest of what the files hold and of this reader.

    Raises:
        UserError: a file cannot be read.
    """
    parts = [READER_VERSION]
    for kind, path in paths.items():
        try:
            parts += [kind, array_cache.file_digest(path)]
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    return array_cache.digest_of(parts)


def build_arrays(paths: Mapping[str, Path], listing: Listing | None = None) -> dict[str, np.ndarray]:
    """Reads the annotation files (kind -> path) or the text labels of one split; see :class:`SplitIndex`.

    Raises:
        UserError: a file is broken or says something that cannot be used.
    """
    images = _Images()
    objects = _Table("object", {"id": "q", "category": "q", "box": "d", "area": "d", "crowd": "B"}, "mask")
    segments = _Table("segment", {"id": "q", "category": "q", "area": "q", "crowd": "B"})
    captions = _Table("caption", {}, "caption")
    pngs: dict[int, str] = {}
    dropped = 0
    # One file at a time, so that no two of them are in memory at once.
    if listing:
        dropped = _read_objects(listing.split.file, read_instances(listing), images, objects)
    elif path := paths.get("instances"):
        dropped = _read_objects(path, read_json(path, InstancesFile), images, objects)
    if path := paths.get("panoptic"):
        pngs = _read_panoptic(path, images, segments)
    if path := paths.get("captions"):
        _read_captions(path, images, captions)
    if path := paths.get("stuff"):
        images.add(path, read_json(path, StuffFile).images)
    png_texts = _Texts()
    for row in range(len(images)):
        png_texts.append(pngs.get(row, "").encode())
    arrays = images.arrays() | png_texts.arrays("png") | {"dropped": np.array([dropped])}
    for table in (objects, segments, captions):
        arrays |= table.arrays(len(images))
    return arrays


class _Texts:
    """Strings of bytes in one blob."""

    def __init__(self) -> None:
        self._blob = bytearray()
        self._from = array("q")
        self._to = array("q")

    def append(self, raw: bytes | memoryview) -> None:
        self._from.append(len(self._blob))
        self._blob += raw
        self._to.append(len(self._blob))

    def __getitem__(self, row: int) -> bytes:
        return bytes(self._blob[self._from[row] : self._to[row]])

    def arrays(self, name: str, order: np.ndarray | None = None) -> dict[str, np.ndarray]:
        pick = slice(None) if order is None else order
        return {
            name: np.frombuffer(self._blob, np.uint8),
            f"{name}_from": np.frombuffer(self._from, np.int64)[pick],
            f"{name}_to": np.frombuffer(self._to, np.int64)[pick],
        }


class _Table:
    """Columns that grow row by row, each row belonging to an image; sorted by image at the end.

    Attributes:
        images: the image of every row.
        columns: ``q`` integers, ``d`` floats, ``B`` flags; of ``box`` four in a row.
        texts: one a row, where the table has texts.
    """

    def __init__(self, name: str, columns: Mapping[str, str], texts: str | None = None) -> None:
        self.images = array("q")
        self.columns: dict[str, array[Any]] = {column: array(typecode) for column, typecode in columns.items()}
        self.texts = _Texts()
        self._name = name
        self._text_name = texts

    def arrays(self, count: int) -> dict[str, np.ndarray]:
        """The columns, sorted by image and else in the file's order, and where each of ``count`` images begins."""
        images = np.frombuffer(self.images, np.int64)
        order = np.argsort(images, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(images, minlength=count))]).astype(np.int64)
        arrays = {f"{self._name}_at": starts}
        for name, column in self.columns.items():
            values = np.frombuffer(column, column.typecode)
            arrays[f"{self._name}_{name}"] = (values.reshape(-1, 4) if name == "box" else values)[order]
        return arrays | (self.texts.arrays(self._text_name, order) if self._text_name else {})


class _Images:
    """The union of the image lists, in the order of the files."""

    def __init__(self) -> None:
        self.labels = bytearray()
        self._rows: dict[int, int] = {}
        self._sizes = array("i")
        self._names = _Texts()
        self._listed_in: list[Path] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, path: Path, raw: list[msgspec.Raw]) -> dict[int, int]:
        """Adds a file's image list and returns image id -> row for the images of this file."""
        listed: dict[int, int] = {}
        for image in entries(path, "images", raw, JsonImage):
            if image.id in listed:
                raise UserError(f"{path}: image id {image.id} is there twice; give every image its own id")
            row = listed[image.id] = self._rows.setdefault(image.id, len(self._rows))
            if row == len(self.labels):
                self._names.append(safe_name(path, image.id, image.file_name).encode())
                self._sizes.extend((image.height, image.width))
                self.labels.append(0)
                self._listed_in.append(path)
            elif (image.file_name, image.height, image.width) != self.facts(row):
                name, height, width = self.facts(row)
                raise UserError(
                    f"{path}: image {image.id} is {image.file_name!r}, {image.width} x {image.height}; "
                    f"{self._listed_in[row]} says {name!r}, {width} x {height}; "
                    "make file_name, width and height agree"
                )
        return listed

    def facts(self, row: int) -> tuple[str, int, int]:
        """File name, height and width."""
        return self._names[row].decode(), self._sizes[2 * row], self._sizes[2 * row + 1]

    def size(self, row: int) -> tuple[int, int]:
        """Height and width."""
        return self._sizes[2 * row], self._sizes[2 * row + 1]

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "image_ids": np.fromiter(self._rows, np.int64, len(self._rows)),
            "sizes": np.frombuffer(self._sizes, np.int32).reshape(-1, 2),
            "labels": np.frombuffer(self.labels, np.uint8),
            **self._names.arrays("name"),
        }


def _row_of(path: Path, listed: Mapping[int, int], image_id: int, what: str) -> int:
    row = listed.get(image_id)
    if row is None:
        raise UserError(f"{path}: {what}: image_id {image_id} is not in images; add that image or remove this entry")
    return row


def _read_objects(path: Path, file: InstancesFile, images: _Images, table: _Table) -> int:
    """Reads what an instances file says; returns the number of boxes that training leaves out."""
    listed = images.add(path, file.images)
    classes = unique_ids(path, file.categories)
    for row in listed.values():
        images.labels[row] |= BOXES | MASKS
    ids, categories, boxes, areas, crowds = table.columns.values()
    dropped = 0
    for label in entries(path, "annotations", file.annotations, JsonObject):
        row = _row_of(path, listed, label.image_id, f"annotation {label.id}")
        if label.category_id not in classes:
            raise UserError(
                f"{path}: annotation {label.id}: category_id {label.category_id} is not in categories; "
                "add that category or correct the id"
            )
        height, width = images.size(row)
        left, top, box_width, box_height = label.bbox
        box = (left, top, left + box_width, top + box_height)
        dropped += clipped_box(box, height, width) is None
        text = mask_text(path, label, height, width)
        if not text:
            images.labels[row] &= ~MASKS
        table.images.append(row)
        ids.append(label.id)
        categories.append(label.category_id)
        boxes.extend(box)
        areas.append(box_width * box_height if label.area is None else label.area)
        crowds.append(bool(label.iscrowd))
        table.texts.append(text)
    return dropped


def unique_ids(path: Path, categories: Sequence[JsonCategory | JsonPanopticCategory]) -> frozenset[int]:
    """Ids of a class list.

    Raises:
        UserError: an id stands there twice.
    """
    ids = [category.id for category in categories]
    if len(set(ids)) < len(ids):
        twice = next(number for number in ids if ids.count(number) > 1)
        raise UserError(f"{path}: category id {twice} is there twice; give every category its own id")
    return frozenset(ids)


def _read_panoptic(path: Path, images: _Images, table: _Table) -> dict[int, str]:
    """Reads a panoptic file; returns the PNG's name by image row."""
    file = read_json(path, PanopticFile)
    listed = images.add(path, file.images)
    classes = unique_ids(path, file.categories)
    ids, categories, areas, crowds = table.columns.values()
    pngs: dict[int, str] = {}
    for label in entries(path, "annotations", file.annotations, JsonPanoptic):
        row = _row_of(path, listed, label.image_id, "a panoptic annotation")
        where = f"{path}: panoptic annotation of image {label.image_id}"
        if row in pngs:
            raise UserError(f"{where}: there are two; remove one")
        pngs[row] = safe_name(path, label.image_id, label.file_name)
        images.labels[row] |= PANOPTIC
        if len({segment.id for segment in label.segments_info}) < len(label.segments_info):
            raise UserError(f"{where}: two segments have the same id; give every segment its own")
        for segment in label.segments_info:
            if segment.category_id not in classes:
                raise UserError(
                    f"{where}: segment {segment.id}: category_id {segment.category_id} is not in categories; "
                    "add that category or correct the id"
                )
            table.images.append(row)
            ids.append(segment.id)
            categories.append(segment.category_id)
            areas.append(segment.area)
            crowds.append(bool(segment.iscrowd))
    return pngs


def _read_captions(path: Path, images: _Images, table: _Table) -> None:
    file = read_json(path, CaptionsFile)
    listed = images.add(path, file.images)
    for number, label in enumerate(entries(path, "annotations", file.annotations, JsonCaption)):
        row = _row_of(path, listed, label.image_id, f"annotations[{number}]")
        if label.caption.strip():  # Nothing to learn from an empty one, and it would count as a reference.
            images.labels[row] |= CAPTIONS
            table.images.append(row)
            table.texts.append(label.caption.encode())
