"""Blocks that trunks and heads are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from yolor_mtl.models.implicit import ImplicitAdd

NORM_EPS = 1e-3
NORM_MOMENTUM = 0.03


class ConvNormAct(nn.Module):
    """Convolution without bias, batch norm, SiLU; ``act(align(norm(conv(x))))``.

    Attributes:
        align: nothing, or an :class:`ImplicitAdd` where this block publishes a map that several heads share: YOLOR's
            paper aligns such maps by a learned addition. It stands before the activation, where it is one more bias:
            :meth:`fused` folds it without a rest. After the activation it would be a pass over the map of its own.

    Args:
        c_in: channels read.
        c_out: channels given.
        kernel: odd side of the kernel; padding keeps the size at stride 1.
        stride: 1 or 2.
        groups: groups of the convolution.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(c_out, eps=NORM_EPS, momentum=NORM_MOMENTUM)
        self.align: nn.Module = nn.Identity()
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H / stride, W / stride)."""
        return self.act(self.align(self.norm(self.conv(x))))  # type: ignore[no-any-return]

    def folded(self) -> nn.Conv2d:
        """The convolution with norm and alignment folded into it: all but the activation (inference only)."""
        conv = fuse_conv_bn_eval(self.conv, self.norm)
        if isinstance(self.align, ImplicitAdd):
            assert conv.bias is not None
            with torch.no_grad():
                conv.bias += self.align.value.flatten()
        return conv

    def fused(self) -> nn.Module:
        """The same block as one convolution and its activation (inference only)."""
        return nn.Sequential(self.folded(), nn.SiLU(inplace=True))


class Elan(nn.Module):
    """Efficient layer aggregation: two 1x1 branches, a chain of 3x3 convolutions, selected outputs concatenated.

    Designed by the length of gradient paths (YOLOv7, arXiv 2207.02696, section 3.1).

    Args:
        c_in: channels read.
        c_out: channels given.
        hidden: channels of the two branches.
        width: channels of the chain.
        convs: convolutions in the chain.
        every: one output of the chain in ``every`` is kept, the last one included.
    """

    def __init__(self, c_in: int, c_out: int, hidden: int, width: int, convs: int, every: int) -> None:
        super().__init__()
        self.short = ConvNormAct(c_in, hidden)
        self.long = ConvNormAct(c_in, hidden)
        self.chain = nn.ModuleList(ConvNormAct(hidden if i == 0 else width, width, 3) for i in range(convs))
        self.every = every
        self.out = ConvNormAct(2 * hidden + width * (convs // every), c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        short, y = self.short(x), self.long(x)
        kept = [short, y]
        for index, conv in enumerate(self.chain, start=1):
            y = conv(y)
            if index % self.every == 0:
                kept.append(y)
        return self.out(torch.cat(kept[::-1], dim=1))  # type: ignore[no-any-return]


class Down(nn.Module):
    """Halves the map two ways at once, by max-pooling and by a strided convolution, half of the channels each."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        half = c_out // 2
        self.pool = nn.MaxPool2d(2, 2)
        self.after_pool = ConvNormAct(c_in, half)
        self.before_stride = ConvNormAct(c_in, half)
        self.strided = ConvNormAct(half, half, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H / 2, W / 2); H and W even."""
        return torch.cat((self.strided(self.before_stride(x)), self.after_pool(self.pool(x))), dim=1)


class SppCsp(nn.Module):
    """Spatial pyramid pooling inside a cross-stage-partial block (YOLOv7's SPPCSPC).

    Args:
        c_in: channels read.
        c_out: channels given, and of each inner convolution.
        kernels: sides of the poolings.
    """

    def __init__(self, c_in: int, c_out: int, kernels: tuple[int, ...] = (5, 9, 13)) -> None:
        super().__init__()
        self.long = nn.Sequential(ConvNormAct(c_in, c_out), ConvNormAct(c_out, c_out, 3), ConvNormAct(c_out, c_out))
        self.short = ConvNormAct(c_in, c_out)
        self.pools = nn.ModuleList(nn.MaxPool2d(kernel, 1, kernel // 2) for kernel in kernels)
        self.after = nn.Sequential(ConvNormAct((1 + len(kernels)) * c_out, c_out), ConvNormAct(c_out, c_out, 3))
        self.out = ConvNormAct(2 * c_out, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        y = self.long(x)
        y = self.after(torch.cat([y, *(pool(y) for pool in self.pools)], dim=1))
        return self.out(torch.cat((y, self.short(x)), dim=1))  # type: ignore[no-any-return]


class WideLinear(nn.Linear):
    """A linear layer with more outputs than inputs, made for one row at a time: words are written one by one."""

    def fused(self) -> nn.Module:
        """Itself, its matrix of the same shape stored input by input (inference only).

        With one row a product does no more than read the matrix; stored output by output, that is a sum for each output
        and took 2.5 times as long for 30,522 words (fp32, two cores).
        """
        self.weight.data = self.weight.data.t().contiguous().t()
        return self


def twice(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, 2 H, 2 W), each cell four times."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class EnlargingConv(ConvNormAct):
    """Doubles a map, then a 3x3 convolution with norm and activation: (B, c_in, H, W) to (B, c_out, 2 H, 2 W).

    Args:
        c_in: channels read.
        c_out: channels given.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, 2 H, 2 W)."""
        return super().forward(twice(x))

    def fused(self) -> nn.Module:
        """The same block with four ninths of the multiplications (inference only)."""
        return nn.Sequential(PhaseConv(self.folded()), nn.SiLU(inplace=True))


class PhaseConv(nn.Module):
    """A 3x3 convolution of a doubled map, computed on the map itself.

    A row of the doubled map sees two rows of the map, one of them twice; which one, its parity says. So each of the
    four parities of row and column has a 2x2 kernel, sums of the 3x3 one's rows and columns: exact, the zeros around
    the map included. One convolution computes all four.

    Args:
        conv: the 3x3 convolution, with padding 1 and a bias.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        self.phases = nn.Conv2d(conv.in_channels, 4 * conv.out_channels, 2, padding=1).to(conv.weight)
        with torch.no_grad():
            by_row = _paired(conv.weight.float(), 2)
            kernels = torch.stack([half for row in by_row for half in _paired(row, 3)])
            self.phases.weight.copy_(kernels.flatten(0, 1))
            assert self.phases.bias is not None
            self.phases.bias.copy_(conv.bias.repeat(4))
        self.phases.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, 2 H, 2 W), channels last in memory."""
        (batch, _, height, width), channels = x.shape, self.phases.out_channels // 4
        y: Tensor = self.phases(x).permute(0, 2, 3, 1)
        parts = y.split(channels, dim=3)
        # Put side by side and not written into their places, which other runtimes do one value after the other. With
        # channels last two neighbours in a row are one cell of twice the channels.
        rows = [
            torch.cat((parts[2 * row][:, :, :width], parts[2 * row + 1][:, :, 1:]), dim=3)[:, row : row + height]
            for row in range(2)
        ]
        return torch.stack(rows, dim=2).view(batch, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)


def _paired(kernel: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """A kernel whose axis of 3 becomes 2: as even and as odd places of a doubled map see the map."""
    first, middle, last = kernel.unbind(axis)
    return torch.stack((first, middle + last), axis), torch.stack((first + middle, last), axis)


def tower(c_in: int, hidden: int, depth: int, separable: bool = False, groups: int = 1) -> nn.Sequential:
    """The convolutions of a head between a feature and its output convolution.

    Args:
        c_in: channels of the feature.
        hidden: channels of the tower.
        depth: number of 3x3 convolutions.
        separable: depthwise 3x3 and 1x1 pairs instead of full 3x3 convolutions.
        groups: groups of the full convolutions after the first.
    """
    layers: list[nn.Module] = []
    for index in range(depth):
        width = c_in if index == 0 else hidden
        if separable:
            layers += [ConvNormAct(width, width, 3, groups=width), ConvNormAct(width, hidden)]
        else:
            layers.append(ConvNormAct(width, hidden, 3, groups=groups if index else 1))
    return nn.Sequential(*layers)
