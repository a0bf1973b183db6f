"""What every task's labels owe the loader."""

from __future__ import annotations

import tiny
from tiny import annotations, sample

from yolor_mtl.data.labels import Columns, Labels


def _all() -> dict[str, Labels]:
    return {task.name: task.labels for task in tiny.build()[0] if task.labels is not None}


def test_columns_share_nothing() -> None:
    first, second = Columns(), Columns()
    first.maps["a"] = first.texts["a"] = ()  # type: ignore[assignment]
    assert (second.objects, second.maps, second.texts) == (None, {}, {})


def test_absence_is_no_label() -> None:
    assert set(_all()) == {"detection", "instance", "semantic", "captioning"}
    for labels in _all().values():
        assert not labels.labelled(annotations())
        assert not any(labels.usable(sample(view)) for view in ("vision", "language"))


def test_an_image_without_objects_is_labelled() -> None:
    empty = annotations(objects=(), has_masks=True)
    for name, labels in _all().items():
        assert labels.labelled(empty) == (name in ("detection", "instance"))
        if labels.labelled(empty):
            table = labels.columns(empty).objects
            assert table is not None
            assert all(len(column) == 0 for column in table.values())
