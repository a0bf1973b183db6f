"""The caption head that reads regions: cells of the deepest map, the best objects, and a place for each semantic class.

The caption part of the released Generalist YOLO (Chang et al., WACV 2025): a Transformer with two memories and gates
between them, one over the cells of the deepest feature, one over what the detection and the semantic head point at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from yolor_mtl.models.blocks import ConvNormAct, WideLinear
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.ops.cells import cell_boxes, cells_of, pick
from yolor_mtl.records import Outputs, UserError
from yolor_mtl.tasks.captioning.head import Cache
from yolor_mtl.tasks.captioning.post_norm import GridEncoder, Pair, PostNormAttention, PostNormFeedForward
from yolor_mtl.tasks.captioning.tokenizer import PAD


class RegionLayer(nn.Module):
    """Self-attention, then attention to the grid and to the regions side by side, each let through by a gate.

    ``unused_gate`` is part of the released weights and takes no part: one gate serves both memories there.

    Args:
        width: d.
        heads: attention heads.
        hidden: channels inside the feed-forward part.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attention, self.grid_attention, self.region_attention = (
            PostNormAttention(width, heads) for _ in range(3)
        )
        self.gate, self.unused_gate = nn.Linear(2 * width, width), nn.Linear(2 * width, width)
        self.unused_gate.requires_grad_(False)
        self.feed = PostNormFeedForward(width, hidden)

    def forward(
        self, x: Tensor, past: Pair, grid: Pair, regions: Pair, kept: Tensor, visible: Tensor, drop: float
    ) -> Pair:
        """T words at once or one after those kept.

        Args:
            x: (N, T, d).
            past: keys and values of the words to see, x's own among them.
            grid: keys and values of the cells.
            regions: keys and values of the regions.
            kept: (N, T, 1) bool, false at padding, whose vectors become 0.
            visible: (N, 1, T, S) bool, the words that each one sees.
            drop: share dropped.

        Returns:
            (N, T, d), and the attention to the cells (N, heads, T, S).
        """
        words, _ = self.self_attention(x, past, drop, visible)
        cells, weights = self.grid_attention(words, grid, drop)
        places, _ = self.region_attention(words, regions, drop)
        mixed = cells * self._let_through(words, cells) + places * self._let_through(words, places)
        # The release clears padding after every part; no part mixes places, so that once at the end is the same.
        return self.feed(mixed / math.sqrt(2), drop) * kept, weights

    def _let_through(self, words: Tensor, seen: Tensor) -> Tensor:
        """How much of each channel of what a word has seen it takes."""
        return torch.sigmoid(self.gate(torch.cat((words, seen), dim=-1)))


class RegionCaptionHead(nn.Module):
    """Reads cells, objects and classes as two sequences, writes words.

    Outputs: ``grid_memory`` (R, S, d), the S cells of ``grid`` row by row, and ``region_memory`` (R, K + C, d): the K
    points with the greatest class logits, the best first, then for each of the C semantic classes the cell where it is
    most likely; ``places`` (R, S, 4) ``xyxy`` of the cells, shares of the square about the frame; with ``inputs`` also
    ``logits`` (N, T, V). A picture of fewer points than ``count`` gives all it has.

    Gradients reach the features and the head, not the logits that choose.

    Args:
        infos: channels and stride of the features.
        vocabulary: V, slots for words.
        levels: names of the features that the points lie on, in detection's order.
        grid: name of the feature whose cells are one memory.
        classes: name of the feature at the size of the semantic logits.
        branch: detection's branch that chooses.
        count: greatest number of points K.
        width: d.
        layers: decoder layers.
        grid_layers: encoder layers over the cells.
        heads: attention heads.
        feed_forward: channels inside a feed-forward part.
        dropout: share dropped in training.
        max_tokens: greatest length, start and end included.
    """

    memories = ("grid_memory", "region_memory")

    def __init__(
        self,
        infos: Mapping[str, FeatureInfo],
        vocabulary: int,
        *,
        levels: Sequence[str],
        grid: str,
        classes: str,
        branch: str = "main",
        count: int = 300,
        width: int = 256,
        layers: int = 1,
        grid_layers: int = 1,
        heads: int = 8,
        feed_forward: int = 512,
        dropout: float = 0.2,
        max_tokens: int = 129,
    ) -> None:
        super().__init__()
        self.level_names, self.grid_name, self.class_name = tuple(levels), grid, classes
        self.branch, self.count, self.dropout = branch, count, dropout
        cells = infos[grid].channels
        self.levels = nn.ModuleList(_pointwise(infos[name].channels, width) for name in levels)
        self.grid = _pointwise(cells, cells)
        self.classes = _pointwise(infos[classes].channels, width)
        self.encoder = GridEncoder(cells, width, grid_layers, heads, feed_forward)
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PAD)
        # The release never trains this table, and holds noise where its makers meant sinusoids: it is only ever loaded.
        self.positions = nn.Parameter(torch.empty(max_tokens, width), requires_grad=False)
        self.layers = nn.ModuleList(RegionLayer(width, heads, feed_forward) for _ in range(layers))
        self.out = WideLinear(width, vocabulary, bias=False)
        for part in (self.encoder, self.embedding, self.layers, self.out):
            for matrix in (parameter for parameter in part.parameters() if parameter.dim() > 1):
                nn.init.xavier_uniform_(matrix)
        nn.init.xavier_uniform_(self.positions)

    def forward(
        self,
        features: Mapping[str, Tensor],
        read: Mapping[str, Outputs],
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Outputs:
        """Features (R, C, H, W) to the memories, and to logits under teacher forcing.

        Args:
            features: named features.
            read: ``detection`` with ``<branch>.class_logits`` (R, A, C), ``semantic`` with ``logits`` (R, C, H, W).
            inputs: ``tokens`` (N, T) int64 and ``image`` (N,) int64, the row each caption belongs to. Padding may stand
                between words; its logits are 0, the same for all words.

        Raises:
            UserError: the outputs read do not fit the features.
        """
        out = self.remember(features, read, self.dropout if self.training else 0.0)
        grid = features[self.grid_name]
        out["places"] = cell_boxes(grid.shape[2], grid.shape[3], grid.device).expand(grid.shape[0], -1, -1)
        if inputs is None or "tokens" not in inputs:
            return out
        return {**out, "logits": self.say(out, inputs)}

    def say(self, memory: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits (N, T - 1, V) of each next word, of memories (R, S, d) and (R, K + C, d); ``inputs`` as above."""
        drop = self.dropout if self.training else 0.0
        tokens, image = inputs["tokens"][:, :-1], inputs["image"]
        length = tokens.shape[1]
        kept = tokens != PAD
        # Every word sees itself and what precedes it but padding; what padding sees does not matter, only that it sees
        # something, or its softmax would be 0 / 0.
        itself = torch.eye(length, dtype=torch.bool, device=tokens.device)
        visible = (itself | kept[:, None]) & itself.new_ones(length, length).tril()
        x = self.embedding(tokens) + self.positions[1 : length + 1]
        for layer, grid, regions in self.layered(memory):
            seen = ((grid[0][image], grid[1][image]), (regions[0][image], regions[1][image]))
            past = layer.self_attention.project(x)
            x, _ = layer(x, past, *seen, kept[..., None], visible[:, None], drop)
        return self.out(x)  # type: ignore[no-any-return]

    def remember(self, features: Mapping[str, Tensor], read: Mapping[str, Outputs], drop: float) -> Outputs:
        """The two memories of R pictures; ``drop`` is the share dropped in the encoder."""
        cells = cells_of(self.grid(features[self.grid_name]))
        regions = torch.cat((self._objects(features, read["detection"]), self._places(features, read["semantic"])), 1)
        return {"grid_memory": self.encoder(cells, drop), "region_memory": regions}

    def _objects(self, features: Mapping[str, Tensor], detection: Outputs) -> Tensor:
        """(R, K, d) of the points whose greatest class logit is greatest."""
        logits = detection.get(f"{self.branch}.class_logits")
        if logits is None:
            known = [name.removesuffix(".class_logits") for name in detection if name.endswith(".class_logits")]
            raise UserError(f"captioning.regions.branch={self.branch!r}; detection has: {', '.join(known)}")
        maps = [features[name] for name in self.level_names]
        sizes = [x.shape[2] * x.shape[3] for x in maps]
        _check_fit("levels", self.level_names, (maps[0].shape[0], sum(sizes)), "detection", tuple(logits.shape[:2]))
        # min() would tie an exported graph to the points of its example.
        best = logits.detach().amax(dim=2).topk(torch.sym_min(self.count, sum(sizes)), dim=1).indices
        tokens, first = maps[0].new_zeros(()), 0
        for convs, x, size in zip(self.levels, maps, sizes, strict=True):
            place = best - first
            inside = (place >= 0) & (place < size)
            tokens = torch.where(inside[..., None], self._at(convs, x, place.clamp(0, size - 1)), tokens)
            first += size
        return tokens

    def _places(self, features: Mapping[str, Tensor], semantic: Outputs) -> Tensor:
        """(R, C, d) of the cells where each class's logit is greatest."""
        x, logits = features[self.class_name], semantic["logits"]
        shape = (logits.shape[0], *logits.shape[2:])
        _check_fit("classes", (self.class_name,), (x.shape[0], *x.shape[2:]), "semantic", shape)
        return self._at(self.classes, x, logits.detach().flatten(2).argmax(dim=2))

    def _at(self, convs: nn.Module, feature: Tensor, places: Tensor) -> Tensor:
        """What pointwise convolutions make of the cells (R, K) of a feature (R, C, H, W): (R, K, d).

        Few cells are looked at, so they are picked first; in training the norms want all cells for their statistics.
        """
        if self.training:
            return pick(cells_of(convs(feature)), places)
        picked = pick(cells_of(feature), places).transpose(1, 2)[..., None]
        tokens: Tensor = convs(picked)
        return tokens[..., 0].transpose(1, 2)

    def layered(self, memory: Mapping[str, Tensor]) -> list[tuple[RegionLayer, Pair, Pair]]:
        """Each layer with its keys and values of the two memories."""
        layers: list[RegionLayer] = list(self.layers)  # type: ignore[arg-type]
        grid, regions = (memory[name] for name in self.memories)
        return [
            (layer, layer.grid_attention.project(grid), layer.region_attention.project(regions)) for layer in layers
        ]

    def start(self, memory: Mapping[str, Tensor]) -> Cache:
        """An empty caption over memories (N, S, d) and (N, K + C, d)."""
        layers = self.layered(memory)
        keys, values = (torch.stack([grid[i] for _, grid, _ in layers]) for i in range(2))
        region_keys, region_values = (torch.stack([regions[i] for _, _, regions in layers]) for i in range(2))
        return {
            "keys": keys[:, :, :, :0],
            "values": values[:, :, :, :0],
            "words": torch.zeros(1, keys.shape[1], 0, dtype=torch.bool, device=keys.device),
            "grid_keys": keys,
            "grid_values": values,
            "region_keys": region_keys,
            "region_values": region_values,
        }

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache, Tensor]:
        """One more word; padding counts as a place, is never looked at again, and its logits are 0.

        Args:
            tokens: (N,) int64, the last word of each caption.
            cache: what :meth:`start` or the last step gave.

        Returns:
            Logits (N, V), the grown cache, and attention (N, S) to the cells of the grid, row by row, the last layer's
            mean over heads; what the regions got is not in it.
        """
        kept = (tokens != PAD)[:, None]
        words = torch.cat((cache["words"], kept[None]), dim=2)
        visible = torch.cat((cache["words"], torch.ones_like(kept)[None]), dim=2)[0, :, None, None]
        x = self.embedding(tokens)[:, None] + self.positions[words.shape[2]]
        keys, values = [], []
        weights = x.new_zeros(0)
        for index, layer in enumerate(self.layers):
            key, value = layer.self_attention.project(x)  # type: ignore[operator, union-attr]
            keys.append(torch.cat((cache["keys"][index], key), dim=2))
            values.append(torch.cat((cache["values"][index], value), dim=2))
            grid, regions = (
                (cache[f"{name}_keys"][index], cache[f"{name}_values"][index]) for name in ("grid", "region")
            )
            x, weights = layer(x, (keys[-1], values[-1]), grid, regions, kept[..., None], visible, 0.0)
        grown = {**cache, "keys": torch.stack(keys), "values": torch.stack(values), "words": words}
        return self.out(x)[:, 0], grown, weights.mean(dim=1)[:, 0]


def _pointwise(c_in: int, c_out: int) -> nn.Sequential:
    """Two 1x1 convolutions."""
    return nn.Sequential(ConvNormAct(c_in, c_out), ConvNormAct(c_out, c_out))


def _check_fit(key: str, names: Sequence[str], own: tuple[int, ...], task: str, theirs: tuple[int, ...]) -> None:
    """Refuses outputs that point at other cells, or at other pictures, than the features have."""
    if own != theirs:
        raise UserError(
            f"captioning.regions.{key}={list(names)} (pictures and cells {own}) must be where {task} answers ({theirs})"
        )
