"""YOLOR's implicit knowledge: learned tensors that do not depend on the input (Wang et al., arXiv 2105.04206).

Around an output convolution, as YOLOv7 has it: ``m * conv(x + a)``. On a map of the neck, as YOLOR's paper aligns the
feature maps of each level: ``act(norm(conv(x)) + a)``, see :class:`yolor_mtl.models.blocks.ConvNormAct`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImplicitAdd(nn.Module):
    """Adds a learned value to each channel; drawn from N(0, 0.02).

    Attributes:
        value: (1, C, 1, 1).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.randn(1, channels, 1, 1) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape and type."""
        # Under autocast a sum with fp32 values would make an fp32 map of a half-precision one.
        return x + self.value.to(x.dtype)


class ImplicitMultiply(nn.Module):
    """Multiplies each channel by a learned value; drawn from N(1, 0.02).

    Attributes:
        value: (1, C, 1, 1).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value = nn.Parameter(1 + torch.randn(1, channels, 1, 1) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x * self.value


class OutputConv(nn.Module):
    """A head's last 1x1 convolution, with implicit knowledge around it or without.

    Args:
        c_in: channels read.
        c_out: channels of the answer.
        implicit: whether implicit knowledge is added before and multiplied after.
        groups: groups of the convolution.
    """

    def __init__(self, c_in: int, c_out: int, implicit: bool, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 1, groups=groups)
        self.add = ImplicitAdd(c_in) if implicit else nn.Identity()
        self.multiply = ImplicitMultiply(c_out) if implicit else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        return self.multiply(self.conv(self.add(x)))  # type: ignore[no-any-return]

    def fused(self) -> nn.Conv2d:
        """One plain convolution with the same outputs: ``m (W (x + a) + b) = (m W) x + m (b + W a)``."""
        conv = nn.Conv2d(self.conv.in_channels, self.conv.out_channels, 1, groups=self.conv.groups)
        conv = conv.to(self.conv.weight.device, self.conv.weight.dtype)
        with torch.no_grad():
            weight, bias = self.conv.weight, self.conv.bias
            assert bias is not None
            if isinstance(self.add, ImplicitAdd):
                shift = self.conv(self.add.value) - bias.view(1, -1, 1, 1)
                bias = bias + shift.flatten()
            if isinstance(self.multiply, ImplicitMultiply):
                factor = self.multiply.value
                weight, bias = weight * factor.view(-1, 1, 1, 1), bias * factor.flatten()
            conv.weight.copy_(weight)
            assert conv.bias is not None
            conv.bias.copy_(bias)
        return conv
