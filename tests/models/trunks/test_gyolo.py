"""The gyolo trunk: fine features, a second backbone for training, and how it goes."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from torch import nn

from yolor_mtl.models.trunks import FeatureInfo, build_trunk
from yolor_mtl.records import UserError

SMALL: dict[str, Any] = {"kind": "gyolo", "width": 0.25}
INFOS = {
    **{f"{side}{level}": FeatureInfo(128, 2**level) for side in "ca" for level in (3, 4, 5)},
    "p3": FeatureInfo(64, 8),
    "p4": FeatureInfo(128, 16),
    "p5": FeatureInfo(128, 32),
    **dict.fromkeys(("s2", "m2", "as2", "am2", "u2"), FeatureInfo(64, 4)),
}
ANSWERING = ["p3", "p4", "p5", "c5", "s2", "m2", "u2"]
TRAINING = ["a3", "a4", "a5", "as2", "am2"]


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("demand", [ANSWERING + TRAINING, ANSWERING, ["u2"], ["as2"], ["p5", "a5"], []])
def test_features(demand: list[str]) -> None:
    trunk = build_trunk(SMALL, demand)
    assert trunk.feature_info == {name: INFOS[name] for name in INFOS if name in demand}
    assert trunk.multiple == 32
    tiny.check_shapes(trunk)


def test_every_parameter_is_used_in_training() -> None:
    trunk = build_trunk(SMALL, ANSWERING + TRAINING)
    tiny.check_all_used(trunk)


def test_the_inference_form_is_what_the_answers_need() -> None:
    trunk = build_trunk(SMALL, ANSWERING + TRAINING).eval()
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        before = trunk(pixels)
        trunk.inference(ANSWERING)
        after = trunk(pixels)
    assert list(after) == [name for name in before if name in ANSWERING]
    assert all(torch.equal(after[name], before[name]) for name in after)
    assert _size(trunk) == _size(build_trunk(SMALL, ANSWERING))


def test_the_size_of_the_release() -> None:
    # The release's layers 0 to 23, 43 to 46 and 51 to 54, by their own counts.
    with torch.device("meta"):
        trunk = build_trunk({"kind": "gyolo"}, ANSWERING)
    assert trunk.feature_info["p5"] == FeatureInfo(512, 32)
    assert _size(trunk) == 20_937_408 + 941_312 + 941_312


def test_what_does_not_exist() -> None:
    with pytest.raises(UserError, match=r"gyolo trunk has no feature \['s3'\]"):
        build_trunk(SMALL, ["s3"])
