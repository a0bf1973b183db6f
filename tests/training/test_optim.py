"""Every parameter learns once, with the decay and the rate that are meant for it."""

import pytest
import tiny
import torch

from yolor_mtl.training.config import CHOICES, TrainConfig
from yolor_mtl.training.optim import OPTIMIZERS, adamw, parameter_groups, set_rate, sgd

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


def test_the_words_are_those_of_the_configuration():
    assert tuple(OPTIMIZERS) == CHOICES["optimizer"]


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_what_is_outside_the_network_learns_without_decay(network, make):
    further = torch.nn.Parameter(torch.zeros(3, 3))
    (group,) = (g for g in make(network, CONFIG, [], [further]).param_groups if any(p is further for p in g["params"]))
    assert (group["lr"], group["base_lr"], group["weight_decay"]) == (0.01, 0.01, 0.0)


def test_sgd_by_hand():
    layer = torch.nn.Linear(2, 2, bias=False)
    torch.nn.init.ones_(layer.weight)
    optimizer = sgd(layer, TrainConfig(lr=0.01, momentum=0.5, weight_decay=0.2), [])
    weight, velocity = 1.0, 0.0
    for _ in range(3):
        layer.weight.grad = torch.ones_like(layer.weight)
        optimizer.step()
        slope = 1 + 0.2 * weight
        velocity = 0.5 * velocity + slope
        weight -= 0.01 * (slope + 0.5 * velocity)
        assert layer.weight[0, 0].item() == pytest.approx(weight, rel=1e-5)


def test_sgd_without_momentum(network):
    assert not sgd(network, TrainConfig(momentum=0), []).defaults["nesterov"]


def test_a_step_moves_what_has_a_gradient(network):
    optimizer = adamw(network, CONFIG, [])
    parameter = next(network.parameters())
    before = parameter.detach().clone()
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert not torch.equal(before, parameter)
