"""Implicit knowledge around an output convolution, and the plain convolution it becomes."""

from __future__ import annotations

import pytest
import torch

from yolor_mtl.models.implicit import ImplicitAdd, ImplicitMultiply, OutputConv


def test_starts_near_the_identity() -> None:
    torch.manual_seed(0)
    add, multiply = ImplicitAdd(4096), ImplicitMultiply(4096)
    assert add.value.mean().item() == pytest.approx(0, abs=2e-3)
    assert multiply.value.mean().item() == pytest.approx(1, abs=2e-3)
    assert add.value.std().item() == pytest.approx(0.02, abs=2e-3)
    assert multiply.value.std().item() == pytest.approx(0.02, abs=2e-3)


def test_one_channel_by_hand() -> None:
    # m (w (x + a) + b) = 3 (2 (5 + 1) + 4) = 48; plain: w' = m w = 6, b' = m (b + w a) = 3 (4 + 2) = 18.
    block = OutputConv(1, 1, implicit=True)
    assert isinstance(block.add, ImplicitAdd)
    assert isinstance(block.multiply, ImplicitMultiply)
    assert block.conv.bias is not None
    with torch.no_grad():
        block.conv.weight.fill_(2)
        block.conv.bias.fill_(4)
        block.add.value.fill_(1)
        block.multiply.value.fill_(3)
    plain = block.fused()
    assert block(torch.full((1, 1, 1, 1), 5.0)).item() == 48
    assert plain(torch.full((1, 1, 1, 1), 5.0)).item() == 48
    assert (plain.weight.item(), plain.bias.item()) == (6, 18)  # type: ignore[union-attr]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("implicit", [True, False])
def test_fused_equals(implicit: bool, groups: int) -> None:
    block = OutputConv(6, 4, implicit, groups).double()
    if implicit:
        torch.nn.init.normal_(block.add.value)  # type: ignore[arg-type]
        torch.nn.init.normal_(block.multiply.value)  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in block.state_dict().items()}
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(block.fused()(x), block(x), atol=1e-12, rtol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())
