"""Instance masks as a mix of prototypes (YOLACT, Bolya et al., arXiv 1904.02689)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from yolor_mtl.models.blocks import ConvNormAct, tower
from yolor_mtl.models.implicit import OutputConv
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import Outputs


class InstanceHead(nn.Module):
    """Prototypes from the finest feature, coefficients from each feature.

    Outputs: ``coefficients`` (B, A, K) for the same points as detection's, ``proto`` (B, K, H, W) at half the
    stride of the finest feature (4 for p3).

    Args:
        features: names, finest first.
        infos: channels and stride of the features.
        prototypes: K.
        proto_width: channels before the prototypes.
        width: channels of the coefficient towers.
        depth: 3x3 convolutions in a tower.
        implicit: implicit knowledge around each output convolution.
    """

    def __init__(
        self,
        features: Sequence[str],
        infos: Mapping[str, FeatureInfo],
        *,
        prototypes: int,
        proto_width: int,
        width: int,
        depth: int,
        implicit: bool,
    ) -> None:
        super().__init__()
        self.features = tuple(features)
        finest = infos[self.features[0]]
        self.stride = finest.stride // 2
        self.proto = nn.Sequential(
            ConvNormAct(finest.channels, proto_width, 3),
            nn.Upsample(scale_factor=2, mode="nearest"),
            ConvNormAct(proto_width, proto_width, 3),
            OutputConv(proto_width, prototypes, implicit),
            nn.SiLU(),
        )
        self.coefficients = nn.ModuleList(
            nn.Sequential(tower(infos[name].channels, width, depth, False), OutputConv(width, prototypes, implicit))
            for name in self.features
        )

    def forward(
        self,
        features: Mapping[str, Tensor],
        read: Mapping[str, Outputs],
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Outputs:
        """Named features (B, C, H, W) to the outputs named above."""
        levels = [conv(features[name]).flatten(2) for conv, name in zip(self.coefficients, self.features, strict=True)]
        return {
            "coefficients": torch.cat(levels, dim=2).transpose(1, 2),
            "proto": self.proto(features[self.features[0]]),
        }
