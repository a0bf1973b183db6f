"""One row an image, whoever saw it."""

import copy
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from coco_reference import labelled

from yolor_mtl.records import Annotations, UserError
from yolor_mtl.tasks.rows import Once, Rows


def filled(*pairs: tuple[int, str]) -> Rows[str]:
    rows: Rows[str] = Rows()
    for image_id, row in pairs:
        rows.add(labelled(image_id), row)
    return rows


def texts(rows: Rows[str]) -> list[str]:
    return [row for _, row in rows.sorted()]


def test_rows_come_in_the_order_of_ids() -> None:
    assert texts(filled((30, "c"), (-1, "a"), (4, "b"))) == ["a", "b", "c"]


def test_an_image_counts_once() -> None:
    rows = filled((1, "first"), (2, "other"), (1, "second"))
    assert len(rows) == 2
    assert texts(rows) == ["second", "other"]


@pytest.mark.parametrize("swapped", [False, True])
def test_merging_adds_what_the_other_has_seen(swapped: bool) -> None:
    first, second = filled((1, "a"), (3, "c")), filled((3, "c"), (2, "b"))
    if swapped:
        first, second = second, first
    before = texts(second)
    first.merge(second)
    assert texts(first) == ["a", "b", "c"]
    assert texts(second) == before


def test_merging_with_an_empty_one_changes_nothing() -> None:
    rows = filled((1, "a"))
    rows.merge(Rows())
    assert texts(rows) == ["a"]


def test_two_pictures_with_one_id_are_refused() -> None:
    rows = filled((7, "a"))
    with pytest.raises(UserError, match=r"image id 7: .*000007\.jpg and .*elsewhere\.jpg.*one by one"):
        rows.add(_moved("elsewhere.jpg"), "b")
    other: Rows[str] = Rows()
    other.add(_moved("elsewhere.jpg"), "b")
    with pytest.raises(UserError):
        rows.merge(other)


def test_rows_travel_between_processes() -> None:
    assert texts(pickle.loads(pickle.dumps(filled((2, "b"), (1, "a"))))) == ["a", "b"]


def test_what_is_worked_out_is_made_once_until_the_rows_change() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    kept: Once[int] = Once()
    assert [kept.get(make), kept.get(make)] == [0, 0]
    kept.forget()
    assert [kept.get(make), kept.get(make)] == [1, 1]
    for other in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert other.get(lambda: 9) == 9
    assert kept.get(make) == 1


def _moved(name: str) -> Annotations:
    return replace(labelled(7), path=Path(name))
