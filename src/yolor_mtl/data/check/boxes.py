"""Checks over the columns of a split's objects, one function for each kind of finding."""

from __future__ import annotations

import numpy as np

from yolor_mtl.data.check.objects import Objects
from yolor_mtl.data.check.reading import Source


def check_objects(source: Source, objects: Objects) -> None:
    """All checks of this file."""
    for check in (check_ids, check_categories, check_inverted, check_empty, check_outside, check_leaving, check_twice):
        check(source, objects)


def check_ids(source: Source, objects: Objects) -> None:
    """Annotation ids that are there twice."""
    ids = objects.column("ids")
    order = np.argsort(ids, kind="stable")
    again = order[1:][ids[order[1:]] == ids[order[:-1]]]
    for row in np.sort(again).tolist():
        objects.found(source, "annotation-duplicate-id", row, f"annotation id {objects.ids[row]} is there before")


def check_categories(source: Source, objects: Objects) -> None:
    """Categories that the file does not list."""
    known = np.fromiter(source.categories, np.int64, len(source.categories))
    for row in np.flatnonzero(~np.isin(objects.column("categories"), known)).tolist():
        objects.found(source, "category-unknown", row, f"category_id {objects.categories[row]} is not in categories")


def check_inverted(source: Source, objects: Objects) -> None:
    """Negative widths and heights."""
    for row in np.flatnonzero((objects.column("boxes")[:, 2:] < 0).any(axis=1)).tolist():
        objects.found(source, "box-inverted", row, f"bbox {_text(objects, row)} has a negative side")


def check_empty(source: Source, objects: Objects) -> None:
    """Boxes without area."""
    sides = objects.column("boxes")[:, 2:]
    for row in np.flatnonzero((sides >= 0).all(axis=1) & (sides == 0).any(axis=1)).tolist():
        objects.found(source, "box-empty", row, f"bbox {_text(objects, row)} has no area")


def check_outside(source: Source, objects: Objects) -> None:
    """Boxes of which nothing is in the picture."""
    for row in np.flatnonzero(_outside(objects)).tolist():
        objects.found(source, "box-outside", row, f"bbox {_text(objects, row)} is outside {_size(objects, row)}")


def check_leaving(source: Source, objects: Objects) -> None:
    """Boxes that leave the picture by more than the margin."""
    boxes, sizes = objects.column("boxes"), objects.column("sizes")
    beyond = np.maximum(-boxes[:, :2], boxes[:, :2] + boxes[:, 2:] - sizes[:, ::-1]).max(axis=1, initial=-np.inf)
    proper = (boxes[:, 2:] > 0).all(axis=1) & ~_outside(objects)
    for row in np.flatnonzero(proper & (beyond > objects.margin)).tolist():
        how = f"by {beyond[row]:.1f} pixels" if objects.margin == 1 else f"by {beyond[row]:.1%} of its side"
        objects.found(source, "box-leaves", row, f"bbox {_text(objects, row)} leaves {_size(objects, row)} {how}")


def check_twice(source: Source, objects: Objects) -> None:
    """Objects of one image with one class and one box."""
    keys = np.column_stack(
        [objects.column("images"), objects.column("categories"), objects.column("boxes"), objects.column("crowds")]
    )
    order = np.lexsort(keys.T)
    again = order[1:][(keys[order[1:]] == keys[order[:-1]]).all(axis=1)]
    for row in np.sort(again).tolist():
        objects.found(source, "object-twice", row, f"an object of this class with bbox {_text(objects, row)} is there "
                      "before")  # fmt: skip


def _outside(objects: Objects) -> np.ndarray:
    """(N,) bool: boxes with area, nothing of which is in the picture."""
    boxes, sizes = objects.column("boxes"), objects.column("sizes")
    outside = (boxes[:, :2] >= sizes[:, ::-1]) | (boxes[:, :2] + boxes[:, 2:] <= 0)
    return np.asarray((boxes[:, 2:] > 0).all(axis=1) & outside.any(axis=1))


def _text(objects: Objects, row: int) -> str:
    return "[" + ", ".join(f"{value:g}" for value in objects.boxes[4 * row : 4 * row + 4]) + "]"


def _size(objects: Objects, row: int) -> str:
    height, width = objects.sizes[2 * row], objects.sizes[2 * row + 1]
    return f"the picture of {width} x {height}" if height > 1 else "the picture"
