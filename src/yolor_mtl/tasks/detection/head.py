"""Anchor-free detection: per point a distribution over distances to the four sides, and class logits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from yolor_mtl.models.blocks import tower
from yolor_mtl.models.implicit import OutputConv
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import Outputs
from yolor_mtl.tasks.base import Branch


def anchor_points(shapes: Sequence[tuple[int, int]], strides: Sequence[int], device: torch.device) -> Tensor:
    """Centres of all cells, row by row, levels concatenated.

    Args:
        shapes: (height, width) of each level in cells.
        strides: pixels per cell of each level.
        device: where the result lives.

    Returns:
        (A, 3) float32: x and y in pixels of the model's frame, and the stride.
    """
    levels = []
    for (height, width), stride in zip(shapes, strides, strict=True):
        ys, xs = torch.meshgrid(
            torch.arange(height, device=device, dtype=torch.float32) + 0.5,
            torch.arange(width, device=device, dtype=torch.float32) + 0.5,
            indexing="ij",
        )
        points = torch.stack((xs.flatten(), ys.flatten()), dim=-1) * stride
        levels.append(torch.cat((points, torch.full_like(points[:, :1], float(stride))), dim=-1))
    return torch.cat(levels)


def expected_distances(box_logits: Tensor, steps: Tensor) -> Tensor:
    """Mean of each side's distribution (Li et al., arXiv 2006.04388, eq. 3).

    Args:
        box_logits: (..., 4 * bins), sides left, top, right, bottom.
        steps: the distance of each bin in cells, ``bins`` values of any shape.

    Returns:
        (..., 4) distances in cells.
    """
    probabilities = box_logits.unflatten(-1, (4, -1)).float().softmax(-1)
    # A sum and no matrix product: autocast would round the product to half precision, up to two pixels at stride 32.
    distances: Tensor = (probabilities * steps.flatten()).sum(-1)
    return distances


def boxes_from_distances(distances: Tensor, anchors: Tensor) -> Tensor:
    """Boxes (..., A, 4) ``xyxy`` in pixels from distances (..., A, 4) in cells and anchors (A, 3)."""
    points, stride = anchors[:, :2], anchors[:, 2:]
    low, high = distances.split(2, dim=-1)
    return torch.cat((points - low * stride, points + high * stride), dim=-1)


class DetectionBranch(nn.Module):
    """Box and class towers over each feature; one supervised answer per point.

    Args:
        infos: channels and stride of the features, finest first.
        classes: number of classes C.
        bins: distances per side.
        box_width: channels of the box towers.
        class_width: channels of the class towers.
        depth: 3x3 convolutions in a tower.
        separable: depthwise-separable class towers.
        box_groups: groups of the box towers after their first convolution.
        implicit: implicit knowledge around each output convolution.
        detach: cut the gradient into the trunk.

    Attributes:
        steps: (1, bins, 1, 1), the distance of each bin in cells: 0, 1, 2 ..., kept with the weights, never trained.
    """

    def __init__(
        self,
        infos: Sequence[FeatureInfo],
        classes: int,
        *,
        bins: int,
        box_width: int,
        class_width: int,
        depth: int,
        separable: bool,
        box_groups: int,
        implicit: bool,
        detach: bool,
    ) -> None:
        super().__init__()
        self.detach = detach
        steps = torch.arange(bins, dtype=torch.float32).view(1, -1, 1, 1)
        self.steps = nn.Parameter(steps, requires_grad=False)
        self.boxes = nn.ModuleList(
            nn.Sequential(
                tower(info.channels, box_width, depth, groups=box_groups),
                OutputConv(box_width, 4 * bins, implicit, box_groups),
            )
            for info in infos
        )
        self.classes = nn.ModuleList(
            nn.Sequential(
                tower(info.channels, class_width, depth, separable), OutputConv(class_width, classes, implicit)
            )
            for info in infos
        )
        self._start_from_priors([info.stride for info in infos], classes)

    def _start_from_priors(self, strides: Sequence[int], classes: int) -> None:
        """Starts with few objects a picture, as RetinaNet does: about five in one of 640 x 640 pixels."""
        for boxes, scores, stride in zip(self.boxes, self.classes, strides, strict=True):
            box_out, class_out = boxes[-1].conv, scores[-1].conv  # type: ignore[index]
            nn.init.constant_(box_out.bias, 1.0)
            nn.init.constant_(class_out.bias, math.log(5 / classes / (640 / stride) ** 2))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Features (B, C_i, H_i, W_i) to box logits (B, A, 4 * bins) and class logits (B, A, C)."""
        if self.detach:
            features = [feature.detach() for feature in features]
        boxes = [conv(x).flatten(2) for conv, x in zip(self.boxes, features, strict=True)]
        scores = [conv(x).flatten(2) for conv, x in zip(self.classes, features, strict=True)]
        return torch.cat(boxes, dim=2).transpose(1, 2), torch.cat(scores, dim=2).transpose(1, 2)


class DetectionHead(nn.Module):
    """All branches of the detection task; each is one row of configuration.

    Outputs: ``anchors`` (A, 3) pixels and stride; per branch ``<branch>.box_logits`` (B, A, 4 * bins),
    ``<branch>.class_logits`` (B, A, C) and ``<branch>.steps`` (1, bins, 1, 1), see :class:`DetectionBranch`. In the
    inference form branches marked ``train_only`` are gone.

    Args:
        branches: the rows; the first is the one that answers.
        infos: channels and stride of the features.
        classes: number of classes C.
        widths: branch -> channels of its box and of its class towers.
        bins: distances per side.
        depth: 3x3 convolutions in a tower.
        separable: depthwise-separable class towers.
        box_groups: groups of the box towers after their first convolution.
        implicit: implicit knowledge around each output convolution.
    """

    def __init__(
        self,
        branches: Sequence[Branch],
        infos: Mapping[str, FeatureInfo],
        classes: int,
        *,
        widths: Mapping[str, tuple[int, int]],
        bins: int,
        depth: int,
        separable: bool,
        box_groups: int,
        implicit: bool,
    ) -> None:
        super().__init__()
        self.rows = tuple(branches)
        self.strides = tuple(infos[name].stride for name in branches[0].features)
        self.branches = nn.ModuleDict(
            {
                row.name: DetectionBranch(
                    [infos[name] for name in row.features],
                    classes,
                    bins=bins,
                    box_width=widths[row.name][0],
                    class_width=widths[row.name][1],
                    depth=depth,
                    separable=separable,
                    box_groups=box_groups,
                    implicit=implicit,
                    detach=row.detach,
                )
                for row in branches
            }
        )

    def forward(
        self,
        features: Mapping[str, Tensor],
        read: Mapping[str, Outputs],
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Outputs:
        """Named features (B, C, H, W) to the outputs named above."""
        first = [features[name] for name in self.rows[0].features]
        shapes = [(x.shape[-2], x.shape[-1]) for x in first]
        out: Outputs = {"anchors": anchor_points(shapes, self.strides, first[0].device)}
        for row in self.rows:
            if row.name in self.branches:
                branch = self.branches[row.name]
                boxes, scores = branch([features[name] for name in row.features])
                out |= {f"{row.name}.box_logits": boxes, f"{row.name}.class_logits": scores}
                out[f"{row.name}.steps"] = branch.steps  # type: ignore[assignment]
        return out

    def inference(self) -> tuple[str, ...]:
        """Drops the branches that only training needs; returns the features that are still read."""
        for row in self.rows:
            if row.train_only and row.name in self.branches:
                del self.branches[row.name]
        return tuple(name for row in self.rows if row.name in self.branches for name in row.features)
