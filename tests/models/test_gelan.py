"""Blocks of the GELAN family: shapes, fused equals, and where the gradient is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from tiny import randomise
from torch import nn

from yolor_mtl.models.fuse import fuse
from yolor_mtl.models.gelan import (
    AverageDown,
    ConvNorm,
    Gelan,
    PartialAttention,
    PositionAttention,
    RepBottleneck,
    RepConv,
    RepCsp,
    SppElan,
)

BLOCKS = [
    (ConvNorm(128, 16, 3), (2, 16, 12, 8)),
    (ConvNorm(128, 128, 3, groups=128), (2, 128, 12, 8)),
    (RepConv(128, 16), (2, 16, 12, 8)),
    (RepBottleneck(128), (2, 128, 12, 8)),
    (RepCsp(128, 24, depth=2), (2, 24, 12, 8)),
    (Gelan(128, 24, hidden=16, width=8, depth=1), (2, 24, 12, 8)),
    (Gelan(128, 24, hidden=16, width=8, depth=2, shares=3), (2, 24, 12, 8)),
    (AverageDown(128, 16), (2, 16, 6, 4)),
    (SppElan(128, 24, hidden=8), (2, 24, 12, 8)),
    (PositionAttention(128), (2, 128, 12, 8)),
    (PartialAttention(128), (2, 128, 12, 8)),
]


@pytest.mark.parametrize(("block", "shape"), BLOCKS)
def test_shapes_and_fused_equals(block: nn.Module, shape: tuple[int, ...]) -> None:
    randomise(block)
    block.eval()
    x = torch.randn(2, 128, 12, 8)
    with torch.inference_mode():
        before = block(x)
        fused = fuse(block)
        after = fused(x)
    assert before.shape == shape
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())


def test_a_repeated_convolution_is_one() -> None:
    plain = fuse(RepConv(4, 6))
    assert [type(part) for part in plain.children()] == [nn.Conv2d, nn.SiLU]


def test_the_entrances_of_a_block_are_one_convolution() -> None:
    fused = fuse(RepCsp(16, 8, depth=1))
    reading = [part for part in fused.modules() if isinstance(part, nn.Conv2d) and part.in_channels == 16]
    assert [part.out_channels for part in reading] == [8]


@pytest.mark.parametrize("training", [True, False])
def test_shares_read_with_the_gradient_cut_in_training(training: bool) -> None:
    block = Gelan(8, 12, hidden=8, width=4, depth=1, shares=3).train(training)
    x = torch.randn(2, 8, 4, 4, requires_grad=True)
    own, *others = block(x).split(4, dim=1)
    reached = []
    for part in (own, *others):
        (gradient,) = torch.autograd.grad(part.square().sum(), x, retain_graph=True, allow_unused=True)
        reached.append(gradient is not None and bool(gradient.any()))
    assert reached == [True, not training, not training]
    sum(part.square().sum() for part in others).backward()
    assert all(parameter.grad is not None for conv in list(block.out)[1:] for parameter in conv.parameters())


def test_position_attention_by_hand() -> None:
    block = PositionAttention(128).eval()
    randomise(block)
    x = torch.randn(1, 128, 2, 3)
    with torch.inference_mode():
        found = block(x)
        mixed, values = torch.zeros(1, 128, 2, 3), torch.zeros(1, 128, 2, 3)
        maps = block.qkv(x)
        for head, (first, last) in enumerate(pairwise((0, 128, 256))):
            query, key, value = maps[0, first:last].flatten(1).split((32, 32, 64))
            place = slice(64 * head, 64 * head + 64)
            for cell in range(6):
                weights = (query[:, cell] @ key / 32**0.5).softmax(0)
                mixed[0, place].view(64, 6)[:, cell] = (value * weights).sum(1)
            values[0, place] = value.view(64, 2, 3)
        wanted = block.project(mixed + block.places(values))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
