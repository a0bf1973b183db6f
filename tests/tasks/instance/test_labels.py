"""Instance labels: masks beside boxes, an object without a mask is no empty mask."""

from __future__ import annotations

import torch
from tiny import annotations, sample
from torchvision import tv_tensors

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
    assert isinstance(table["masks"], tv_tensors.Mask)
    assert table["masks"].dtype == torch.uint8
    assert table["masks"].shape == (2, 64, 96)
    assert table["masks"].sum((1, 2)).tolist() == [32 * 32, 0]
    assert table["has_mask"].tolist() == [True, False]
    empty = InstanceLabels().columns(annotations(objects=(), has_masks=True)).objects
    assert empty is not None
    assert empty["masks"].shape == (0, 64, 96)
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
    # A cell counts where its pixel (2, 2) does: rows 6 to 37 hold the centres 6, 10, ... 34 of cells 1 to 8.
    wanted = torch.zeros(16, 24, dtype=torch.uint8)
    wanted[1:9, 2:10] = 1
    assert all(torch.equal(mask, wanted) for mask in found["masks"])
    assert found["mask_index"].shape == DetectionLabels().targets(samples)["valid"].shape


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
