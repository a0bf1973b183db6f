"""The text decoder: a Transformer that reads the shared features directly, without an encoder of its own.

The paper takes the trunk for the encoder (PAPER, section 2); sizes are configuration. What detection finds may stand
beside the features, see :mod:`yolor_mtl.tasks.captioning.objects`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from yolor_mtl.models.blocks import WideLinear
from yolor_mtl.models.implicit import ImplicitAdd, ImplicitMultiply
from yolor_mtl.models.network import Gleaner
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.ops.cells import cell_boxes, cells_of, extent
from yolor_mtl.records import Outputs
from yolor_mtl.tasks.captioning.objects import ObjectTokens
from yolor_mtl.tasks.captioning.pre_norm import DecoderLayer, Groups

Cache = dict[str, Tensor]
"""State of a caption in the making: ``keys`` and ``values`` (layers, N, heads, T, d / heads) of the words so far,
``memory_keys`` and ``memory_values`` (layers, N, heads, S, d / heads) of the picture's cells and objects. A head may
keep more and under other names; axis 1 is always the caption."""


def sine_positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Two-dimensional sine positions, half of the channels for each axis (DETR, arXiv 2005.12872, appendix A.4).

    Returns:
        (height * width, channels) float32, row by row. Positions are shares of the square about the map, so that the
        same place of a picture has the same code at every image size, padded to a square or not.
    """
    quarter, longer = channels // 4, extent(height, width, device).max()
    rates = torch.exp(torch.arange(quarter, device=device) * (-math.log(10000.0) / quarter))
    ys, xs = (
        (torch.arange(count, device=device) + 0.5 + (longer - count) / 2) / longer * 2 * math.pi * 32
        for count in (height, width)
    )
    codes = [torch.cat((side.sin(), side.cos()), -1) for side in (ys[:, None] * rates, xs[:, None] * rates)]
    grid = (codes[0][:, None].expand(-1, width, -1), codes[1][None].expand(height, -1, -1))
    return torch.cat(grid, dim=-1).flatten(0, 1)


class CaptionHead(Gleaner):
    """Reads features as one sequence of cells, writes words.

    Outputs: ``memory`` (R, S, d), what the decoder reads: the cells of the features, row by row, then objects where
    there are some; ``places`` (R, S, 4) ``xyxy`` of each, shares of the square about the frame; and with ``inputs``
    also ``logits`` (N, T, V).

    Args:
        features: names of the features.
        infos: channels and stride of the features.
        vocabulary: V, slots for words.
        width: d.
        layers: decoder layers.
        heads: attention heads.
        feed_forward: channels inside a feed-forward part.
        dropout: share dropped in training.
        max_tokens: greatest length, start and end included.
        output: channels of the layers between the decoder and the words (CATR has 512, 512); usually none.
        tied: the output uses the embedding's weights.
        implicit: implicit knowledge before and after the output.
        objects: makes tokens of the objects that detection finds.
    """

    memories = ("memory",)

    def __init__(
        self,
        features: Sequence[str],
        infos: Mapping[str, FeatureInfo],
        vocabulary: int,
        *,
        width: int,
        layers: int,
        heads: int,
        feed_forward: int,
        dropout: float,
        max_tokens: int,
        output: Sequence[int],
        tied: bool,
        implicit: bool,
        objects: ObjectTokens | None = None,
    ) -> None:
        super().__init__()
        self.features = tuple(features)
        self.project = nn.ModuleDict({name: nn.Conv2d(infos[name].channels, width, 1) for name in self.features})
        self.level = nn.Parameter(torch.randn(len(self.features), width) * 0.02)
        self.objects = objects
        self.norm_memory = nn.LayerNorm(width)
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.positions = nn.Parameter(torch.randn(max_tokens, width) * 0.02)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(DecoderLayer(width, heads, feed_forward, dropout) for _ in range(layers))
        self.norm_out = nn.LayerNorm(width)
        sides = [width, *output]
        self.before_out = nn.Sequential(
            *(nn.Sequential(nn.Linear(c_in, c_out), nn.ReLU()) for c_in, c_out in pairwise(sides))
        )
        self.out = WideLinear(sides[-1], vocabulary)
        if tied:
            self.out.weight = self.embedding.weight
        self.add = ImplicitAdd(sides[-1]) if implicit else None
        self.multiply = ImplicitMultiply(vocabulary) if implicit else None

    def glean(self, features: Mapping[str, Tensor], read: Mapping[str, Outputs]) -> Outputs:
        """All that the head takes from the rest of the network, before any weight of its own.

        Args:
            features: named features (R, C, H, W).
            read: ``detection``'s outputs where objects are read.

        Returns:
            The features (R, C, H, W) by name, and of objects what :meth:`ObjectTokens.glean` finds.
        """
        gleaned = {name: features[name] for name in self.features}
        return gleaned if self.objects is None else gleaned | self.objects.glean(features, read["detection"])

    def tell(self, gleaned: Mapping[str, Tensor], inputs: Mapping[str, Tensor] | None = None) -> Outputs:
        """The memory of what :meth:`glean` gave, and what :meth:`say` says of ``inputs`` with ``tokens``."""
        out = {"memory": self.remember(gleaned), "places": self.places(gleaned)}
        if inputs is None or "tokens" not in inputs:
            return out
        return {**out, "logits": self.say(out, inputs)}

    def say(self, memory: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits (N, T - 1, V) of each next word.

        Args:
            memory: ``memory`` (R, S, d).
            inputs: ``tokens`` (N, T) int64 and ``image`` (N,) int64, the row each caption belongs to.
        """
        cells = memory["memory"]
        tokens, groups = inputs["tokens"][:, :-1], Groups(inputs["image"], len(cells))
        x = self.dropout(self.embedding(tokens) + self.positions[: tokens.shape[1]])
        for layer in self.layers:
            x = layer(x, *layer.cross_attention.project(cells), groups)  # type: ignore[operator, union-attr]
        return self.words(x)

    def remember(self, gleaned: Mapping[str, Tensor]) -> Tensor:
        """Features (R, C, H, W) as one sequence (R, S, d) with their places, and objects."""
        parts = []
        for index, name in enumerate(self.features):
            x = self.project[name](gleaned[name])
            places = sine_positions(x.shape[2], x.shape[3], x.shape[1], x.device).to(x.dtype)
            parts.append(cells_of(x) + places + self.level[index])
        if self.objects is not None:
            parts.append(self.objects.tokens(gleaned))
        return self.norm_memory(torch.cat(parts, dim=1))  # type: ignore[no-any-return]

    def places(self, gleaned: Mapping[str, Tensor]) -> Tensor:
        """Where in the picture each place (R, S) of the memory lies, (R, S, 4)."""
        maps = [gleaned[name] for name in self.features]
        parts = [cell_boxes(x.shape[2], x.shape[3], x.device).expand(x.shape[0], -1, -1) for x in maps]
        if self.objects is not None:
            parts.append(gleaned["objects.form"][..., :4].float())
        return torch.cat(parts, dim=1)

    def words(self, x: Tensor) -> Tensor:
        """States (N, T, d) to logits (N, T, V)."""
        x = self.before_out(self.norm_out(x))
        if self.add is not None:
            x = x + self.add.value.flatten()
        logits = self.out(x)
        return logits if self.multiply is None else logits * self.multiply.value.flatten()  # type: ignore[no-any-return]

    def start(self, memory: Mapping[str, Tensor]) -> Cache:
        """An empty caption over ``memory`` (N, S, d)."""
        cells = memory["memory"]
        pairs = [layer.cross_attention.project(cells) for layer in self.layers]  # type: ignore[operator, union-attr]
        keys, values = torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])
        return {
            "keys": keys[:, :, :, :0],
            "values": values[:, :, :, :0],
            "memory_keys": keys,
            "memory_values": values,
        }

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache, Tensor]:
        """One more word.

        Args:
            tokens: (N,) int64, the last word of each caption.
            cache: what :meth:`start` or the last step gave.

        Returns:
            Logits (N, V), the grown cache, and attention (N, S) over the memory, the last layer's mean over heads.
        """
        place = cache["keys"].shape[3]
        x = self.embedding(tokens)[:, None] + self.positions[place]
        keys, values = [], []
        weights = x.new_zeros(0)
        for index, layer in enumerate(self.layers):
            x, key, value, weights = layer.step(  # type: ignore[operator]
                x,
                cache["keys"][index],
                cache["values"][index],
                cache["memory_keys"][index],
                cache["memory_values"][index],
            )
            keys.append(key)
            values.append(value)
        grown = {**cache, "keys": torch.stack(keys), "values": torch.stack(values)}
        return self.words(x)[:, 0], grown, weights.mean(dim=1)[:, 0]
