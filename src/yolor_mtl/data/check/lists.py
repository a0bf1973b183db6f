"""The lists of images and categories of an annotation file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from yolor_mtl.data.check.reading import ListedImage, Source
from yolor_mtl.data.coco_json import JsonCategory, JsonImage, JsonPanopticCategory, safe_name
from yolor_mtl.records import UserError


@dataclass
class SplitImages:
    """The union of a split's image lists.

    Attributes:
        rows: image id -> what the first file says of it.
        sources: image id -> that file.
    """

    rows: dict[int, ListedImage] = field(default_factory=dict)
    sources: dict[int, Path] = field(default_factory=dict)

    def join(self, source: Source) -> None:
        """Adds the images of a file and compares those that are known."""
        for image_id, row in source.images.items():
            known = self.rows.setdefault(image_id, row)
            self.sources.setdefault(image_id, source.path)
            if (known.name, known.height, known.width) != (row.name, row.height, row.width):
                message = (
                    f"it is {row.name!r}, {row.width} x {row.height}; {self.sources[image_id]} says {known.name!r}, "
                    f"{known.width} x {known.height}"
                )
                source.found("image-disagrees", message, "images", row.position, image_id=image_id)

    def check_files(self, source: Source) -> None:
        """Notes files that are two images."""
        first: dict[str, int] = {}
        for image_id, row in self.rows.items():
            other = first.setdefault(row.name, image_id)
            if other != image_id:
                source.found(
                    "image-file-twice", f"{row.name!r} is image {other} as well", "images", row.position,
                    image_id=image_id,
                )  # fmt: skip


def read_images(source: Source, raw: list[msgspec.Raw]) -> None:
    """Fills ``source.images``."""
    for position, entry in source.entries("images", raw, JsonImage):
        row = ListedImage(entry.file_name, entry.height, entry.width, position)
        if entry.id in source.images:
            first = source.images[entry.id]
            source.found(
                "image-duplicate-id", f"images[{first.position}] ({first.name!r}) has this id as well; this one is "
                f"{entry.file_name!r}", "images", position, image_id=entry.id,
            )  # fmt: skip
            continue
        try:
            safe_name(source.path, entry.id, entry.file_name)
        except UserError:
            row = msgspec.structs.replace(row, safe=False)
        source.images[entry.id] = row
        if not row.safe:
            message = f"file_name {row.name!r} leaves the folder of the images"
            source.found("image-name", message, "images", position, image_id=entry.id)


def read_categories(source: Source, raw: list[msgspec.Raw]) -> list[JsonCategory | JsonPanopticCategory]:
    """Fills ``source.categories``; the entries that could be read, each id once."""
    kept: list[JsonCategory | JsonPanopticCategory] = []
    entries: Iterator[tuple[int, JsonCategory | JsonPanopticCategory]] = (
        source.entries("categories", raw, JsonPanopticCategory)
        if source.kind == "panoptic"
        else source.entries("categories", raw, JsonCategory)
    )
    for position, entry in entries:
        if entry.id in source.categories:
            message = f"category id {entry.id} is {source.categories[entry.id]!r} and {entry.name!r}"
            source.found("category-duplicate-id", message, "categories", position)
            continue
        source.categories[entry.id] = entry.name
        kept.append(entry)
    return kept


def check_collisions(source: Source, named: Mapping[int, str], seen: Mapping[str, dict[Any, tuple[Any, Path]]]) -> None:
    """Compares a file's classes with those of files of its kind that were read before, and with each other.

    Args:
        source: the file.
        named: category id -> name.
        seen: ``ids``: id -> name and file; ``names``: name -> id and file; grows.
    """
    for number, name in named.items():
        for table, key, value in (("ids", number, name), ("names", name, number)):
            known, path = seen[table].setdefault(key, (value, source.path))
            if known != value:
                where = "here as well" if path == source.path else f"in {path}"
                source.found("category-collides", f"category {number} is {name!r}, but {key!r} is {known!r} {where}")
                break
