"""What every task's labels owe the loader."""

from __future__ import annotations

from dataclasses import replace

import tiny
from coco_reference import thing
from tiny import annotations, sample

from yolor_mtl.data.labels import Columns, Labels, trainable


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


def test_training_takes_what_is_in_the_picture() -> None:
    inside, leaving = thing(1, (2, 3, 12, 11)), thing(2, (-5, 50, 20, 90))
    flat, outside = thing(3, (5, 5, 5, 15)), replace(thing(4, (200, 0, 210, 9)), segmentation=None)
    raw = annotations(objects=(inside, leaving, flat, outside), has_masks=False)
    kept = trainable(raw)
    assert kept.objects == (inside, replace(leaving, xyxy=(0, 50, 20, tiny.HEIGHT)))
    assert kept.has_masks  # the one without a mask is the one that is not there
    assert raw.objects is not None
    assert len(raw.objects) == 4
    assert not trainable(annotations(objects=(replace(inside, segmentation=None),), has_masks=False)).has_masks


def test_what_is_not_labelled_stays_so() -> None:
    plain = annotations(captions=("a cat",))
    assert trainable(plain) is plain
    assert trainable(annotations(objects=(), has_masks=True)).objects == ()
