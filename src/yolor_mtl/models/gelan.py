"""Blocks of the GELAN family: layer aggregation over cross-stage-partial blocks (arXiv 2402.13616, section 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from yolor_mtl.models.blocks import NORM_EPS, NORM_MOMENTUM, ConvNormAct
from yolor_mtl.models.fuse import fuse


class ConvNorm(nn.Module):
    """Convolution without bias and batch norm; no activation.

    Args:
        c_in: channels read.
        c_out: channels given.
        kernel: odd side of the kernel; padding keeps the size.
        groups: groups of the convolution.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(c_out, eps=NORM_EPS, momentum=NORM_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        return self.norm(self.conv(x))  # type: ignore[no-any-return]

    def fused(self) -> nn.Conv2d:
        """One convolution with the same outputs (inference only)."""
        return fuse_conv_bn_eval(self.conv, self.norm)


class RepConv(nn.Module):
    """A 3x3 and a 1x1 convolution side by side, one 3x3 at inference (RepVGG, arXiv 2101.03697; no identity branch)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.wide, self.narrow = ConvNorm(c_in, c_out, 3), ConvNorm(c_in, c_out)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        return self.act(self.wide(x) + self.narrow(x))  # type: ignore[no-any-return]

    def fused(self) -> nn.Module:
        """The sum of both branches as one 3x3 convolution."""
        conv, point = self.wide.fused(), self.narrow.fused()
        assert conv.bias is not None
        assert point.bias is not None
        with torch.no_grad():
            conv.weight += F.pad(point.weight, [1, 1, 1, 1])
            conv.bias += point.bias
        return nn.Sequential(conv, nn.SiLU(inplace=True))


class RepBottleneck(nn.Module):
    """Re-parameterised 3x3, then a plain 3x3, with a residual around both; the width stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rep, self.conv = RepConv(channels, channels), ConvNormAct(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x + self.conv(self.rep(x))  # type: ignore[no-any-return]


class RepCsp(nn.Module):
    """Cross-stage partial: bottlenecks on one half of the channels, the other half passes by.

    Args:
        c_in: channels read.
        c_out: channels given; each half has ``c_out / 2``.
        depth: bottlenecks.
    """

    def __init__(self, c_in: int, c_out: int, depth: int) -> None:
        super().__init__()
        half = c_out // 2
        self.main, self.skip = ConvNormAct(c_in, half), ConvNormAct(c_in, half)
        self.blocks = nn.Sequential(*(RepBottleneck(half) for _ in range(depth)))
        self.out = ConvNormAct(2 * half, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        return self.out(torch.cat((self.blocks(self.main(x)), self.skip(x)), dim=1))  # type: ignore[no-any-return]

    def fused(self) -> nn.Module:
        """The same with both entrances as one convolution: its input is read once."""
        return FusedCsp(self)


class FusedCsp(nn.Module):
    """Inference form of :class:`RepCsp`."""

    def __init__(self, block: RepCsp) -> None:
        super().__init__()
        entrances = [part.folded() for part in (block.main, block.skip)]
        first = entrances[0]
        self.entrance = nn.Conv2d(first.in_channels, 2 * first.out_channels, 1).to(first.weight)
        assert self.entrance.bias is not None
        with torch.no_grad():
            self.entrance.weight.copy_(torch.cat([conv.weight for conv in entrances]))
            self.entrance.bias.copy_(torch.cat([conv.bias for conv in entrances if conv.bias is not None]))
        self.act = nn.SiLU(inplace=True)
        self.blocks, self.out = fuse(block.blocks), fuse(block.out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        main, skip = self.act(self.entrance(x)).chunk(2, dim=1)
        return self.out(torch.cat((self.blocks(main), skip), dim=1))  # type: ignore[no-any-return]


class Gelan(nn.Module):
    """Generalised efficient layer aggregation: two halves and a chain of two cross-stage-partial blocks, concatenated.

    Args:
        c_in: channels read.
        c_out: channels given.
        hidden: channels of the two halves together.
        width: channels of each block of the chain.
        depth: bottlenecks in each of them.
        shares: the output is made by so many convolutions of equal width; during training all but the first read
            with the gradient cut (Generalist YOLO keeps one for the text decoder, so that it leaves the rest alone).
    """

    def __init__(self, c_in: int, c_out: int, hidden: int, width: int, depth: int, shares: int = 1) -> None:
        super().__init__()
        self.split = ConvNormAct(c_in, hidden)
        self.first = nn.Sequential(RepCsp(hidden // 2, width, depth), ConvNormAct(width, width, 3))
        self.second = nn.Sequential(RepCsp(width, width, depth), ConvNormAct(width, width, 3))
        self.out = nn.ModuleList(ConvNormAct(hidden + 2 * width, c_out // shares) for _ in range(shares))

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        halves = self.split(x)
        first = self.first(halves.chunk(2, dim=1)[1])
        y = torch.cat((halves, first, self.second(first)), dim=1)
        if len(self.out) == 1:
            return self.out[0](y)  # type: ignore[no-any-return]
        apart = y.detach() if self.training else y
        return torch.cat([self.out[0](y), *(conv(apart) for conv in list(self.out)[1:])], dim=1)


class AverageDown(nn.Module):
    """Halves the map: smoothed, then a strided convolution on half of the channels and max-pooling on the others."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.strided = ConvNormAct(c_in // 2, c_out // 2, 3, 2)
        self.after_pool = ConvNormAct(c_in // 2, c_out // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H / 2, W / 2); H and W even."""
        # At stride 1: the map loses a row and a column here, which the padding of what follows gives back.
        left, right = F.avg_pool2d(x, 2, 1).chunk(2, dim=1)
        return torch.cat((self.strided(left), self.after_pool(F.max_pool2d(right, 3, 2, 1))), dim=1)


class SppElan(nn.Module):
    """Spatial pyramid pooling as a chain of equal poolings, all steps concatenated.

    Args:
        c_in: channels read.
        c_out: channels given.
        hidden: channels of each step.
        steps: poolings.
    """

    def __init__(self, c_in: int, c_out: int, hidden: int, steps: int = 3) -> None:
        super().__init__()
        self.entrance = ConvNormAct(c_in, hidden)
        self.steps = steps
        self.out = ConvNormAct((1 + steps) * hidden, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        kept = [self.entrance(x)]
        for _ in range(self.steps):
            kept.append(F.max_pool2d(kept[-1], 5, 1, 2))
        return self.out(torch.cat(kept, dim=1))  # type: ignore[no-any-return]


class PositionAttention(nn.Module):
    """Self-attention over the cells of a map, with a depthwise convolution of the values for their places.

    Args:
        channels: C; a multiple of 64, each head 64 wide with keys of 32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = channels // 64
        self.qkv = ConvNorm(channels, 2 * channels)
        self.project = ConvNorm(channels, channels)
        self.places = ConvNorm(channels, channels, 3, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        shape = x.shape
        # Heads are blocks of 128 channels: queries, keys, values; cells row by row.
        query, key, value = self.qkv(x).flatten(2).unflatten(1, (self.heads, 128)).split((32, 32, 64), dim=2)
        mixed = F.scaled_dot_product_attention(query.mT, key.mT, value.mT).mT
        return self.project(mixed.reshape(shape) + self.places(value.reshape(shape)))  # type: ignore[no-any-return]


class PartialAttention(nn.Module):
    """Attention and a feed-forward part, each with a residual, on half of the channels (YOLOv10, arXiv 2405.14458)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.entrance, self.out = ConvNormAct(channels, channels), ConvNormAct(channels, channels)
        self.attention = PositionAttention(half)
        self.feed_forward = nn.Sequential(ConvNormAct(half, 2 * half), ConvNorm(2 * half, half))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        kept, y = self.entrance(x).chunk(2, dim=1)
        y = y + self.attention(y)
        y = y + self.feed_forward(y)
        return self.out(torch.cat((kept, y), dim=1))  # type: ignore[no-any-return]
