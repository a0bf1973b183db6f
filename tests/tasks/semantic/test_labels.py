"""Semantic labels: one map, sampled at the cells' centres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import annotations, sample, space
from torch import Tensor
from torchvision import tv_tensors

from yolor_mtl.records import IGNORE, PanopticLabel, Sample, SegmentLabel
from yolor_mtl.tasks.semantic.labels import SemanticLabels, middle_pixels


def _sample(maps: Tensor, view: str = "vision") -> Sample:
    return sample(view, maps={"semantic": tv_tensors.Mask(maps)})


def test_columns_of_a_panoptic_label(tmp_path: Path) -> None:
    ids = np.zeros((64, 96, 3), dtype=np.uint8)
    ids[:10, :, 0] = 7  # segment 7
    ids[10:20, :, 1] = 1  # segment 256
    Image.fromarray(ids).save(tmp_path / "1.png")
    segments = (SegmentLabel(7, 3, False, 960), SegmentLabel(256, 1, False, 960))
    raw = annotations(panoptic=PanopticLabel(tmp_path / "1.png", segments))
    labels = SemanticLabels(space())
    assert labels.labelled(raw)
    columns = labels.columns(raw)
    assert columns.objects is None
    classes = columns.maps["semantic"]
    assert isinstance(classes, tv_tensors.Mask)
    assert (classes.shape, classes.dtype) == ((1, 64, 96), torch.uint8)
    assert classes[0, [0, 12, 30], 0].tolist() == [3, 1, IGNORE]


def test_labelled() -> None:
    labels = SemanticLabels(space())
    assert not labels.labelled(annotations())
    assert labels.labelled(annotations(stuff_map=Path("map.png")))


def test_targets_take_the_pixels_about_a_cell_s_centre() -> None:
    rows = torch.arange(64, dtype=torch.uint8)[:, None].expand(64, 96)[None]
    found = SemanticLabels(space()).targets([_sample(rows), _sample(rows + 1)])["maps"]
    assert (found.shape, found.dtype, type(found)) == ((2, 1, 16, 24), torch.uint8, Tensor)
    # The centre of cell k lies between pixels 4 k + 1 and 4 k + 2: both are taken, equally often.
    assert found[0, 0, :3, 4].tolist() == [1, 6, 9]
    assert found[0, 0, :3, 5].tolist() == [2, 5, 10]
    assert found[0, 0].double().mean() == pytest.approx((0 + 63) / 2)
    assert found[1, 0, 0, 0] == 2


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
def test_a_map_and_its_mirror_image_give_mirrored_shares(stride: int) -> None:
    columns = torch.arange(24 * stride)
    share = [
        float((middle_pixels(columns.expand(24 * stride, -1), stride) < edge).double().mean())
        for edge in range(24 * stride + 1)
    ]
    assert [a + b for a, b in zip(share, share[::-1], strict=True)] == pytest.approx([1.0] * len(share))


def test_fewer_layers_repeat_their_last() -> None:
    one, two = torch.full((1, 64, 96), 4, dtype=torch.uint8), torch.ones(2, 64, 96, dtype=torch.uint8)
    two[1] = 3
    found = SemanticLabels(space()).targets([_sample(one), _sample(two)])["maps"]
    assert found.shape == (2, 2, 16, 24)
    assert found[:, :, 0, 0].tolist() == [[4, 4], [1, 3]]


def test_usable() -> None:
    maps = torch.zeros(1, 64, 96, dtype=torch.uint8)
    labels = SemanticLabels(space())
    assert labels.usable(_sample(maps))
    assert not labels.usable(_sample(maps, "language"))
    assert not labels.usable(sample())


def test_part_is_what_the_samples_alone_give() -> None:
    labels = SemanticLabels(space())
    samples = [_sample(torch.full((1, 64, 96), index, dtype=torch.uint8)) for index in range(3)]
    found = labels.part(labels.targets(samples), torch.tensor([0, 2]))
    assert torch.equal(found["maps"], labels.targets([samples[0], samples[2]])["maps"])
