"""Instance masks as a mix of prototypes (YOLACT, Bolya et al., arXiv 1904.02689)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from yolor_mtl.models.blocks import ConvNormAct, EnlargingConv, tower
from yolor_mtl.models.implicit import OutputConv
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import Outputs
from yolor_mtl.tasks.base import output_name


@dataclass(frozen=True)
class MaskBranch:
    """A supervised set of prototypes and coefficients.

    Attributes:
        name: prefix of its outputs; the one that answers has none.
        features: what its coefficients read, finest first, as detection's points.
        proto: the feature its prototypes are made of.
        width: channels of the coefficient towers.
        weight: factor of its loss.
        train_only: dropped from the inference form.
    """

    name: str
    features: tuple[str, ...]
    proto: str
    width: int
    weight: float = 1.0
    train_only: bool = False


class InstanceHead(nn.Module):
    """Prototypes from one feature, coefficients from each feature; once, or once more for training alone.

    Outputs: ``coefficients`` (B, A, K) for the same points as detection's, ``proto`` (B, K, H, W) at the prototypes'
    stride; with the branch's name and a dot before them for the further branches.

    Args:
        branches: the first is the one that answers.
        infos: channels and stride of the features.
        prototypes: K.
        proto_width: channels before the prototypes, where they are made of more than one convolution.
        enlarge: whether the prototypes' feature is enlarged twice, between two 3x3 convolutions.
        depth: 3x3 convolutions in a coefficient tower.
        implicit: implicit knowledge around each output convolution.
    """

    def __init__(
        self,
        branches: Sequence[MaskBranch],
        infos: Mapping[str, FeatureInfo],
        *,
        prototypes: int,
        proto_width: int,
        enlarge: bool,
        depth: int,
        implicit: bool,
    ) -> None:
        super().__init__()
        self.rows = tuple(branches)
        self.stride = infos[branches[0].proto].stride // (2 if enlarge else 1)
        self.branches = nn.ModuleDict()
        for row in branches:
            channels = infos[row.proto].channels
            towers = [
                nn.Sequential(
                    tower(infos[name].channels, row.width, depth), OutputConv(row.width, prototypes, implicit)
                )
                for name in row.features
            ]
            self.branches[row.name or "main"] = nn.ModuleDict(
                {
                    "proto": nn.Sequential(
                        *(_enlarging(channels, proto_width) if enlarge else ()),
                        *_prototypes(proto_width if enlarge else channels, prototypes, implicit),
                    ),
                    "coefficients": nn.ModuleList(towers),
                }
            )

    def forward(
        self,
        features: Mapping[str, Tensor],
        read: Mapping[str, Outputs],
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Outputs:
        """Named features (B, C, H, W) to the outputs named above."""
        out: Outputs = {}
        for row in self.rows:
            if (key := row.name or "main") not in self.branches:
                continue
            parts: Any = self.branches[key]
            levels = [conv(features[name]) for conv, name in zip(parts["coefficients"], row.features, strict=True)]
            out[output_name(row.name, "coefficients")] = torch.cat(
                [level.flatten(2) for level in levels], dim=2
            ).transpose(1, 2)
            out[output_name(row.name, "proto")] = parts["proto"](features[row.proto])
        return out

    def inference(self) -> tuple[str, ...]:
        """Drops the branches that only training needs; returns the features that are still read."""
        for row in self.rows:
            if row.train_only and row.name in self.branches:
                del self.branches[row.name]
        kept = [row for row in self.rows if not row.train_only]
        return tuple(name for row in kept for name in (*row.features, row.proto))


def _enlarging(channels: int, width: int) -> list[nn.Module]:
    """Two 3x3 convolutions with a doubling of the map between them."""
    return [ConvNormAct(channels, width, 3), EnlargingConv(width, width)]


def _prototypes(channels: int, prototypes: int, implicit: bool) -> list[nn.Module]:
    """The last convolution; with implicit knowledge a plain one, for a norm would undo the multiplication."""
    if not implicit:
        return [ConvNormAct(channels, prototypes)]
    return [OutputConv(channels, prototypes, implicit), nn.SiLU()]
