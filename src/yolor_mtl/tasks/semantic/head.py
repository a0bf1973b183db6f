"""Semantic heads: the paper's single 1x1 convolution on the finest neck feature, and what others made of it.

PAPER, section 2: one convolution, 44,461 values for 173 classes; the released networks put a 3x3 before it; the paper's
multi-scale variant reads p3, p4 and p5 (its exact layers are not known).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yolor_mtl.models.blocks import ConvNormAct
from yolor_mtl.models.implicit import OutputConv
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import Outputs
from yolor_mtl.tasks.base import output_name


@dataclass(frozen=True)
class MapBranch:
    """A supervised semantic map.

    Attributes:
        name: prefix of its output; the one that answers has none.
        features: what it reads, finest first; coarser ones are enlarged to the first.
        weight: factor of its loss.
        train_only: dropped from the inference form.
    """

    name: str
    features: tuple[str, ...]
    weight: float = 1.0
    train_only: bool = False


class SemanticHead(nn.Module):
    """Logits of every class for every cell.

    Outputs: ``logits`` (B, C, H, W), and ``<branch>.logits`` of the further branches.

    Args:
        branches: the first is the one that answers.
        infos: channels and stride of the features.
        classes: C.
        hidden: channels of a convolution before the last one; 0 for none.
        kernel: its side.
        enlarge: factor by which the logits are enlarged in the end.
        align_corners: whether that enlarging keeps the corners' centres instead of the cells' edges.
        implicit: implicit knowledge around the last convolution.
    """

    def __init__(
        self,
        branches: Sequence[MapBranch],
        infos: Mapping[str, FeatureInfo],
        classes: int,
        *,
        hidden: int,
        kernel: int,
        enlarge: int,
        align_corners: bool,
        implicit: bool,
    ) -> None:
        super().__init__()
        self.rows = tuple(branches)
        self.stride = infos[branches[0].features[0]].stride // enlarge
        self.enlarge = enlarge
        self.align_corners = align_corners
        self.branches = nn.ModuleDict()
        for row in branches:
            channels = sum(infos[name].channels for name in row.features)
            before = [ConvNormAct(channels, hidden, kernel)] if hidden else []
            self.branches[row.name or "main"] = nn.Sequential(
                *before, OutputConv(hidden or channels, classes, implicit)
            )

    def forward(
        self,
        features: Mapping[str, Tensor],
        read: Mapping[str, Outputs],
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Outputs:
        """Named features (B, C, H, W) to the outputs named above."""
        return {
            output_name(row.name, "logits"): self._enlarged(
                self.branches[row.name or "main"](_joined([features[f] for f in row.features]))
            )
            for row in self.rows
            if (row.name or "main") in self.branches
        }

    def _enlarged(self, logits: Tensor) -> Tensor:
        if self.enlarge == 1:
            return logits
        return F.interpolate(
            logits, scale_factor=float(self.enlarge), mode="bilinear", align_corners=self.align_corners
        )

    def inference(self) -> tuple[str, ...]:
        """Drops the branches that only training needs; returns the features that are still read."""
        for row in self.rows:
            if row.train_only and row.name in self.branches:
                del self.branches[row.name]
        return tuple(name for row in self.rows if not row.train_only for name in row.features)


def _joined(features: Sequence[Tensor]) -> Tensor:
    """Features at the size of the first, concatenated."""
    if len(features) == 1:
        return features[0]
    size = features[0].shape[-2:]
    more = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in features[1:]]
    return torch.cat([features[0], *more], dim=1)
