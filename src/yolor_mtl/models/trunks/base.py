"""What every trunk publishes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from yolor_mtl.models.blocks import ConvNormAct
from yolor_mtl.models.implicit import ImplicitAdd


@dataclass(frozen=True)
class FeatureInfo:
    """Channels and stride (pixels of the image per cell) of a named feature."""

    channels: int
    stride: int


class Trunk(nn.Module):
    """Backbone and neck: one picture in, named features out.

    Attributes:
        feature_info: name -> channels and stride of each feature that ``forward`` gives.
        multiple: image sides must be multiples of this.
    """

    feature_info: Mapping[str, FeatureInfo]
    multiple: int

    def outputs(self) -> Mapping[str, Sequence[ConvNormAct]]:
        """Neck feature -> the last convolutions of the block that gives it, side by side; by default none."""
        return {}

    def align(self) -> None:
        """Gives each published map of the neck implicit knowledge, in place: an addition to each of its channels."""
        for name, convs in self.outputs().items():
            for conv in convs if name in self.feature_info else ():
                conv.align = ImplicitAdd(conv.conv.out_channels)

    def inference(self, demand: Collection[str]) -> None:
        """Drops what the features still demanded do not need; by default nothing."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) float in 0..1 to name -> (B, C, H / stride, W / stride)."""
        raise TypeError(f"{type(self).__name__} does not define a forward pass")
