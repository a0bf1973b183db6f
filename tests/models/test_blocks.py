"""Blocks: shapes, and a fused block gives what the block gave."""

from __future__ import annotations

import pytest
import torch
from tiny import randomise
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from yolor_mtl.models.blocks import ConvNormAct, Down, Elan, EnlargingConv, SppCsp, tower


@pytest.mark.parametrize(
    ("block", "shape"),
    [
        (ConvNormAct(8, 16, 3), (2, 16, 12, 8)),
        (ConvNormAct(8, 16, 3, 2), (2, 16, 6, 4)),
        (ConvNormAct(8, 8, 3, groups=8), (2, 8, 12, 8)),
        (Elan(8, 24, hidden=8, width=4, convs=4, every=2), (2, 24, 12, 8)),
        (Elan(8, 24, hidden=8, width=4, convs=3, every=1), (2, 24, 12, 8)),
        (Down(8, 16), (2, 16, 6, 4)),
        (EnlargingConv(8, 16), (2, 16, 24, 16)),
        (SppCsp(8, 16), (2, 16, 12, 8)),
        (tower(8, 16, 2, separable=False), (2, 16, 12, 8)),
        (tower(8, 16, 2, separable=True), (2, 16, 12, 8)),
        (tower(8, 16, 0, separable=False), (2, 8, 12, 8)),
    ],
)
def test_shapes(block: nn.Module, shape: tuple[int, ...]) -> None:
    assert block(torch.randn(2, 8, 12, 8)).shape == shape


@pytest.mark.parametrize("size", [(1, 1), (5, 4)])
def test_fused_enlarging_convolution(size: tuple[int, int]) -> None:
    block = EnlargingConv(3, 4)
    randomise(block)
    block.eval().double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    with FlopCounterMode(display=False) as plain:
        wanted = block(x)
    fused = block.fused()
    torch.testing.assert_close(fused(x), wanted, atol=1e-6, rtol=1e-6)
    assert wanted.shape == (2, 4, 2 * size[0], 2 * size[1])
    if size != (1, 1):
        with FlopCounterMode(display=False) as cheaper:
            fused(x)
        assert cheaper.get_total_flops() < plain.get_total_flops()


@pytest.mark.parametrize("groups", [1, 4])
def test_fused_convolution(groups: int) -> None:
    block = ConvNormAct(8, 16, 3, 2, groups)
    randomise(block)
    block.eval()
    x = torch.randn(2, 8, 9, 7)
    torch.testing.assert_close(block.fused()(x), block(x), atol=1e-5, rtol=1e-5)
