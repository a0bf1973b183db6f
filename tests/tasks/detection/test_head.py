"""Points, distances and branches of the detection head."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny import build, images
from torch import nn

from yolor_mtl.records import UserError
from yolor_mtl.tasks.detection.head import DetectionHead, anchor_points, boxes_from_distances, expected_distances

STEPS = torch.arange(16.0)


def test_points_are_centres_of_cells() -> None:
    found = anchor_points([(1, 2), (1, 1)], [8, 16], torch.device("cpu"))
    assert found.tolist() == [[4, 4, 8], [12, 4, 8], [8, 8, 16]]


def test_expected_distance_by_hand() -> None:
    # Probabilities 1/8, 2/8, 3/8, 2/8 over 0..3: (0 + 2 + 6 + 6) / 8 = 1.75.
    logits = torch.tensor([1.0, 2, 3, 2]).log().repeat(4)
    torch.testing.assert_close(expected_distances(logits, torch.arange(4)), torch.full((4,), 1.75))


def test_distances_keep_full_precision_under_autocast() -> None:
    logits = torch.randn(50, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = expected_distances(logits, STEPS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected_distances(logits, STEPS))


def test_boxes_by_hand() -> None:
    found = boxes_from_distances(torch.tensor([[[1.0, 2, 3, 0.5]]]), torch.tensor([[20.0, 40, 8]]))
    assert found.tolist() == [[[12, 24, 44, 44]]]


def _head(**changes: Any) -> DetectionHead:
    _, network = build({"detection": changes})
    head = network.heads["detection"]
    assert isinstance(head, DetectionHead)
    return head


def test_starts_with_few_objects() -> None:
    head = _head(implicit=False)
    out = [scores[-1].conv for scores in head.branches["main"].classes]  # type: ignore[union-attr, index]
    for conv, stride in zip(out, (8, 16, 32), strict=True):
        assert conv.bias[0].item() == pytest.approx(math.log(5 / 3 / (640 / stride) ** 2), abs=1e-5)


BRANCHES = [
    {"name": "main"},
    {"name": "one", "top_k": 1, "train_only": False, "detach": True},
    {"name": "aux", "features": ["c3", "c4", "c5"], "train_only": True},
]


def test_branches_are_rows() -> None:
    tasks, network = build({"detection": {"branches": BRANCHES}})
    assert set(tasks[0].features) == {"p3", "p4", "p5", "c3", "c4", "c5"}
    out = network(images())["detection"]
    assert out["aux.class_logits"].shape == out["main.class_logits"].shape == (2, 126, 3)
    head = network.heads["detection"]
    assert isinstance(head, DetectionHead)
    head.inference()
    assert set(network(images())["detection"]) == {
        "anchors",
        *(f"{name}.{kind}" for name in ("main", "one") for kind in ("box_logits", "class_logits", "steps")),
    }


def test_a_detached_branch_leaves_the_trunk_alone() -> None:
    _, network = build({"detection": {"branches": BRANCHES[1:2]}})
    out = network(images())["detection"]
    (out["one.box_logits"].sum() + out["one.class_logits"].sum()).backward()
    assert all(parameter.grad is None for parameter in network.trunk.parameters())
    assert all(parameter.grad is not None for parameter in network.heads.parameters() if parameter.requires_grad)


def test_a_branch_s_own_widths_and_weights() -> None:
    branches = [{"name": "main"}, {"name": "aux", "box_width": 24, "class_width": 40, "weight": 0.25}]
    tasks, network = build({"detection": {"branches": branches}})
    head: Any = network.heads["detection"]
    assert head.branches["aux"].boxes[0][1].conv.in_channels == 24
    assert head.branches["aux"].classes[0][1].conv.in_channels == 40
    assert tasks[0].weights["box@aux"] == tasks[0].weights["box"] == 7.5


def test_grouped_box_towers() -> None:
    head: Any = _head(box_width=32, box_groups=4, depth=2, implicit=False)
    boxes = head.branches["main"].boxes[0]
    assert [boxes[0][0].conv.groups, boxes[0][1].conv.groups, boxes[1].conv.groups] == [1, 4, 4]


def test_distances_of_bins_are_kept_and_never_trained() -> None:
    head: Any = _head()
    steps = head.branches["main"].steps
    assert (steps.shape, steps.flatten().tolist()) == ((1, 16, 1, 1), [float(i) for i in range(16)])
    assert not steps.requires_grad
    assert "branches.main.steps" in head.state_dict()


def test_separable_towers_are_smaller() -> None:
    def size(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert size(_head(separable=True)) < size(_head(separable=False))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"bins": 1}, "bins=1"),
        ({"branches": []}, "branches are named"),
        ({"branches": [{"name": "a"}, {"name": "a"}]}, "its own name"),
        ({"branches": [{"name": "a"}, {"name": "b", "features": ["p4", "p5"]}]}, "same strides"),
        ({"branches": [{"name": "a", "topk": 3}]}, r"branches\.topk.*top_k"),
        ({"shared": "none"}, "shared='none'"),
        ({"branches": [{"name": "a", "assign_from": "b"}]}, "assign_from='b'"),
        ({"box_width": 30, "box_groups": 4}, "box_groups=4 must divide"),
        ({"view": "visoin"}, "did you mean 'vision'"),
    ],
)
def test_refused(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build({"detection": block})
