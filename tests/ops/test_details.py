"""What a report draws of the numbers: the fullest classes, and what is no class."""

from __future__ import annotations

import numpy as np

from yolor_mtl.ops.details import Breakdown, Details, confusion_matrix


def test_the_fullest_classes_and_what_is_no_class() -> None:
    counts = np.array([[1, 0, 0, 1], [0, 6, 2, 0], [0, 0, 0, 0], [0, 0, 4, 0]])
    shown = confusion_matrix("t", counts, ["a", "b", "c", "nothing"], ["a", "b", "c", "missed"], 2, classes=3)
    assert shown.rows == ["b", "c", "nothing"]  # c is labelled nowhere, but said where nothing is
    assert shown.columns == ["b", "c", "missed"]
    assert shown.values.tolist() == [[0.75, 0.25, 0], [0, 0, 0], [0, 1, 0]]


def test_without_rows_behind_the_classes() -> None:
    shown = confusion_matrix("t", np.array([[2, 1, 1], [0, 0, 0]]), ["a", "b"], ["a", "b", "no class"], 24)
    assert (shown.rows, shown.columns) == (["a"], ["a", "no class"])
    assert shown.values.tolist() == [[0.5, 0.25]]


def test_numbers_by_class() -> None:
    first = Breakdown("by class", ("class", "IoU", "share"), [("a", (np.float64(0.5), 1)), ("b", (0.25, 0))])
    found = Details(tables=[first, Breakdown("by group", ("class", "IoU"), [("g", (0.1,))])]).by_class()
    assert found == {"a": {"IoU": 0.5, "share": 1.0}, "b": {"IoU": 0.25, "share": 0.0}}
    assert type(found["a"]["IoU"]) is float
    assert Details().by_class() == {}
