"""YOLO's text labels as the same columns, line by line."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from yolor_mtl.data.check.findings import Findings
from yolor_mtl.data.check.objects import Masks, Objects
from yolor_mtl.data.check.reading import ListedImage, Source
from yolor_mtl.data.check.segmentations import Segmentation
from yolor_mtl.data.coco_json import JsonObject
from yolor_mtl.data.yolo_txt import TOLERANCE, LabelFault, Listing, YoloSplit, first_id, list_images, read_lines
from yolor_mtl.records import UserError


class TextSource(Source):
    """The label files of a split: findings name the file and the line."""

    has_ids = False

    def __init__(self, split: YoloSplit, name: str, findings: Findings) -> None:
        super().__init__(split.file, "instances", name, split.images, findings)
        self.labels: dict[int, str] = {}

    def place_of(self, key: str, position: int, image_id: int | None, file: str) -> tuple[str, str, str]:
        """As for an annotation file; the label file of the picture stands in its place."""
        place = f"line {position}" if position >= 0 else ""
        return file or self.labels.get(image_id or 0, str(self.path)), place, str(self.path)


def read_listing(source: TextSource, split: YoloSplit) -> Listing | None:
    """The pictures of a split, noting what is wrong with the list; ``None`` where there is nothing to go on with."""

    def note(kind: str, file: str, message: str) -> None:
        source.found(kind, message, file=file)

    try:
        with warnings.catch_warnings(action="ignore"):  # Label files without a picture are noted below.
            listing = list_images(split, note)
    except UserError as error:
        source.found("label-unreadable", str(error).removeprefix(f"{split.file}: "))
        return None
    if listing.strays:
        source.found("label-stray", f"{len(listing.strays)} label files, such as {listing.strays[0]}")
    missing = [name for name, label in zip(listing.names, listing.labels, strict=True) if label is None]
    if missing:
        source.found("label-missing", f"{len(missing)} pictures, such as {missing[0]}")
    source.categories = {number + 1: name for number, name in split.classes.items()}
    first = first_id(split)
    for place, name in enumerate(listing.names):
        source.images[first + place] = ListedImage(name, 0, 0, place)
        source.labels[first + place] = listing.labels[place] or str(split.file)
    return listing


def read_lines_of(source: TextSource, listing: Listing, step: Callable[[int], object]) -> Objects:
    """Reads all label files; boxes and outlines are in shares of the picture, whose sizes nobody needs for that."""
    objects = Objects("line", TOLERANCE)
    masks = Masks(source, objects)
    for place, (image_id, label) in enumerate(zip(source.images, listing.labels, strict=True), 1):
        if place % 500 == 0:
            step(500)
        if label is None:
            continue
        try:
            for line, found in read_lines(label, listing.split.classes):
                if isinstance(found, LabelFault):
                    source.found(found.kind, str(found), "line", line, image_id=image_id)
                else:
                    _add(objects, masks, line, image_id, *found)
        except UserError as error:
            source.found("label-unreadable", str(error).removeprefix(f"{label}: "), image_id=image_id)
    step(len(listing.labels) % 500)
    masks.finish()
    return objects


def _add(objects: Objects, masks: Masks, line: int, image_id: int, category: int, values: Sequence[float]) -> None:
    outline = list(values) if len(values) > 4 else []
    if outline:
        points = np.asarray(outline).reshape(-1, 2)
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        box = (left, top, right - left, bottom - top)
    else:
        x, y, width, height = values
        box = (x - width / 2, y - height / 2, width, height)
    entry = JsonObject(len(objects) + 1, image_id, category + 1, box)
    objects.append(line, entry, (1, 1), crowd=False, masked=bool(outline))
    if outline:
        masks.add(len(objects) - 1, Segmentation((), [outline], masked=True))
