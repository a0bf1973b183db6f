"""Instance labels: masks beside boxes, an object without a mask is no empty mask."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import annotations, sample

from yolor_mtl.records import Annotations, ObjectLabel, Sample
from yolor_mtl.tasks.detection.labels import DetectionLabels
from yolor_mtl.tasks.instance.labels import InstanceLabels

SQUARE = [10.0, 6.0, 42.0, 6.0, 42.0, 38.0, 10.0, 38.0]


def _annotations(*segmentations: list[list[float]] | None) -> Annotations:
    rows = enumerate(segmentations)
    objects = tuple(ObjectLabel(i, 0, (8.0, 4, 40, 36), 1024, False, segmentation) for i, segmentation in rows)
    return annotations(objects=objects, has_masks=None not in segmentations)


def _sample(raw: Annotations, masks: bool = True) -> Sample:
    table = dict(DetectionLabels().columns(raw).objects or {})
    if masks:
        table |= InstanceLabels().columns(raw).objects or {}
    return sample(objects=table)


def test_labelled() -> None:
    labels = InstanceLabels()
    assert labels.labelled(_annotations([SQUARE]))
    assert not labels.labelled(_annotations([SQUARE], None))
    assert not labels.labelled(annotations())
    assert labels.labelled(annotations(objects=(), has_masks=True))


def test_columns() -> None:
    table = InstanceLabels().columns(_annotations([SQUARE], None)).objects
    assert table is not None
    masks = table["masks"].dense()
    assert masks.dtype == torch.uint8
    assert masks.shape == (2, 64, 96)
    assert masks.sum((1, 2)).tolist() == [32 * 32, 0]
    assert table["has_mask"].tolist() == [True, False]
    empty = InstanceLabels().columns(annotations(objects=(), has_masks=True)).objects
    assert empty is not None
    assert empty["masks"].dense().shape == (0, 64, 96)
    assert empty["has_mask"].shape == (0,)


def test_targets() -> None:
    samples = [
        _sample(_annotations([SQUARE], None, [SQUARE])),
        _sample(_annotations()),
        _sample(_annotations([SQUARE])),
    ]
    found = InstanceLabels().targets(samples)
    assert found["mask_index"].tolist() == [[0, -1, 1], [-1, -1, -1], [2, -1, -1]]
    assert found["masks"].shape == (3, 16, 24)
    assert found["masks"].dtype == torch.uint8
    # Rows 6 to 37 and columns 10 to 41 cover cells 2 to 8 and 3 to 9 whole, and half of those before and after.
    rows, columns = torch.zeros(16, dtype=torch.uint8), torch.zeros(24, dtype=torch.uint8)
    rows[1:10] = columns[2:11] = 4
    rows[[1, 9]] = columns[[2, 10]] = 2
    wanted = rows[:, None] * columns
    assert all(torch.equal(mask, wanted) for mask in found["masks"])
    assert found["mask_index"].shape == DetectionLabels().targets(samples)["valid"].shape


@given(st.integers(0, 90), st.integers(0, 58), st.integers(1, 30), st.integers(1, 30))
def test_targets_lie_where_the_mask_lies(left: int, top: int, wide: int, tall: int) -> None:
    right, bottom = min(96, left + wide), min(64, top + tall)
    raw = _annotations([[left, top, right, top, right, bottom, left, bottom]])
    cells = InstanceLabels().targets([_sample(raw)])["masks"][0].double()
    rows, columns = (torch.arange(16) + 0.5).double(), (torch.arange(24) + 0.5).double()
    assert cells.sum() == (right - left) * (bottom - top)
    assert 4 * float(cells.sum(0) @ columns / cells.sum()) == pytest.approx((left + right) / 2, abs=2)
    # Exact where the object fills whole cells; a cell's share says nothing of the place within it.
    if not any(side % 4 for side in (left, top, right, bottom)):
        assert 4 * float(cells.sum(0) @ columns / cells.sum()) == pytest.approx((left + right) / 2)
        assert 4 * float(cells.sum(1) @ rows / cells.sum()) == pytest.approx((top + bottom) / 2)


def test_boxes_without_masks_keep_their_rows() -> None:
    samples = [_sample(_annotations(None, None), masks=False), _sample(_annotations([SQUARE]))]
    labels = InstanceLabels()
    assert all(labels.usable(one) == DetectionLabels().usable(one) for one in samples)
    found = labels.targets(samples)
    assert found["mask_index"].tolist() == [[-1, -1], [0, -1]]
    assert labels.targets(samples[:1])["masks"].shape == (0, 16, 24)


def test_usable_is_detection_s() -> None:
    table = _sample(_annotations([SQUARE])).objects
    for view in ("vision", "language"):
        for one in (sample(view, objects=table), sample(view), sample(view, objects={})):
            assert InstanceLabels().usable(one) == DetectionLabels().usable(one)


@pytest.mark.parametrize("rows", [[0, 2], [2], [1], [0, 1, 2]])
def test_part_is_what_the_samples_alone_give(rows: list[int]) -> None:
    samples = [
        _sample(_annotations([SQUARE], None, [SQUARE])),
        _sample(_annotations()),
        _sample(_annotations([[4.0, 4.0, 8.0, 4.0, 8.0, 8.0]])),
    ]
    labels = InstanceLabels()
    found = labels.part(labels.targets(samples), torch.tensor(rows))
    wanted = labels.targets([samples[row] for row in rows])
    objects = wanted["mask_index"].shape[1]
    assert torch.equal(found["mask_index"][:, :objects], wanted["mask_index"])
    assert (found["mask_index"][:, objects:] == -1).all()
    assert torch.equal(found["masks"], wanted["masks"])
