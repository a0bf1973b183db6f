"""Detection's labels: columns before geometry, padded targets after it."""

from __future__ import annotations

import torch
from tiny import annotations, sample
from torchvision import tv_tensors

from yolor_mtl.records import Annotations, ObjectLabel
from yolor_mtl.tasks.detection.labels import DetectionLabels


def _objects() -> Annotations:
    return annotations(
        objects=(
            ObjectLabel(7, 2, (1.0, 2, 30, 40), 1102, False, None),
            ObjectLabel(8, 0, (5.0, 5, 60, 60), 3025, True, {"size": [64, 96], "counts": [6144]}),
        )
    )


def test_absence_is_no_label_and_empty_is_one() -> None:
    labels = DetectionLabels()
    assert not labels.labelled(annotations())
    assert labels.labelled(annotations(objects=()))
    empty = labels.columns(annotations(objects=())).objects
    assert empty is not None
    assert {name: tuple(value.shape) for name, value in empty.items()} == {
        "boxes": (0, 4),
        "classes": (0,),
        "crowd": (0,),
    }


def test_columns() -> None:
    columns = DetectionLabels().columns(_objects())
    assert columns.objects is not None
    assert not columns.maps
    assert not columns.texts
    boxes = columns.objects["boxes"]
    assert isinstance(boxes, tv_tensors.BoundingBoxes)
    assert boxes.canvas_size == (64, 96)
    assert boxes.tolist() == [[1, 2, 30, 40], [5, 5, 60, 60]]
    assert columns.objects["classes"].tolist() == [2, 0]
    assert columns.objects["crowd"].tolist() == [False, True]


def test_targets_are_padded() -> None:
    labels = DetectionLabels()
    full = sample(objects=labels.columns(_objects()).objects)
    empty = sample(objects=labels.columns(annotations(objects=())).objects)
    found = labels.targets([empty, full])
    assert found["boxes"].shape == (2, 2, 4)
    assert type(found["boxes"]) is torch.Tensor
    assert found["classes"].tolist() == [[0, 0], [2, 0]]
    assert found["valid"].tolist() == [[False, False], [True, False]]
    assert found["crowd"].tolist() == [[False, False], [False, True]]
    assert labels.targets([empty])["boxes"].shape == (1, 0, 4)


def test_usable() -> None:
    table = DetectionLabels().columns(_objects()).objects
    assert DetectionLabels().usable(sample(objects=table))
    assert not DetectionLabels().usable(sample("language", objects=table))
    assert DetectionLabels("language").usable(sample("language", objects=table))
    assert not DetectionLabels().usable(sample())
    assert not DetectionLabels().usable(sample(objects={"masks": torch.zeros(0, 64, 96)}))


def test_part_is_what_the_samples_alone_give() -> None:
    samples = [sample(objects=DetectionLabels().columns(raw).objects) for raw in (_objects(), annotations(objects=()))]
    labels = DetectionLabels()
    targets = labels.targets([*samples, samples[0]])
    for name, found in labels.part(targets, torch.tensor([0, 2])).items():
        assert torch.equal(found, labels.targets([samples[0], samples[0]])[name]), name
    assert not labels.part(targets, torch.tensor([1]))["valid"].any()
