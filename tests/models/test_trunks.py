"""The elan trunk: its size, its features, and that nothing is built which nobody asked for."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from torch import nn

from yolor_mtl.models.trunks import FeatureInfo, Trunk, build_trunk
from yolor_mtl.records import UserError

SMALL: dict[str, Any] = {"kind": "elan", "width": 0.25, "stem": [[64, 2], [128, 2]]}
INFOS = {
    "c3": FeatureInfo(128, 8),
    "c4": FeatureInfo(256, 16),
    "c5": FeatureInfo(256, 32),
    "p3": FeatureInfo(64, 8),
    "p4": FeatureInfo(128, 16),
    "p5": FeatureInfo(256, 32),
}


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_default_width_has_the_size_of_yolov7_af() -> None:
    assert _size(build_trunk({"kind": "elan"}, ["p3", "p4", "p5"])) == 36_470_688


@pytest.mark.parametrize("demand", [["p3", "p4", "p5"], ["c3", "c5", "p4"], ["p5"], ["c4"], []])
def test_features(demand: list[str]) -> None:
    trunk = build_trunk(SMALL, demand)
    assert trunk.feature_info == {name: INFOS[name] for name in demand}
    assert trunk.multiple == 32
    tiny.check_shapes(trunk)


def test_only_what_is_demanded_is_built() -> None:
    sizes = [_size(build_trunk(SMALL, demand)) for demand in (["c3"], ["p3"], ["p4"], ["p5"], ["p3", "p4", "p5"])]
    assert sizes == sorted(set(sizes))
    assert _size(build_trunk(SMALL, ["c5"])) == _size(build_trunk(SMALL, ["c3", "c4", "c5"]))
    assert _size(build_trunk(SMALL, ["c3"])) < _size(build_trunk(SMALL, ["c4"])) < _size(build_trunk(SMALL, ["c5"]))


@pytest.mark.parametrize("demand", [["c3"], ["c4"], ["p3"], ["p4"], ["p5"], ["c5", "p3"]])
def test_every_parameter_that_is_built_is_used(demand: list[str]) -> None:
    trunk = build_trunk(SMALL, demand)
    tiny.check_all_used(trunk)


@pytest.mark.parametrize(
    ("config", "demand", "message"),
    [
        ({"kind": "elam"}, ["p3"], "did you mean 'elan'"),
        ({}, ["p3"], "unknown trunk.kind ''"),
        ({"kind": "elan", "widht": 1.0}, ["p3"], r"trunk\.widht.*did you mean 'width'"),
        ({"kind": "elan", "width": "wide"}, ["p3"], r"trunk\.width"),
        ({"kind": "elan"}, ["p6"], "no feature"),
        ({"kind": "elan", "stem": [[64, 2]]}, ["p3"], "stem"),
        ({"kind": "elan", "stages": [64, 64]}, ["p3"], r"trunk\.stages"),
        ({"kind": "elan", "convs": 5}, ["p3"], r"trunk\.convs"),
    ],
)
def test_refused(config: dict[str, Any], demand: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_trunk(config, demand)


def test_a_trunk_without_forward_says_so() -> None:
    with pytest.raises(TypeError, match="forward"):
        Trunk()(torch.zeros(1, 3, 32, 32))
