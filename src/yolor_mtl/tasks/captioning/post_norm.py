"""Transformer parts that normalise after the residual (Vaswani et al., arXiv 1706.03762, section 3).

The released Generalist YOLO writes its captions with these; what keeps its keys and values between steps projects them
once, by :meth:`PostNormAttention.project`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yolor_mtl.models.blocks import WideLinear

Pair = tuple[Tensor, Tensor]
"""Keys and values, each (N, heads, S, d / heads)."""


class PostNormAttention(nn.Module):
    """``norm(x + attention(x))``: multi-head attention, whose heads are blocks of neighbouring channels.

    Args:
        width: d.
        heads: number of heads; they divide d.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width)

    def split(self, x: Tensor) -> Tensor:
        """(N, T, d) to (N, heads, T, d / heads)."""
        parts: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return parts

    def project(self, x: Tensor) -> Pair:
        """Keys and values of (N, S, d)."""
        return self.split(self.key(x)), self.split(self.value(x))

    def forward(self, x: Tensor, memory: Pair, drop: float, visible: Tensor | None = None) -> Pair:
        """One query a place over the keys and values of ``memory``.

        Args:
            x: (N, T, d).
            memory: what is attended to.
            drop: share dropped of the weights and of the result.
            visible: (N or 1, 1, T, S) bool, the keys that a query may see, at least one each; all by default.

        Returns:
            (N, T, d), and the weights (N, heads, T, S) float32 before dropout.
        """
        query, (key, value) = self.split(self.query(x)), memory
        scores = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).float()
        if visible is not None:
            scores = scores.masked_fill(~visible, -torch.inf)
        weights = scores.softmax(-1)
        mixed = dropped(weights, drop).to(value.dtype) @ value
        return self.norm(x + dropped(self.out(mixed.transpose(1, 2).flatten(2)), drop)), weights


class PostNormFeedForward(nn.Module):
    """``norm(x + narrow(relu(widen(x))))``.

    Args:
        width: d.
        hidden: channels inside.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.widen, self.narrow = WideLinear(width, hidden), nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, drop: float) -> Tensor:
        """(N, T, d) to the same shape; ``drop`` is the share dropped inside and of the result."""
        inner = self.narrow(dropped(F.relu(self.widen(x)), drop))
        return self.norm(x + dropped(inner, drop))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward part."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = PostNormAttention(width, heads)
        self.feed = PostNormFeedForward(width, hidden)

    def forward(self, x: Tensor, drop: float) -> Tensor:
        """(N, S, d) to the same shape."""
        return self.feed(self.attention(x, self.attention.project(x), drop)[0], drop)  # type: ignore[no-any-return]


class GridEncoder(nn.Module):
    """Cells of a map as a sequence that knows of itself.

    Args:
        channels: channels of a cell.
        width: d.
        layers: number of layers; the last one's output is what it gives.
        heads: attention heads.
        hidden: channels inside a feed-forward part.
    """

    def __init__(self, channels: int, width: int, layers: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(channels, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, hidden) for _ in range(layers))

    def forward(self, cells: Tensor, drop: float) -> Tensor:
        """(R, S, channels) to (R, S, d)."""
        x = self.norm(dropped(F.relu(self.project(cells)), drop))
        for layer in self.layers:
            x = layer(x, drop)
        return x  # type: ignore[no-any-return]


def dropped(x: Tensor, share: float) -> Tensor:
    """Dropout as an argument and not a module's mode: a caption written word by word never drops anything."""
    return F.dropout(x, share) if share else x
