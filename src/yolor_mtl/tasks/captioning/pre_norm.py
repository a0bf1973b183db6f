"""Transformer parts that normalise before the residual (Xiong et al., arXiv 2002.04745, section 3).

Our own caption heads are made of them; those that keep keys and values between steps project them once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yolor_mtl.models.blocks import WideLinear


class Attention(nn.Module):
    """Multi-head attention whose keys and values can be kept between steps."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = WideLinear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """(N, T, d) to (N, heads, T, d / heads)."""
        parts: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return parts

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (N, heads, T, d / heads) of (N, T, d)."""
        key, value = self.key_value(x).chunk(2, dim=-1)
        return self.split(key), self.split(value)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
        """(N, T, d) over keys and values (N, heads, S, d / heads)."""
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            self.split(self.query(x)), key, value, dropout_p=dropout, is_causal=causal
        )
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def weighed(self, x: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`forward` without a mask or dropout, and the weights (N, heads, T, S) that were used."""
        query = self.split(self.query(x))
        weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).flatten(2)), weights


class Groups:
    """Captions of one picture side by side, so that they share its keys and values, which are never copied.

    Args:
        image: (N,) int64, the row each caption belongs to.
        rows: number R of pictures.
    """

    def __init__(self, image: Tensor, rows: int) -> None:
        same = image[:, None] == image
        self.image, self.rows = image, rows
        self.place = same.tril(-1).sum(1)
        self.most = int(same.sum(1).max())

    def gather(self, x: Tensor) -> Tensor:
        """(N, T, d) to (R, M * T, d), M the most captions of a picture; zeros where a picture has fewer."""
        grouped = x.new_zeros(self.rows, self.most, *x.shape[1:])
        return grouped.index_put((self.image, self.place), x).flatten(1, 2)

    def scatter(self, grouped: Tensor) -> Tensor:
        """(R, M * T, d) back to (N, T, d)."""
        words: Tensor = grouped.unflatten(1, (self.most, -1))[self.image, self.place]
        return words


class DecoderLayer(nn.Module):
    """Pre-norm: self-attention over the words so far, cross-attention to the picture, feed-forward."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.norm_self, self.norm_cross, self.norm_feed = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention = Attention(width, heads, dropout)
        self.cross_attention = Attention(width, heads, dropout)
        self.widen, self.narrow = WideLinear(width, feed_forward), nn.Linear(feed_forward, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory_key: Tensor, memory_value: Tensor, groups: Groups) -> Tensor:
        """All T words at once, (N, T, d), each seeing the ones before it and its picture's keys and values (R, ...)."""
        inner = self.norm_self(x)
        x = x + self.dropout(self.self_attention(inner, *self.self_attention.project(inner), causal=True))
        words = groups.gather(self.norm_cross(x))
        x = x + self.dropout(groups.scatter(self.cross_attention(words, memory_key, memory_value, causal=False)))
        wide = self.dropout(F.gelu(self.widen(self.norm_feed(x))))
        return x + self.dropout(self.narrow(wide))  # type: ignore[no-any-return]

    def step(
        self, x: Tensor, key: Tensor, value: Tensor, memory_key: Tensor, memory_value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One word (N, 1, d) after those kept: the result, grown keys and values, cross-attention (N, heads, 1, S).

        Never drops anything: a caption does not depend on the mode.
        """
        inner = self.norm_self(x)
        new_key, new_value = self.self_attention.project(inner)
        key, value = torch.cat((key, new_key), dim=2), torch.cat((value, new_value), dim=2)
        x = x + self.self_attention.weighed(inner, key, value)[0]
        crossed, weights = self.cross_attention.weighed(self.norm_cross(x), memory_key, memory_value)
        x = x + crossed
        return x + self.narrow(F.gelu(self.widen(self.norm_feed(x)))), key, value, weights


class SumLayer(nn.Module):
    """Members of a set see each other, and add up what they see; then a feed-forward part.

    Softmax attention takes means, and a mean does not know of how many (Zhang et al., arXiv 1802.05766, section 3).
    Here every pair has a gate of its own, so that a member can count its likes.

    Args:
        width: d.
        heads: heads with gates of their own.
        feed_forward: channels inside the feed-forward part.
        dropout: share dropped in training.
    """

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.norm_sum, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = WideLinear(width, 2 * width)
        # Nearly closed at first: sums over dozens of members start small.
        self.closed = nn.Parameter(torch.full((heads, 1, 1), -2.0))
        self.widen, self.narrow = WideLinear(width, feed_forward), nn.Linear(feed_forward, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, S, d) to the same shape, whatever the order of the S members."""
        inner = self.norm_sum(x)
        query, key, value = (
            part.unflatten(-1, (len(self.closed), -1)).transpose(1, 2)
            for part in (self.query(inner), *self.key_value(inner).chunk(2, dim=-1))
        )
        gates = torch.sigmoid(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + self.closed)
        x = x + self.dropout(self.out((gates @ value).transpose(1, 2).flatten(2)))
        wide = self.dropout(F.gelu(self.widen(self.norm_feed(x))))
        return x + self.dropout(self.narrow(wide))  # type: ignore[no-any-return]
