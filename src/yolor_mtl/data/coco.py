"""Data sets in COCO's format: boxes, masks, panoptic segments, COCO-Stuff maps and captions, each where present."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np

from yolor_mtl.data.coco_classes import label_space
from yolor_mtl.data.coco_index import BOXES, CAPTIONS, MASKS, PANOPTIC, SplitIndex, load_index
from yolor_mtl.data.locate import SplitFiles, choose_maps, find_layout, find_splits, resolve_split
from yolor_mtl.data.semantic_maps import panoptic_ids, panoptic_map, panoptic_pixels, read_map, semantic_map
from yolor_mtl.data.shards.store import Store
from yolor_mtl.records import Annotations, LabelSpace, ObjectLabel, PanopticLabel, SegmentLabel, UserError

LOOSE = 1000
"""Loose images that are mixed as one shard of a data set whose other splits are packed."""

__all__ = [
    "CocoDataset",
    "SplitFiles",
    "find_splits",
    "open_coco",
    "panoptic_ids",
    "panoptic_map",
    "panoptic_pixels",
    "read_map",
    "resolve_split",
    "semantic_map",
]


def open_coco(root: Path, splits: Sequence[str], *, cache: bool = True, maps: str = "auto") -> CocoDataset:
    """Opens splits of a data set.

    Args:
        root: a folder in COCO's or Roboflow's layout, or a YAML file that names one or has labels in text files.
        splits: names, as :func:`resolve_split` understands them; images come in this order.
        cache: keep the parsed annotations in the user's cache folder, and use what is there.
        maps: which labels the semantic classes come from, where the data has both: ``panoptic``, ``stuff``
            (COCO-Stuff's pixel maps, and no panoptic labels then), or ``auto``, the panoptic ones first.

    Raises:
        UserError: a split or a file is missing, or an annotation file is refused. The message names the file,
            the entry and the remedy.
    """
    layout = choose_maps(find_layout(Path(root)), maps)
    names = tuple(dict.fromkeys(resolve_split(layout.splits, asked) for asked in splits))
    if not names:
        raise UserError(f"no split asked for; there is {', '.join(layout.splits)}")
    space = LabelSpace(layout.things) if layout.things else label_space(layout, cache=cache)
    parts = [_Split(layout.splits[name], load_index(layout.splits[name], cache=cache), space) for name in names]
    return CocoDataset(space, names, parts, Path(root), maps)


class CocoDataset:
    """Images and their labels, built on demand from flat arrays.

    Attributes:
        space: the classes over all splits of the data set, asked for or not; without a vocabulary.
        split_names: the splits, in the order of the images.
        root: what was opened, for messages.
        maps: which labels the semantic classes come from, as :func:`open_coco` was told.
        counts: ``images``, ``objects``, ``segments``, ``texts`` (captions); images labelled for ``boxes``, ``masks``,
            ``panoptic``, ``stuff``, ``captions``; ``empty`` (labelled images without objects); ``dropped_boxes``
            (without area inside their image: scored as they are, left out in training, see :func:`trainable`).
    """

    def __init__(
        self,
        space: LabelSpace,
        split_names: tuple[str, ...],
        parts: Sequence[_Split],
        root: Path = Path(),
        maps: str = "auto",
    ) -> None:
        self.space = space
        self.split_names = split_names
        self.root, self.maps = root, maps
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part.index) for part in parts)])
        totals: dict[str, int] = {}
        for part in parts:
            for key, value in part.counts().items():
                totals[key] = totals.get(key, 0) + value
        self.counts = totals

    def __len__(self) -> int:
        return int(self._starts[-1])

    def annotations(self, index: int) -> Annotations:
        """All labels of one image.

        Raises:
            IndexError: no such image.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        place = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[place].annotations(index - int(self._starts[place]))

    def image_ids(self) -> list[int]:
        """The id of each image, in the order of the images."""
        return [number for part in self._parts for number in part.index.arrays["image_ids"].tolist()]

    @cached_property
    def groups(self) -> np.ndarray | None:
        """(n,) int64: images of one number are at hand together; ``None`` where all always are."""
        if all(part.store is None for part in self._parts):
            return None
        found, start = [], 0
        for part in self._parts:
            numbers = part.groups()
            found.append(numbers + start)
            start += int(numbers.max(initial=-1)) + 1
        return np.concatenate(found)

    def reading_order(self, indices: Sequence[int] | None = None) -> Sequence[int]:
        """Images (all by default) as they come, or those that are at hand together after each other."""
        asked = range(len(self)) if indices is None else indices
        if self.groups is None:
            return asked
        chosen = np.asarray(asked, dtype=np.int64)
        ordered: list[int] = chosen[np.argsort(self.groups[chosen], kind="stable")].tolist()
        return ordered

    def caption_groups(self) -> Iterator[tuple[str, ...]]:
        """The captions of each image that has some."""
        for index in range(len(self)):
            if captions := self.annotations(index).captions:
                yield captions

    def captions(self) -> Iterator[str]:
        """All captions, image by image."""
        for part in self._parts:
            for row in range(len(part.index.arrays["caption_from"])):
                yield part.index.text("caption", row).decode()


class _Split:
    """One split: its index, where its files lie, and which class each category id is."""

    def __init__(self, files: SplitFiles, index: SplitIndex, space: LabelSpace) -> None:
        self.index = index
        self._files = files
        self._things = {category.id: place for place, category in enumerate(space.things)}
        self._semantic = {category.id: place for place, category in enumerate(space.semantic)}
        self.store = Store(files.shards) if files.shards else None
        self._stuff = _stuff_labelled(files, index, self.store)
        if files.panoptic is not None and files.panoptic_maps is None:
            raise UserError(
                f"{files.panoptic}: no folder panoptic_{files.name}/ with its PNGs; put it beside the file, "
                "or take the file away"
            )

    def counts(self) -> dict[str, int]:
        index = self.index
        per_image = np.diff(index.arrays["object_at"])
        boxes = index.labelled(BOXES)
        return {
            "images": len(index),
            "objects": len(index.arrays["object_id"]),
            "segments": len(index.arrays["segment_id"]),
            "texts": len(index.arrays["caption_from"]),
            "boxes": int(boxes.sum()),
            "masks": int(index.labelled(MASKS).sum()),
            "panoptic": int(index.labelled(PANOPTIC).sum()),
            "stuff": int(self._stuff.sum()),
            "captions": int(index.labelled(CAPTIONS).sum()),
            "empty": int((boxes & (per_image == 0)).sum()),
            "dropped_boxes": int(index.arrays["dropped"][0]),
        }

    def annotations(self, row: int) -> Annotations:
        index = self.index
        labels = int(index.arrays["labels"][row])
        name = index.text("name", row).decode()
        height, width = index.arrays["sizes"][row].tolist()
        captions = [index.text("caption", entry).decode() for entry in index.rows("caption", row)]
        return Annotations(
            image_id=int(index.arrays["image_ids"][row]),
            path=self._files.images / name,
            height=height,
            width=width,
            objects=self._objects(row) if labels & BOXES else None,
            has_masks=bool(labels & MASKS),
            panoptic=self._panoptic(row) if labels & PANOPTIC else None,
            stuff_map=self._stuff_map(name) if self._stuff[row] else None,
            captions=tuple(captions) if labels & CAPTIONS else None,
            packed=self.store,
        )

    def groups(self) -> np.ndarray:
        """(n,) int64: number of each image's shard; of loose images, some thousand count as one."""
        if self.store is None:
            return np.random.default_rng(0).permutation(len(self.index)).astype(np.int64) // LOOSE
        names = (self.index.text("name", row).decode() for row in range(len(self.index)))
        return np.array([self.store.tar_number("images", name) or 0 for name in names], dtype=np.int64)

    def _objects(self, row: int) -> tuple[ObjectLabel, ...]:
        rows = self.index.rows("object", row)
        columns = self._columns("object", ("id", "category", "box", "area", "crowd"), rows)
        masks = [self.index.text("mask", entry) for entry in rows]
        # A list first: tuple(generator) fills CPython's free lists of tuples, which looks like a leak for hours.
        objects = [
            ObjectLabel(
                id=number,
                category=self._things[category],
                xyxy=(box[0], box[1], box[2], box[3]),
                area=area,
                crowd=bool(crowd),
                segmentation=msgspec.json.decode(mask) if mask else None,
            )
            for number, category, box, area, crowd, mask in zip(*columns, masks, strict=True)
        ]
        return tuple(objects)

    def _panoptic(self, row: int) -> PanopticLabel:
        columns = self._columns("segment", ("id", "category", "crowd", "area"), self.index.rows("segment", row))
        segments = [
            SegmentLabel(number, self._semantic[category], bool(crowd), area)
            for number, category, crowd, area in zip(*columns, strict=True)
        ]
        folder = self._files.panoptic_maps
        assert folder is not None
        return PanopticLabel(folder / self.index.text("png", row).decode(), tuple(segments))

    def _columns(self, table: str, names: Sequence[str], rows: range) -> list[list[Any]]:
        return [self.index.arrays[f"{table}_{name}"][rows.start : rows.stop].tolist() for name in names]

    def _stuff_map(self, name: str) -> Path | None:
        folder = self._files.stuff_maps
        return folder / map_name(name) if folder else None


def map_name(image_name: str) -> str:
    """Name of a picture's COCO-Stuff map."""
    return str(PurePosixPath(image_name).with_suffix(".png"))


def _stuff_labelled(files: SplitFiles, index: SplitIndex, store: Store | None) -> np.ndarray:
    """(n,) bool: the images that have a COCO-Stuff map. Looked up at every start: maps are no annotation file."""
    if files.stuff_maps is None:
        return np.zeros(len(index), dtype=bool)
    names = [map_name(index.text("name", row).decode()) for row in range(len(index))]
    if store is not None:
        return np.array([store.tar_number("stuff", name) is not None for name in names], dtype=bool)
    present = {
        (Path(folder) / name).relative_to(files.stuff_maps).as_posix()
        for folder, _, inside in os.walk(files.stuff_maps)
        for name in inside
    }
    return np.array([name in present for name in names], dtype=bool)
