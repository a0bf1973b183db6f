"""The operations together: any of them leaves a sample whole, and none happens that was not asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from drawn import drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors

from yolor_mtl.data.augment import OPERATIONS, AugmentConfig, weak
from yolor_mtl.data.pipeline import Pipeline
from yolor_mtl.data.transforms import with_planes
from yolor_mtl.ops.crops import MaskCrops
from yolor_mtl.records import Sample

SIZE = (64, 96)


def _partner() -> Callable[[], Sample]:
    numbers = iter(range(1, 100))
    return lambda: drawn((50, 70), (10, 10, 40, 35), next(numbers) % 4)


def _run(config: AugmentConfig, seed: int = 0, calm: bool = False) -> Sample:
    return Pipeline(config, SIZE)(drawn((40, 60), (10, 5, 40, 30)), _partner(), calm, np.random.default_rng(seed))


@settings(max_examples=60, deadline=None)
@given(
    strengths=st.fixed_dictionaries({name: st.sampled_from([0.0, 0.5, 0.9]) for name in OPERATIONS if name != "hue"}),
    seed=st.integers(0, 2**32),
    calm=st.booleans(),
)
def test_any_pipeline_leaves_a_sample_whole(strengths: dict[str, float], seed: int, calm: bool) -> None:
    config = AugmentConfig(**{**strengths, "rotate": strengths["rotate"] * 100}, hue=0.1)
    found = _run(config, seed, calm)
    assert found.image.shape == (3, *SIZE)
    assert found.image.dtype == torch.uint8
    assert isinstance(found.image, tv_tensors.Image)
    table = found.objects
    assert table is not None
    assert len({len(column) for column in table.values()}) == 1
    boxes = table["boxes"].as_subclass(torch.Tensor)
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([96.0, 64, 96, 64])).all()
    assert table["masks"].shape[1:] == SIZE
    assert found.maps["semantic"].shape[1:] == SIZE
    again = _run(config, seed, calm)
    assert torch.equal(again.image, found.image)
    assert torch.equal(again.maps["semantic"], found.maps["semantic"])


def test_nothing_that_was_not_asked_for() -> None:
    """The weak pipeline shows all of the picture in the middle, whatever the seed, and asks for no partner."""

    def nobody() -> Sample:
        raise AssertionError

    pictures = [
        Pipeline(weak(), SIZE)(drawn((40, 60), (0, 0, 60, 40)), nobody, False, np.random.default_rng(seed)).image
        for seed in range(3)
    ]
    assert torch.equal(pictures[0], pictures[1])
    assert torch.equal(pictures[0], pictures[2])
    assert (pictures[0][:, 0, 0] == torch.tensor([255, 0, 0])).all()
    assert (pictures[0][:, -1, -1] == torch.tensor([255, 0, 0])).all()


def test_calm_pictures_are_not_mixed() -> None:
    config = AugmentConfig(mosaic=1, mixup=1, copy_paste=1, scale=0)
    for seed in range(3):
        calm, strong = _run(config, seed, calm=True).objects, _run(config, seed).objects
        assert calm is not None
        assert strong is not None
        assert calm["classes"].tolist() == [0]
        assert len(strong["classes"]) > 1


def test_a_picture_without_partners_is_mixed_with_itself() -> None:
    config = AugmentConfig(mosaic=1, mixup=1, copy_paste=1)
    found = Pipeline(config, SIZE)(drawn((40, 60), (10, 5, 40, 30)), lambda: None, False, np.random.default_rng(0))
    assert found.objects is not None
    assert set(found.objects["classes"].tolist()) == {0}


def _as_crops(sample: Sample) -> Sample:
    """The sample with its masks kept as rectangles."""
    table = dict(sample.objects or {})
    planes = table["masks"].as_subclass(torch.Tensor).numpy()
    left, top, right, bottom = table["boxes"][0].int().tolist()
    crops = [((top, left), plane[top:bottom, left:right]) for plane in planes]
    return replace(sample, objects={**table, "masks": MaskCrops.of(planes.shape[1:], crops)})


@settings(max_examples=60, deadline=None)
@given(
    strengths=st.fixed_dictionaries(
        {name: st.sampled_from([0.0, 0.0, 0.9]) for name in OPERATIONS if name not in ("hue", "rotate", "shear")}
    ),
    turned=st.sampled_from([0.0, 0.0, 30.0]),
    seed=st.integers(0, 2**32),
)
def test_masks_as_rectangles_go_where_planes_go(strengths: dict[str, float], turned: float, seed: int) -> None:
    pipeline = Pipeline(AugmentConfig(**strengths, rotate=turned, hue=0), SIZE)
    first, partners = drawn((40, 60), (10, 5, 40, 30)), _partner()
    planes = pipeline(first, partners, False, np.random.default_rng(seed))
    partners = _partner()
    crops = pipeline(_as_crops(first), lambda: _as_crops(partners()), False, np.random.default_rng(seed))
    assert planes.objects is not None
    assert crops.objects is not None
    wanted, found = planes.objects, with_planes(crops.objects)
    assert wanted.keys() == found.keys()
    for name, column in wanted.items():
        assert torch.equal(column.as_subclass(torch.Tensor), found[name].as_subclass(torch.Tensor)), name
