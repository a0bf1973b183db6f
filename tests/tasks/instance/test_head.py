"""Prototypes at half the stride of the finest feature, coefficients for detection's points."""

from __future__ import annotations

import pytest
import torch
from tiny import build, images

from yolor_mtl.records import UserError
from yolor_mtl.tasks.instance.labels import InstanceLabels


def test_shapes() -> None:
    tasks, network = build({"detection": {}, "instance": {"prototypes": 6}})
    out = network(images())
    assert out["instance"]["coefficients"].shape == (2, len(out["detection"]["anchors"]), 6)
    assert out["instance"]["proto"].shape == (2, 6, 16, 24)
    labels = tasks[1].labels
    assert isinstance(labels, InstanceLabels)
    assert labels.stride == 4


def test_order_of_points_is_detection_s() -> None:
    """A change in the last cell of p4 reaches the points around it (a 3 x 3 convolution) and no others."""
    _, network = build({"detection": {}, "instance": {}})
    network.eval()
    head = network.heads["instance"]
    infos = network.trunk.feature_info.items()  # type: ignore[union-attr]
    features = {name: torch.zeros(1, info.channels, 64 // info.stride, 96 // info.stride) for name, info in infos}
    before = head(features, {})["coefficients"]
    features["p4"][:, :, 3, 5] = 1
    changed = (head(features, {})["coefficients"] - before).abs().sum(-1)[0]
    assert changed.nonzero()[:, 0].tolist() == [8 * 12 + y * 6 + x for y in (2, 3) for x in (4, 5)]


def test_needs_detection() -> None:
    with pytest.raises(UserError, match="detection"):
        build({"instance": {}})
