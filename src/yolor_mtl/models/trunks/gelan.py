"""GELAN-C: YOLOv9's backbone and neck without its auxiliary branch (arXiv 2402.13616)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from yolor_mtl.models.blocks import ConvNormAct, twice
from yolor_mtl.models.gelan import AverageDown, Gelan, PartialAttention, SppElan
from yolor_mtl.models.trunks.base import FeatureInfo, Trunk
from yolor_mtl.records import UserError


@dataclass
class GelanConfig:
    """Widths and depths; the defaults are GELAN-C's.

    Attributes:
        stem: channels of two 3x3 convolutions of stride 2.
        hidden: channels of the halves in the blocks at strides 4, 8, 16, 32; their chains are half as wide.
        stages: channels out of those stages.
        depth: bottlenecks in each cross-stage-partial block.
        pool: channels of each step of the spatial pyramid pooling, which gives as many as the last stage.
        neck: channels of p3, p4, p5, and of the halves in the neck's blocks.
        attention: partial self-attention over the pooled map.
        shares: see :class:`Gelan`, for the blocks that give p3, p4, p5.
        width: factor of all channels, rounded to multiples of 16.
    """

    stem: list[int] = field(default_factory=lambda: [64, 128])
    hidden: list[int] = field(default_factory=lambda: [128, 256, 512, 512])
    stages: list[int] = field(default_factory=lambda: [256, 512, 512, 512])
    depth: int = 1
    pool: int = 256
    neck: list[int] = field(default_factory=lambda: [256, 512, 512])
    attention: bool = False
    shares: int = 1
    width: float = 1.0

    def scaled(self, channels: list[int]) -> list[int]:
        """Channels after ``width``."""
        return [max(16, round(c * self.width / 16) * 16) for c in channels]


class GelanTrunk(Trunk):
    """Backbone (c3, c4, c5) and neck (p3, p4, p5); c5 is the pooled map, after attention where there is some.

    Args:
        config: widths and depths.
        demand: features that heads read, among c3, c4, c5, p3, p4, p5; what they do not need is not built.

    Raises:
        UserError: a demanded feature does not exist, or the configuration does not fit together.
    """

    def __init__(self, config: GelanConfig, demand: Collection[str]) -> None:
        super().__init__()
        check_widths(config)
        stages, neck = config.scaled(config.stages), config.scaled(config.neck)
        known = {f"c{level + 2}": FeatureInfo(stages[level], 2 ** (level + 2)) for level in (1, 2, 3)}
        known |= {f"p{level + 3}": FeatureInfo(neck[level], 2 ** (level + 3)) for level in (0, 1, 2)}
        if unknown := set(demand) - set(known):
            raise UserError(f"the gelan trunk has no feature {sorted(unknown)}; it has {sorted(known)}")
        self.feature_info = {name: info for name, info in known.items() if name in demand}
        self.multiple = 32
        deepest = max((int(name[1]) - 3 for name in demand if name.startswith("p")), default=-1)
        depth = 4 if deepest >= 0 else max((int(name[1]) - 1 for name in demand), default=1)
        self.backbone = GelanBackbone(config, depth)
        self.pool: nn.Module = pooling(config) if depth == 4 else nn.Identity()
        self.neck = GelanNeck(config, deepest)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) float in 0..1 to name -> (B, C, H / stride, W / stride)."""
        named: dict[str, Tensor] = self.backbone(images)
        if "c5" in named:
            named["c5"] = self.pool(named["c5"])
        named |= self.neck(named)
        return {name: named[name] for name in self.feature_info}

    def outputs(self) -> Mapping[str, Sequence[ConvNormAct]]:
        """p3, p4, p5, as many as are built."""
        return self.neck.outputs()


def check_widths(config: GelanConfig) -> None:
    """Refuses what would fail later without a word about the key.

    Raises:
        UserError: a list has another length, or a number is too small.
    """
    for key, number in (("stem", 2), ("hidden", 4), ("stages", 4), ("neck", 3)):
        if len(getattr(config, key)) != number:
            raise UserError(f"trunk.{key}={getattr(config, key)}; {number} numbers are needed")
    if config.depth < 1 or config.shares < 1 or config.width <= 0:
        raise UserError(
            f"trunk.depth={config.depth} and trunk.shares={config.shares} must be at least 1, "
            f"trunk.width={config.width} above 0"
        )
    if config.attention and config.scaled(config.stages)[3] % 128:
        raise UserError(
            f"trunk.attention needs a last stage of a multiple of 128 channels, not {config.scaled(config.stages)[3]}"
        )


def pooling(config: GelanConfig) -> nn.Sequential:
    """Spatial pyramid pooling over the last stage, and attention where the configuration asks for it."""
    last, hidden = config.scaled(config.stages)[3], config.scaled([config.pool])[0]
    attention = [PartialAttention(last)] if config.attention else []
    return nn.Sequential(SppElan(last, last, hidden), *attention)


class GelanBackbone(nn.Module):
    """Stem, then GELAN stages at strides 4, 8, 16, 32.

    Args:
        config: widths and depths.
        depth: number of stages built.
    """

    def __init__(self, config: GelanConfig, depth: int = 4) -> None:
        super().__init__()
        stem, hidden, stages = (config.scaled(c) for c in (config.stem, config.hidden, config.stages))
        self.stem = nn.Sequential(ConvNormAct(3, stem[0], 3, 2), ConvNormAct(stem[0], stem[1], 3, 2))
        widths = [stem[1], *stages]
        self.downs = nn.ModuleList(AverageDown(stages[i], stages[i]) for i in range(depth - 1))
        self.stages = nn.ModuleList(
            Gelan(widths[i], stages[i], hidden[i], hidden[i] // 2, config.depth) for i in range(depth)
        )

    def forward(self, images: Tensor, added: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """(B, 3, H, W) to those of c3, c4, c5 that are built, at strides 8, 16, 32.

        Args:
            images: the pictures.
            added: ``c3``, ``c4``, ``c5`` -> what is added to the halved map before that stage.
        """
        x = self.stages[0](self.stem(images))
        kept: dict[str, Tensor] = {}
        for level, (down, stage) in enumerate(zip(self.downs, list(self.stages)[1:], strict=True), start=3):
            name = f"c{level}"
            x = down(x)
            kept[name] = x = stage(x if added is None else x + added[name])
        return kept


class GelanNeck(nn.Module):
    """Top-down and bottom-up paths over c3, c4, c5, without lateral convolutions; built as deep as demanded.

    Args:
        config: widths and depths.
        deepest: greatest demanded level among 0 (p3), 1, 2; -1 for none.
    """

    def __init__(self, config: GelanConfig, deepest: int) -> None:
        super().__init__()
        self.deepest = deepest
        c, n = config.scaled(config.stages), config.scaled(config.neck)

        def block(c_in: int, out: int, shares: int) -> Gelan:
            return Gelan(c_in, out, out, out // 2, config.depth, shares)

        if deepest >= 0:
            self.top_4 = block(c[3] + c[2], n[1], 1)
            self.top_3 = block(n[1] + c[1], n[0], config.shares)
        if deepest >= 1:
            self.down_3 = AverageDown(n[0], n[0])
            self.bottom_4 = block(n[0] + n[1], n[1], config.shares)
        if deepest >= 2:
            self.down_4 = AverageDown(n[1], n[1])
            self.bottom_5 = block(n[1] + c[3], n[2], config.shares)

    def forward(self, c: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """c3, c4, c5 to p3, p4, p5, as many as are built."""
        if self.deepest < 0:
            return {}
        n4 = self.top_4(torch.cat((twice(c["c5"]), c["c4"]), dim=1))
        named = {"p3": self.top_3(torch.cat((twice(n4), c["c3"]), dim=1))}
        if self.deepest >= 1:
            named["p4"] = self.bottom_4(torch.cat((self.down_3(named["p3"]), n4), dim=1))
        if self.deepest >= 2:
            named["p5"] = self.bottom_5(torch.cat((self.down_4(named["p4"]), c["c5"]), dim=1))
        return named

    def outputs(self) -> dict[str, list[ConvNormAct]]:
        """See :meth:`Trunk.outputs`; a block's output may be made by several convolutions."""
        blocks = [getattr(self, name) for name in ("top_3", "bottom_4", "bottom_5")[: self.deepest + 1]]
        return {f"p{level}": list(block.out) for level, block in enumerate(blocks, start=3)}
