"""Panoptic PNGs beside their file, and COCO-Stuff maps beside the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from yolor_mtl.data.check.objects import unknown_image
from yolor_mtl.data.check.reading import Source
from yolor_mtl.data.coco_json import JsonPanoptic, safe_name
from yolor_mtl.data.semantic_maps import MapError, panoptic_ids, read_map
from yolor_mtl.records import Annotations, UserError


class MapJob(NamedTuple):
    """A map to open.

    Attributes:
        path: the PNG.
        image_id: of its picture.
        height: of its picture as annotated; 0 asks for any.
        width: the same.
        position: of its annotation; -1 for a COCO-Stuff map.
        areas: segment id -> area as annotated; ``None`` for a COCO-Stuff map.
    """

    path: Path
    image_id: int
    height: int
    width: int
    position: int = -1
    areas: Mapping[int, int] | None = None


class MapFault(NamedTuple):
    """What is wrong with a map, of which segment."""

    check: str
    message: str
    segment: int | None = None


def read_panoptic(source: Source, raw: list[msgspec.Raw], folder: Path | None) -> list[MapJob]:
    """Checks a panoptic file; the PNGs that are to be opened."""
    if folder is None:
        source.found("panoptic-folder", f"no folder panoptic_{source.split}/ with its PNGs")
    jobs: dict[int, MapJob] = {}
    for position, entry in source.entries("annotations", raw, JsonPanoptic):
        image = source.images.get(entry.image_id)
        if image is None:
            unknown_image(source, position, entry.image_id)
        elif entry.image_id in jobs:
            message = f"annotations[{jobs[entry.image_id].position}] is of this image as well"
            source.found("panoptic-twice", message, "annotations", position, image_id=entry.image_id)
        elif _safe(source, position, entry):
            areas = _segments(source, position, entry)
            path = (folder or Path()) / entry.file_name
            jobs[entry.image_id] = MapJob(path, entry.image_id, image.height, image.width, position, areas)
    return list(jobs.values())


def _safe(source: Source, position: int, entry: JsonPanoptic) -> bool:
    try:
        safe_name(source.path, entry.image_id, entry.file_name)
    except UserError:
        message = f"file_name {entry.file_name!r} leaves the folder of the PNGs"
        source.found("entry-broken", message, "annotations", position, image_id=entry.image_id)
        return False
    return True


def _segments(source: Source, position: int, entry: JsonPanoptic) -> dict[int, int]:
    """Segment id -> area as annotated."""
    areas: dict[int, int] = {}
    for segment in entry.segments_info:
        check = message = ""
        if segment.id in areas:
            check, message = "segment-twice", f"two segments have id {segment.id}"
        elif segment.category_id not in source.categories:
            check, message = "category-unknown", f"segment {segment.id}: category_id {segment.category_id} is not in " \
                "categories"  # fmt: skip
        areas.setdefault(segment.id, segment.area)
        if check:
            source.found(
                check, message, "annotations", position, image_id=entry.image_id, annotation_id=segment.id,
                shape=source.shape(entry.image_id),
            )  # fmt: skip
    return areas


def open_map(job: MapJob) -> list[MapFault]:
    """Opens a map and compares it with what is annotated."""
    kind = "stuff" if job.areas is None else "panoptic"
    modes = ("L", "P") if job.areas is None else ("RGB", "RGBA")
    try:
        pixels = read_map(job.path, Annotations(job.image_id, job.path, job.height, job.width), modes)
    except MapError as error:
        check = f"{kind}-{'unreadable' if error.kind == 'mode' else error.kind}"
        return [MapFault(check, str(error).removeprefix(f"{job.path}: "))]
    return [] if job.areas is None else compare(pixels, job.areas)


def compare(pixels: np.ndarray, areas: Mapping[int, int]) -> list[MapFault]:
    """Segments of a PNG beside those of its annotation.

    Args:
        pixels: (H, W, 3 or 4) uint8.
        areas: segment id -> area as annotated.
    """
    ids, counts = np.unique(panoptic_ids(pixels), return_counts=True)
    found = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    found.pop(0, None)
    faults = [MapFault("segment-not-in-png", f"segment {number} has no pixels in the PNG", number)
              for number in areas if number not in found]  # fmt: skip
    for number, count in found.items():
        if number not in areas:
            faults.append(MapFault("segment-not-in-json", f"{count} pixels of segment {number}, which is not listed",
                                   number))  # fmt: skip
        elif areas[number] != count:
            message = f"segment {number}: area {areas[number]}, but {count} pixels"
            faults.append(MapFault("segment-area", message, number))
    return faults
