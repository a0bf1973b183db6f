"""The paper's trunk: YOLOv7's ELAN backbone and PAFPN neck with ELAN blocks, anchor-free (PAPER, section 2)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from yolor_mtl.models.blocks import ConvNormAct, Down, Elan, SppCsp, twice
from yolor_mtl.models.trunks.base import FeatureInfo, Trunk
from yolor_mtl.records import UserError


@dataclass
class ElanConfig:
    """Widths and depths; the defaults are YOLOv7-AF's.

    Attributes:
        stem: (channels, stride) of the first 3x3 convolutions; together they reach stride 4.
        hidden: channels of the ELAN branches at strides 4, 8, 16, 32.
        stages: channels out of those stages.
        convs: convolutions of the chain in a backbone block.
        every: of them one in ``every`` is kept.
        pool: channels of the spatial pyramid pooling.
        neck: channels of the neck at strides 8, 16, 32.
        neck_convs: convolutions of the chain in a neck block, all kept.
        out: channels of p3, p4, p5, after one 3x3 convolution each.
        width: factor of all channels, rounded to multiples of 8.
    """

    stem: list[list[int]] = field(default_factory=lambda: [[32, 1], [64, 2], [64, 1], [128, 2]])
    hidden: list[int] = field(default_factory=lambda: [64, 128, 256, 256])
    stages: list[int] = field(default_factory=lambda: [256, 512, 1024, 1024])
    convs: int = 4
    every: int = 2
    pool: int = 512
    neck: list[int] = field(default_factory=lambda: [128, 256, 512])
    neck_convs: int = 4
    out: list[int] = field(default_factory=lambda: [256, 512, 1024])
    width: float = 1.0


class ElanTrunk(Trunk):
    """ELAN backbone (c3, c4, c5) and PAFPN neck (p3, p4, p5).

    Args:
        config: widths and depths.
        demand: features that heads read, among c3, c4, c5, p3, p4, p5; what they do not need is not built.

    Raises:
        UserError: a demanded feature does not exist, or the configuration does not fit together.
    """

    def __init__(self, config: ElanConfig, demand: Collection[str]) -> None:
        super().__init__()
        _check(config)

        def scaled(channels: int) -> int:
            return max(8, round(channels * config.width / 8) * 8)

        stages, out = [scaled(c) for c in config.stages], [scaled(c) for c in config.out]
        known = {f"c{level + 2}": FeatureInfo(stages[level], 2 ** (level + 2)) for level in (1, 2, 3)}
        known |= {f"p{level + 3}": FeatureInfo(out[level], 2 ** (level + 3)) for level in (0, 1, 2)}
        if unknown := set(demand) - set(known):
            raise UserError(f"the elan trunk has no feature {sorted(unknown)}; it has {sorted(known)}")
        self.feature_info = {name: info for name, info in known.items() if name in demand}
        self.multiple = 32
        levels = [int(name[1]) - 3 for name in demand if name.startswith("p")]
        # The neck reads all of the backbone; without it the backbone ends at the deepest feature asked for.
        depth = 4 if levels else max((int(name[1]) - 1 for name in demand), default=1)
        stem = [(scaled(channels), stride) for channels, stride in config.stem]
        self.backbone = ElanBackbone(config, stem, stages[:depth], [scaled(c) for c in config.hidden[:depth]])
        self.neck = PafpnNeck(config, stages[1:], [scaled(c) for c in config.neck], out, scaled(config.pool), levels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) float in 0..1 to name -> (B, C, H / stride, W / stride)."""
        named: dict[str, Tensor] = self.backbone(images)
        named |= self.neck(named)
        return {name: named[name] for name in self.feature_info}

    def outputs(self) -> Mapping[str, Sequence[ConvNormAct]]:
        """p3, p4, p5, as many as are built: one convolution each."""
        return self.neck.outputs()


def _check(config: ElanConfig) -> None:
    """Refuses what would fail later without a word about the key."""
    for key, number in (("hidden", 4), ("stages", 4), ("neck", 3), ("out", 3)):
        if len(getattr(config, key)) != number:
            raise UserError(f"trunk.{key}={getattr(config, key)}; {number} numbers are needed")
    if any(len(row) != 2 for row in config.stem) or math.prod(row[1] for row in config.stem) != 4:
        raise UserError(f"trunk.stem={config.stem}; rows of (channels, stride) are needed that reach stride 4 together")
    if config.every < 1 or config.convs < 1 or config.neck_convs < 1 or config.convs % config.every:
        raise UserError(
            f"trunk.convs={config.convs} must be a multiple of trunk.every={config.every}, and neck_convs at least 1"
        )


class ElanBackbone(nn.Module):
    """Stem, then ELAN stages at strides 4, 8, 16, 32, as many as there are widths.

    Args:
        config: depths.
        stem: (channels, stride) of the first convolutions.
        stages: channels out of each stage.
        hidden: channels of the branches in each stage.
    """

    def __init__(self, config: ElanConfig, stem: list[tuple[int, int]], stages: list[int], hidden: list[int]) -> None:
        super().__init__()
        widths = [3, *(channels for channels, _ in stem)]
        self.stem = nn.Sequential(
            *(ConvNormAct(widths[i], widths[i + 1], 3, stride) for i, (_, stride) in enumerate(stem))
        )
        self.downs, self.stages = nn.ModuleList(), nn.ModuleList()
        channels = widths[-1]
        for level, (width, out) in enumerate(zip(hidden, stages, strict=True)):
            if level:
                # YOLOv7 keeps the width when it halves the map, except that it never widens it here.
                self.downs.append(Down(channels, channels))
            self.stages.append(Elan(channels, out, width, width, config.convs, config.every))
            channels = out

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to those of c3, c4, c5 that are built, at strides 8, 16, 32."""
        x = self.stages[0](self.stem(images))
        kept: dict[str, Tensor] = {}
        for level, (down, stage) in enumerate(zip(self.downs, list(self.stages)[1:], strict=True), start=3):
            x = stage(down(x))
            kept[f"c{level}"] = x
        return kept


class PafpnNeck(nn.Module):
    """Top-down and bottom-up paths over c3, c4, c5; the bottom-up path is built as far as it is demanded.

    Args:
        config: depths.
        c: channels of c3, c4, c5.
        n: channels inside the neck at strides 8, 16, 32.
        out: channels of p3, p4, p5.
        pool: channels of the spatial pyramid pooling.
        levels: demanded outputs among 0, 1, 2.
    """

    def __init__(
        self, config: ElanConfig, c: list[int], n: list[int], out: list[int], pool: int, levels: list[int]
    ) -> None:
        super().__init__()
        deepest = max(levels, default=-1)

        def block(c_in: int, width: int) -> Elan:
            return Elan(c_in, width, width, width // 2, config.neck_convs, 1)

        self.levels = levels
        self.deepest = deepest
        if deepest < 0:
            return
        self.pool = SppCsp(c[2], pool)
        self.reduce_5, self.lateral_4 = ConvNormAct(pool, n[1]), ConvNormAct(c[1], n[1])
        self.top_4 = block(2 * n[1], n[1])
        self.reduce_4, self.lateral_3 = ConvNormAct(n[1], n[0]), ConvNormAct(c[0], n[0])
        self.top_3 = block(2 * n[0], n[0])
        if deepest >= 1:
            self.down_3 = Down(n[0], 2 * n[0])
            self.bottom_4 = block(2 * n[0] + n[1], n[1])
        if deepest >= 2:
            self.down_4 = Down(n[1], 2 * n[1])
            self.bottom_5 = block(2 * n[1] + pool, n[2])
        self.out = nn.ModuleDict({f"p{level + 3}": ConvNormAct(n[level], out[level], 3) for level in sorted(levels)})

    def forward(self, c: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """c3, c4, c5 of the backbone to the demanded ones among p3, p4, p5."""
        if self.deepest < 0:
            return {}
        n5 = self.pool(c["c5"])
        n4 = self.top_4(torch.cat((self.lateral_4(c["c4"]), twice(self.reduce_5(n5))), dim=1))
        n3 = self.top_3(torch.cat((self.lateral_3(c["c3"]), twice(self.reduce_4(n4))), dim=1))
        inner = {"p3": n3}
        if self.deepest >= 1:
            inner["p4"] = self.bottom_4(torch.cat((self.down_3(n3), n4), dim=1))
        if self.deepest >= 2:
            inner["p5"] = self.bottom_5(torch.cat((self.down_4(inner["p4"]), n5), dim=1))
        return {name: conv(inner[name]) for name, conv in self.out.items()}

    def outputs(self) -> dict[str, list[ConvNormAct]]:
        """See :meth:`Trunk.outputs`."""
        return {} if self.deepest < 0 else {name: [conv] for name, conv in self.out.items()}  # type: ignore[list-item]
