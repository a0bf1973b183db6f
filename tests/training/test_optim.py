"""Every parameter learns once, with the decay and the rate that are meant for it."""

import pytest
import tiny
import torch

from yolor_mtl.training.config import TrainConfig
from yolor_mtl.training.optim import adamw, parameter_groups, set_rate

CONFIG = TrainConfig(lr=0.01, text_lr=0.5, weight_decay=0.1)


@pytest.fixture(scope="module")
def network():
    return tiny.build()[1]


def placed(network, config, heads):
    """Name of each parameter -> its group."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        names[id(parameter)]: group
        for group in parameter_groups(network, config, heads)
        for parameter in group["params"]
    }


def test_every_parameter_is_in_exactly_one_group(network):
    members = [id(p) for group in parameter_groups(network, CONFIG, ["captioning"]) for p in group["params"]]
    assert len(members) == len(set(members))
    assert set(members) == {id(p) for p in network.parameters()}


def test_matrices_and_kernels_decay_and_vectors_do_not(network):
    groups = placed(network, CONFIG, ["captioning"])
    for name, parameter in network.named_parameters():
        vector = sum(side > 1 for side in parameter.shape) <= 1
        assert groups[name]["weight_decay"] == (0.0 if vector else 0.1), name
    decaying = {name.rpartition(".")[2] for name, group in groups.items() if group["weight_decay"]}
    resting = [name for name, group in groups.items() if not group["weight_decay"]]
    assert "weight" in decaying
    assert not any(name.endswith(("bias", "norm.weight")) for name in set(groups) - set(resting))
    assert any("implicit" in name or name.endswith("value") for name in resting)


def test_text_rate_is_for_language_heads_only(network):
    for name, group in placed(network, CONFIG, ["captioning"]).items():
        assert group["lr"] == group["base_lr"] == (0.005 if name.startswith("heads.captioning.") else 0.01), name
    assert {group["lr"] for group in placed(network, CONFIG, []).values()} == {0.01}


def test_rates_keep_their_ratio(network):
    optimizer = adamw(network, CONFIG, ["captioning"])
    set_rate(optimizer, 0.1)
    set_rate(optimizer, 0.2)
    assert sorted({round(group["lr"], 9) for group in optimizer.param_groups}) == [0.001, 0.002]


def test_a_step_moves_what_has_a_gradient(network):
    optimizer = adamw(network, CONFIG, [])
    parameter = next(network.parameters())
    before = parameter.detach().clone()
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert not torch.equal(before, parameter)
