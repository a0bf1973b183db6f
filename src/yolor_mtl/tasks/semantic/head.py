"""The paper's semantic head: one 1x1 convolution on the finest neck feature, enlarged twice (PAPER, section 2)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from yolor_mtl.models.implicit import OutputConv
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import Outputs


class SemanticHead(nn.Module):
    """Single scale: cells of 8 x 8 pixels in, cells of 4 x 4 pixels out.

    Outputs: ``logits`` (B, C, H, W) at half the stride of its feature.

    Args:
        feature: name of the feature.
        info: its channels and stride.
        classes: C.
        implicit: implicit knowledge around the convolution.
    """

    def __init__(self, feature: str, info: FeatureInfo, classes: int, *, implicit: bool) -> None:
        super().__init__()
        self.feature = feature
        self.stride = info.stride // 2
        self.out = OutputConv(info.channels, classes, implicit)

    def forward(
        self,
        features: Mapping[str, Tensor],
        read: Mapping[str, Outputs],
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Outputs:
        """Named features (B, C, H, W) to the output named above."""
        logits = self.out(features[self.feature])
        return {"logits": F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)}
