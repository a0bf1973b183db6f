"""The gelan trunk: its size, its features, and that nothing is built which nobody asked for."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
from torch import nn

from yolor_mtl.models.gelan import PartialAttention
from yolor_mtl.models.trunks import FeatureInfo, build_trunk
from yolor_mtl.records import UserError

SMALL: dict[str, Any] = {"kind": "gelan", "width": 0.25}
INFOS = {
    "c3": FeatureInfo(128, 8),
    "c4": FeatureInfo(128, 16),
    "c5": FeatureInfo(128, 32),
    "p3": FeatureInfo(64, 8),
    "p4": FeatureInfo(128, 16),
    "p5": FeatureInfo(128, 32),
}
NECK = ["p3", "p4", "p5"]


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_default_width_has_the_size_of_gelan_c() -> None:
    # The released network has 27,793,549 values, 7,847,117 of them in its heads.
    assert _size(build_trunk({"kind": "gelan"}, NECK)) == 27_793_549 - 7_847_117


@pytest.mark.parametrize("demand", [NECK, ["c3", "c5", "p4"], ["p5"], ["c4"], []])
def test_features(demand: list[str]) -> None:
    trunk = build_trunk(SMALL, demand)
    assert trunk.feature_info == {name: INFOS[name] for name in demand}
    assert trunk.multiple == 32
    tiny.check_shapes(trunk)


@pytest.mark.parametrize("demand", [["c3"], ["c4"], ["c5"], ["p3"], ["p4"], ["p5"], ["c5", "p3"]])
def test_every_parameter_that_is_built_is_used(demand: list[str]) -> None:
    trunk = build_trunk(SMALL, demand)
    tiny.check_all_used(trunk)


def test_only_what_is_demanded_is_built() -> None:
    sizes = [_size(build_trunk(SMALL, [name])) for name in ("c3", "c4", "c5", "p3", "p4", "p5")]
    assert sizes == sorted(set(sizes))


def test_attention_and_shares_are_keys() -> None:
    plain, attentive, shared = (
        build_trunk({**SMALL, **keys}, NECK) for keys in ({}, {"attention": True}, {"shares": 2})
    )
    assert _size(attentive) - _size(plain) == _size(PartialAttention(128))
    assert _size(shared) == _size(plain)
    assert {name: len(convs) for name, convs in plain.outputs().items()} == {"p3": 1, "p4": 1, "p5": 1}
    assert {name: len(convs) for name, convs in shared.outputs().items()} == {"p3": 2, "p4": 2, "p5": 2}


@pytest.mark.parametrize(
    ("config", "demand", "message"),
    [
        ({"widht": 1.0}, ["p3"], r"trunk\.widht.*did you mean 'width'"),
        ({}, ["p6"], "no feature"),
        ({"stem": [64]}, ["p3"], r"trunk\.stem.*2 numbers"),
        ({"neck": [64, 64]}, ["p3"], r"trunk\.neck.*3 numbers"),
        ({"depth": 0}, ["p3"], r"trunk\.depth=0"),
        ({"attention": True, "width": 0.125}, ["p3"], r"trunk\.attention needs.*multiple of 128.*not 64"),
    ],
)
def test_refused(config: dict[str, Any], demand: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_trunk({"kind": "gelan", **config}, demand)
