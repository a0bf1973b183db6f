"""Generalist YOLO's trunk: GELAN-C with attention, fine features for dense tasks, a second backbone for training.

As released (GeneralistYOLO); the second backbone follows CBNet (arXiv 2107.00420), as YOLOv9's reversible branch does.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yolor_mtl.models.blocks import ConvNormAct, twice
from yolor_mtl.models.gelan import Gelan
from yolor_mtl.models.trunks.base import FeatureInfo, Trunk
from yolor_mtl.models.trunks.gelan import GelanBackbone, GelanConfig, GelanNeck, check_widths, pooling
from yolor_mtl.records import UserError


@dataclass
class GyoloConfig(GelanConfig):
    """Widths and depths; the defaults are Generalist YOLO's. See :class:`GelanConfig` for the keys not named here.

    Attributes:
        fine: channels of the features at stride 4, and of the halves in their blocks.
        fine_depth: bottlenecks in each cross-stage-partial block of theirs.
    """

    attention: bool = True
    shares: int = 2
    fine: int = 256
    fine_depth: int = 2


FINE = {"s2": "p3", "m2": "p3", "as2": "a3", "am2": "a3"}
"""Feature at stride 4 -> what it is made of; those of training begin with an ``a``."""


class GyoloTrunk(Trunk):
    """c3, c4, c5, p3, p4, p5 as :class:`GelanTrunk`; a3, a4, a5 of the second backbone; and at stride 4 from p3 the
    features s2 and m2, from a3 as2 and am2, and u2, which is s2 before its grouped convolution.

    Args:
        config: widths and depths.
        demand: features that heads read; the second backbone is built where one of its features is among them.

    Raises:
        UserError: a demanded feature does not exist, or the configuration does not fit together.
    """

    def __init__(self, config: GyoloConfig, demand: Collection[str]) -> None:
        super().__init__()
        check_widths(config)
        stages, neck = config.scaled(config.stages), config.scaled(config.neck)
        fine = config.scaled([config.fine])[0]
        known = {f"c{level + 2}": FeatureInfo(stages[level], 2 ** (level + 2)) for level in (1, 2, 3)}
        known |= {f"a{level + 2}": FeatureInfo(stages[level], 2 ** (level + 2)) for level in (1, 2, 3)}
        known |= {f"p{level + 3}": FeatureInfo(neck[level], 2 ** (level + 3)) for level in (0, 1, 2)}
        known |= dict.fromkeys(FINE, FeatureInfo(fine, 4)) | {"u2": FeatureInfo(neck[0], 4)}
        if unknown := set(demand) - set(known):
            raise UserError(f"the gyolo trunk has no feature {sorted(unknown)}; it has {sorted(known)}")
        self.known = known
        self.multiple = 32
        self.backbone = GelanBackbone(config)
        self.pool = pooling(config)
        self.neck = GelanNeck(config, 2)
        self.fine = nn.ModuleDict(
            {
                name: FineFeature(known[source].channels, fine, config.fine_depth)
                for name, source in FINE.items()
                if name in demand or (name == "s2" and "u2" in demand)
            }
        )
        self.auxiliary = SecondBackbone(config) if any(name.startswith("a") for name in demand) else None
        self.inference(demand)

    def inference(self, demand: Collection[str]) -> None:
        """Keeps only what the features still demanded need."""
        self.feature_info: Mapping[str, FeatureInfo] = {name: i for name, i in self.known.items() if name in demand}
        for name in list(self.fine):
            if name not in demand and not (name == "s2" and "u2" in demand):
                del self.fine[name]
        if not any(name.startswith("a") for name in demand):
            self.auxiliary = None

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) float in 0..1 to name -> (B, C, H / stride, W / stride)."""
        named: dict[str, Tensor] = self.backbone(images)
        if self.auxiliary is not None:
            second = self.auxiliary(images, named)
            named |= {f"a{name[1]}": feature for name, feature in second.items()}
        named["c5"] = self.pool(named["c5"])
        named |= self.neck(named)
        for name, block in self.fine.items():
            enlarged, named[name] = block(named[FINE[name]])
            if name == "s2":
                named["u2"] = enlarged
        return {name: named[name] for name in self.feature_info}

    def outputs(self) -> Mapping[str, Sequence[ConvNormAct]]:
        """p3, p4, p5; what is made of them at stride 4 reads them aligned."""
        return self.neck.outputs()


class FineFeature(nn.Module):
    """A feature at stride 8 worked over and enlarged to stride 4.

    Args:
        c_in: channels read.
        c_out: channels given; the grouped convolution has as many groups, or the greatest number that divides both.
        depth: bottlenecks in the block.
    """

    def __init__(self, c_in: int, c_out: int, depth: int) -> None:
        super().__init__()
        self.block = Gelan(c_in, c_in, c_out, c_out // 2, depth)
        self.grouped = ConvNormAct(c_in, c_out, 3, groups=math.gcd(c_in, c_out))
        self.out = ConvNormAct(c_out, c_out)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, c_in, H, W) to (B, c_in, 2 H, 2 W), before the grouped convolution, and (B, c_out, 2 H, 2 W)."""
        enlarged = twice(self.block(x))
        return enlarged, self.out(self.grouped(enlarged))


class SecondBackbone(nn.Module):
    """A backbone like the first that also reads the first one's stages: deep supervision, dropped at inference.

    Args:
        config: widths and depths.
    """

    def __init__(self, config: GelanConfig) -> None:
        super().__init__()
        stages = config.scaled(config.stages)
        # A stage is given to every coarser level and to its own: what is added there has the width of the halved map.
        self.widths = {f"c{level + 2}": stages[:level] for level in (1, 2, 3)}
        self.links = nn.ModuleDict(
            {name: nn.Conv2d(stages[i], sum(self.widths[name]), 1) for i, name in enumerate(self.widths, start=1)}
        )
        self.backbone = GelanBackbone(config)

    def forward(self, images: Tensor, stages: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Pictures (B, 3, H, W) and c3, c4, c5 of the first backbone to those of the second."""
        parts = {name: link(stages[name]).split(self.widths[name], dim=1) for name, link in self.links.items()}
        added: dict[str, Tensor] = {}
        for place, name in enumerate(self.widths):
            # The map it is added to has the size of the first backbone's stage of that name.
            size = stages[name].shape[-2:]
            pieces = [part[place] for part in parts.values() if len(part) > place]
            added[name] = torch.stack([F.interpolate(piece, size=size) for piece in pieces]).sum(0)
        return self.backbone(images, added)  # type: ignore[no-any-return]
