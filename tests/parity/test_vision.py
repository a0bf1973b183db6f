"""The released networks' boxes, masks and maps, number for number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from released import (
    RENAMES,
    TOLERANCE,
    as_released,
    entries,
    gaps,
    images,
    is_caption,
    measured,
    released_state,
    vision_model,
)
from torch import nn

from yolor_mtl.build import build_model, model_config
from yolor_mtl.data.coco_stuff_classes import released_space
from yolor_mtl.models.network import Network

COUNTS = {"gelan-c-pan": 27_793_549, "yolov7-af-pan": 46_087_277, "gyolo": 52_601_178 - 8_418_304}
"""Learnable values; of gyolo without its caption part."""


def _gaps(network: Network, shared: Path, name: str) -> dict[str, float]:
    with torch.inference_mode():
        return gaps(as_released(network(images())), measured(shared, name))


@pytest.mark.parametrize("name", COUNTS)
def test_outputs_are_the_published_ones(shared: Path, name: str) -> None:
    model = vision_model(shared, name)
    assert sum(parameter.numel() for parameter in model.network.parameters()) == COUNTS[name]
    found = _gaps(model.network, shared, name)
    assert max(found.values()) < TOLERANCE, found
    model.inference()
    assert not [part for part in model.network.modules() if isinstance(part, nn.BatchNorm2d)]
    found = _gaps(model.network, shared, name)
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("place", [0, -1])
def test_a_single_flipped_weight_is_noticed(shared: Path, name: str, place: int) -> None:
    model = vision_model(shared, name)
    network = model.network
    network.inference()  # a weight of training alone changes nothing
    kernels = [p for key, p in network.named_parameters() if p.dim() == 4 and not key.endswith("steps")]
    weights = kernels[place]
    with torch.no_grad():
        at = int(weights.flatten().abs().argmax())
        weights[tuple(torch.unravel_index(torch.tensor(at), weights.shape))] *= -1
    assert max(_gaps(network, shared, name).values()) > TOLERANCE


@pytest.mark.parametrize("name", COUNTS)
def test_every_released_tensor_has_one_name_of_ours(shared: Path, name: str) -> None:
    own = build_model(model_config(name), released_space(), ("detection", "instance", "semantic")).network.state_dict()
    found = {RENAMES[name](key): tuple(shape) for key, shape in entries(shared, name) if not is_caption(name, key)}
    assert found == {key: tuple(value.shape) for key, value in own.items()}


def test_what_no_release_has_is_unknown() -> None:
    for rename in RENAMES.values():
        assert [rename(key) for key in ("model.999.conv.weight", "model.0x", "", "model.55.cv99.0.weight")] == [
            None
        ] * 4


def test_the_weights_are_those_of_the_keys(shared: Path) -> None:
    state = released_state(shared, "gelan-c-pan")
    assert state["model.22.dfl.conv.weight"].flatten().tolist() == list(range(16))
    assert len(state) == len(entries(shared, "gelan-c-pan")) == 1005
