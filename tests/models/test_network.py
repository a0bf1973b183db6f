"""The one forward pass: rows, reads, only what is asked, and gradients everywhere."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from tiny import BLOCKS, HEIGHT, WIDTH, build, images, targets
from torch import Tensor, nn

from yolor_mtl.models.network import Network
from yolor_mtl.models.trunks import FeatureInfo, Trunk
from yolor_mtl.records import Outputs
from yolor_mtl.tasks.base import task_losses, total_loss


class _Mean(Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.feature_info = {"mean": FeatureInfo(3, 1)}
        self.multiple = 1
        self.calls = 0

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return {"mean": images}


class _Probe(nn.Module):
    def __init__(self, read: str | None = None) -> None:
        super().__init__()
        self.read = read

    def forward(
        self, features: Mapping[str, Tensor], read: Mapping[str, Outputs], inputs: Mapping[str, Tensor] | None = None
    ) -> Outputs:
        out = {"seen": features["mean"].mean((1, 2, 3))}
        if self.read:
            out["read"] = read[self.read]["seen"] + 1
        if inputs:
            out["told"] = inputs["more"]
        return out


def _network() -> Network:
    heads = {"first": _Probe(), "second": _Probe("first"), "third": _Probe()}
    return Network(_Mean(), heads, dict.fromkeys(heads, ("mean",)), {"second": ("first",)})


def test_all_heads_on_one_pass() -> None:
    network = _network()
    found = network(torch.full((2, 3, 4, 4), 51, dtype=torch.uint8))
    assert list(found) == ["first", "second", "third"]
    torch.testing.assert_close(found["second"]["read"], torch.full((2,), 1.2))
    assert network.trunk.calls == 1


def test_asked_heads_and_those_they_read() -> None:
    network = _network()
    assert list(network(torch.rand(1, 3, 4, 4), ["second"])) == ["first", "second"]
    assert list(network(torch.rand(1, 3, 4, 4), ["third"])) == ["third"]
    assert list(network(torch.rand(1, 3, 4, 4), ["panoptic"])) == []
    assert network.needed(["third", "second"]) == ["first", "second", "third"]


def test_rows() -> None:
    pixels = torch.stack([torch.full((3, 2, 2), value) for value in (0.1, 0.2, 0.3)])
    rows = {"first": torch.tensor([0, 2]), "second": torch.tensor([0, 2]), "third": torch.tensor([], dtype=torch.int64)}
    found = _network()(pixels, rows=rows)
    assert list(found) == ["first", "second"]
    torch.testing.assert_close(found["first"]["seen"], torch.tensor([0.1, 0.3]))
    torch.testing.assert_close(_network()(pixels, rows={})["third"]["seen"], torch.tensor([0.1, 0.2, 0.3]))


def test_what_is_read_is_worked_out_for_the_reader_s_rows() -> None:
    pixels = torch.stack([torch.full((3, 2, 2), value) for value in (0.1, 0.2, 0.3)])
    rows = {"first": torch.tensor([0, 2]), "second": torch.tensor([1])}
    found = _network()(pixels, rows=rows)
    torch.testing.assert_close(found["first"]["seen"], torch.tensor([0.1, 0.3]))
    torch.testing.assert_close(found["second"]["read"], torch.tensor([1.2]))
    found = _network()(pixels, rows={"first": torch.tensor([], dtype=torch.int64)})
    assert "first" not in found
    torch.testing.assert_close(found["second"]["read"], torch.tensor([1.1, 1.2, 1.3]))


def test_inputs_reach_their_head_alone() -> None:
    found = _network()(torch.rand(1, 3, 2, 2), inputs={"third": {"more": torch.ones(1)}})
    assert "told" in found["third"]
    assert "told" not in found["first"]


def test_pixels_are_scaled_and_floats_pass() -> None:
    network = _network()
    pixels = torch.randint(0, 256, (1, 3, 5, 7), dtype=torch.uint8)
    torch.testing.assert_close(network.normalise(pixels), pixels.float() / 255)
    share = torch.rand(1, 3, 5, 7)
    assert torch.equal(network.normalise(share), share)
    assert network.half().normalise(pixels).dtype == torch.float16
    assert not network.state_dict()


def test_shapes_of_all_outputs() -> None:
    _, network = build()
    points = 8 * 12 + 4 * 6 + 2 * 3
    with torch.inference_mode():
        found = network.eval()(images())
    assert {task: {name: tuple(x.shape) for name, x in out.items()} for task, out in found.items()} == {
        "detection": {
            "anchors": (points, 3),
            "main.box_logits": (2, points, 64),
            "main.class_logits": (2, points, 3),
            "main.steps": (1, 16, 1, 1),
        },
        "instance": {"coefficients": (2, points, 8), "proto": (2, 8, HEIGHT // 4, WIDTH // 4)},
        "semantic": {"logits": (2, 5, HEIGHT // 4, WIDTH // 4)},
        "captioning": {"memory": (2, 6, 32), "places": (2, 6, 4)},
    }


def test_every_parameter_learns_in_a_joint_step() -> None:
    torch.manual_seed(0)
    # All points inside of a box are assigned, so that no level of the pyramid is left without an object.
    tasks, network = build({**BLOCKS, "detection": {"branches": [{"name": "main", "top_k": 1000}]}})
    wanted = targets()
    network.train()
    outputs = network(images(), inputs={"captioning": wanted["captioning"]})
    total, parts = total_loss(tasks, task_losses(tasks, outputs, wanted))
    total.backward()
    assert set(parts) == {
        "detection/class",
        "detection/box",
        "detection/dfl",
        "instance/mask",
        "semantic/cross_entropy",
        "captioning/words",
    }
    grads = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert [name for name, grad in grads.items() if grad is None] == []
    assert [name for name, grad in grads.items() if grad is not None and not torch.isfinite(grad).all()] == []
    assert [name for name, grad in grads.items() if grad is not None and not grad.any()] == []


@pytest.mark.parametrize("training", [True, False])
def test_names_of_outputs_do_not_depend_on_the_mode(training: bool) -> None:
    _, network = build({"detection": {"branches": [{"name": "main"}, {"name": "aux", "train_only": True}]}})
    with torch.no_grad():
        found = network.train(training)(images())
    assert set(found["detection"]) == {
        "anchors",
        "main.box_logits",
        "main.class_logits",
        "main.steps",
        "aux.box_logits",
        "aux.class_logits",
        "aux.steps",
    }
