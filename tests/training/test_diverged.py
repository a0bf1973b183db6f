"""The batch that is kept can be read without trust, and holds what the loss was of."""

from pathlib import Path

import pytest
import tiny
import torch
from torch import Tensor, nn

from yolor_mtl.build import Model, ModelConfig, build_model
from yolor_mtl.records import Batch
from yolor_mtl.training.diverged import keep_batch, origin, without_number


def test_the_batch_comes_back(tmp_path: Path) -> None:
    targets = tiny.targets()
    given = Batch(tiny.images(), {"semantic": torch.tensor([0, 1])}, {"semantic": targets["semantic"]})
    path = keep_batch(given, tmp_path / "run", ["a.jpg", "b.jpg"], step=7, seed=3, message="x is nan")
    assert path == tmp_path / "run" / "diverged.pt"
    kept = torch.load(path, weights_only=True)
    assert torch.equal(kept["images"], given.images)
    assert torch.equal(kept["rows"]["semantic"], given.rows["semantic"])
    assert torch.equal(kept["targets"]["semantic"]["maps"], targets["semantic"]["maps"])
    found = {name: kept[name] for name in ("paths", "step", "seed", "message")}
    assert found == {"paths": ["a.jpg", "b.jpg"], "step": 7, "seed": 3, "message": "x is nan"}


def test_what_is_no_number() -> None:
    layer = nn.BatchNorm1d(2)
    layer.register_buffer("mask", torch.tensor([0.0, float("-inf")]))  # as attention has them
    assert without_number(layer) is None
    layer.running_mean[0] = float("nan")  # of a batch that was no number; no parameter shows it
    assert without_number(layer) == "running_mean"
    layer.weight.data[1] = float("inf")
    assert without_number(layer) == "weight"


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return build_model(ModelConfig(64, tiny.TRUNK, {"detection": {}, "semantic": {}}), tiny.space())


def test_any_layer_is_named(model: Model) -> None:
    """Each convolution of the network in turn: of all that come after it, none is taken for it."""
    network, images = model.network.train(), tiny.images()
    sound = origin(network, lambda: network(images))
    assert sound == "run once more, every layer's output is finite: it comes of the loss itself or of the targets"
    layers = {
        name: part
        for name, part in network.named_modules()
        if isinstance(part, nn.Conv2d) and part.weight.requires_grad
    }
    assert len(layers) > 20
    for name, part in layers.items():
        weight, kept = part.weight.data, part.weight.data[0].clone()
        weight[0] = float("nan")
        before = {key: value.clone() for key, value in network.state_dict().items()}
        told = origin(network, lambda: network(images))
        assert told == f"the first layer whose output is not finite is {name}, whose weight is not"
        assert all(
            torch.equal(value, before[key]) or key == f"{name}.weight" for key, value in network.state_dict().items()
        )
        weight[0] = kept
    assert not any(part._forward_hooks for part in network.modules())
    assert origin(network, lambda: network(images)) == sound


def test_no_memory_to_look(model: Model) -> None:
    """The training ends because of the loss, and says so."""

    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    assert origin(model.network, full) == "the layer could not be looked for: CUDA out of memory."
    assert not any(part._forward_hooks for part in model.network.modules())


def test_an_output_of_no_layer() -> None:
    """As of a head whose reading is kept: its own call is none of a layer."""
    told = origin(nn.Linear(2, 2), lambda: {"logits": torch.tensor([float("nan")])})
    assert told == "run once more, every layer's output is finite, but not what the network makes of them"


class Overflow(nn.Module):
    """Sound weights; what it makes of its input is too much for the format."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, given: Tensor) -> dict[str, list[Tensor]]:
        return {"logits": [given, self.inner(given).exp() * 1e38 * 1e38]}


def test_a_layer_that_overflows() -> None:
    network = nn.ModuleDict({"first": nn.Linear(2, 2), "second": Overflow()})
    told = origin(network, lambda: network["second"](network["first"](torch.ones(1, 2))))
    assert told == "the first layer whose output is not finite is second, whose weights are"
