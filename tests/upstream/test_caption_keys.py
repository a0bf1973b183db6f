"""Names of the caption part; the check against the release's own list lies in ``tests/parity``."""

from __future__ import annotations

import pytest

from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.tasks.captioning.region_head import RegionCaptionHead
from yolor_mtl.upstream.caption_keys import CAPTION_DROPPED, caption_key


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("cv3.2.1.bn.running_var", "levels.2.1.norm.running_var"),
        ("cv4.0.conv.weight", "grid.0.conv.weight"),
        ("cv5.1.bn.bias", "classes.1.norm.bias"),
        ("grit_transformer.grid_net.fc.bias", "encoder.project.bias"),
        ("grit_transformer.grid_net.layers.0.mhatt.attention.fc_o.weight", "encoder.layers.0.attention.out.weight"),
        ("grit_transformer.cap_generator.layers.0.vis_att2.layer_norm.bias", "layers.0.region_attention.norm.bias"),
        ("grit_transformer.cap_generator.layers.3.pwff.fc2.weight", "layers.3.feed.narrow.weight"),
        ("grit_transformer.cap_generator.layers.0.fc_alpha1.bias", "layers.0.gate.bias"),
        ("grit_transformer.cap_generator.layers.0.fc_alpha2.bias", "layers.0.unused_gate.bias"),
        ("grit_transformer.cap_generator.pos_emb.weight", "positions"),
        ("grit_transformer.cap_generator.fc.weight", "out.weight"),
    ],
)
def test_names(key: str, name: str) -> None:
    assert caption_key(key) == name
    assert name.split(".")[0] in _parts()


def _parts() -> set[str]:
    infos = {"p3": FeatureInfo(8, 8)}
    head = RegionCaptionHead(infos, 9, levels=("p3",), grid="p3", classes="p3", width=8, heads=2, feed_forward=4)
    return {name.split(".")[0] for name in head.state_dict()}


@pytest.mark.parametrize("key", [*CAPTION_DROPPED, "cv6.0.conv.weight", "grit_transformer", ""])
def test_what_has_no_name(key: str) -> None:
    assert caption_key(key) is None
