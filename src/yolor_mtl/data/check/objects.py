"""The objects of a split as columns, and what is wrong with their segmentations, found on the way."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from yolor_mtl.data.check import segmentations
from yolor_mtl.data.check.outlines import Outlines
from yolor_mtl.data.check.reading import Source
from yolor_mtl.data.check.segmentations import Segmentation
from yolor_mtl.data.coco_json import JsonObject


@dataclass
class Objects:
    """Objects whose entries could be read and whose image is listed, in the file's order.

    Attributes:
        key: name of the list that ``positions`` count in.
        margin: how far a box may leave its picture: a pixel, or a share where sizes are not known.
        positions: index in the file's list, or the line of a label file.
        ids: annotation ids.
        images: image ids.
        categories: category ids.
        boxes: x, y, width, height, four in a row.
        crowds: ``iscrowd``.
        masked: whether the object has a mask.
        sizes: height and width of the picture, two in a row.
    """

    key: str = "annotations"
    margin: float = 1.0
    positions: array[int] = field(default_factory=lambda: array("q"))
    ids: array[int] = field(default_factory=lambda: array("q"))
    images: array[int] = field(default_factory=lambda: array("q"))
    categories: array[int] = field(default_factory=lambda: array("q"))
    boxes: array[float] = field(default_factory=lambda: array("d"))
    crowds: array[int] = field(default_factory=lambda: array("b"))
    masked: array[int] = field(default_factory=lambda: array("b"))
    sizes: array[int] = field(default_factory=lambda: array("i"))

    def __len__(self) -> int:
        return len(self.positions)

    def append(self, position: int, entry: JsonObject, size: tuple[int, int], crowd: bool, masked: bool) -> None:
        """Adds a row."""
        self.positions.append(position)
        self.ids.append(entry.id)
        self.images.append(entry.image_id)
        self.categories.append(entry.category_id)
        self.boxes.extend(entry.bbox)
        self.crowds.append(crowd)
        self.masked.append(masked)
        self.sizes.extend(size)

    def column(self, name: str) -> np.ndarray:
        """A column as an array: (N,), or (N, 4) boxes and (N, 2) sizes."""
        values = np.array(getattr(self, name))
        return values.reshape(-1, {"boxes": 4, "sizes": 2}[name]) if name in ("boxes", "sizes") else values

    def box(self, row: int) -> tuple[float, float, float, float]:
        """A box as xyxy."""
        x, y, width, height = self.boxes[4 * row : 4 * row + 4]
        return x, y, x + width, y + height

    def found(self, source: Source, check: str, row: int, message: str) -> None:
        """Notes a finding about a row, its box to be drawn."""
        source.found(
            check, message, self.key, self.positions[row], image_id=self.images[row], annotation_id=self.ids[row],
            shape=source.shape(self.images[row], box=self.box(row)),
        )  # fmt: skip


class Masks:
    """Notes what is wrong with segmentations, those that cross themselves when enough of them have come together.

    Args:
        source: where they stand.
        objects: the rows that they belong to.
    """

    def __init__(self, source: Source, objects: Objects) -> None:
        self._source, self._objects = source, objects
        self._outlines = Outlines(self._crosses)

    def add(self, row: int, found: Segmentation) -> None:
        """Takes in the segmentation of a row that is in the table already."""
        for check, message in found.faults:
            self._found(check, row, message, [tuple(part) for part in found.polygons])
        for part in found.polygons:
            self._outlines.add(row, part)

    def finish(self) -> None:
        """Looks at the last polygons."""
        self._outlines.flush()

    def _crosses(self, row: int, polygon: Sequence[float]) -> None:
        self._found("polygon-crosses", row, f"a polygon of {len(polygon) // 2} points crosses itself", [tuple(polygon)])

    def _found(self, check: str, row: int, message: str, outlines: Sequence[tuple[float, ...]]) -> None:
        table = self._objects
        shape = self._source.shape(table.images[row], box=table.box(row), outlines=tuple(outlines))
        self._source.found(
            check, message, table.key, table.positions[row], image_id=table.images[row], annotation_id=table.ids[row],
            shape=shape,
        )  # fmt: skip


def read_objects(source: Source, raw: list[msgspec.Raw], step: Callable[[int], object]) -> Objects:
    """Reads the annotations of an instances file.

    Args:
        source: the file, its images already read.
        raw: its list.
        step: called now and then with the number of annotations done since the last call.
    """
    objects = Objects()
    masks = Masks(source, objects)
    told = 0
    for position, entry in source.entries("annotations", raw, JsonObject):
        if position - told >= 5000:
            step(position - told)
            told = position
        listed = source.images.get(entry.image_id)
        if listed is None:
            unknown_image(source, position, entry.image_id, entry.id)
            continue
        found = segmentations.examine(entry.segmentation, listed.height, listed.width)
        objects.append(position, entry, (listed.height, listed.width), bool(entry.iscrowd), found.masked)
        if found.faults or found.polygons:
            masks.add(len(objects) - 1, found)
    step(len(raw) - told)
    masks.finish()
    return objects


def unknown_image(source: Source, position: int, image_id: int, annotation_id: int | None = None) -> None:
    """Notes an annotation of an image that its file does not list."""
    message = f"image_id {image_id} is not in images"
    source.found(
        "annotation-image-unknown", message, "annotations", position, image_id=image_id, annotation_id=annotation_id
    )
