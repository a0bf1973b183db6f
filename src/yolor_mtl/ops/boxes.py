"""Boxes: conversions, overlap, non-maximum suppression. Boxes are ``xyxy`` in one common unit."""

from __future__ import annotations

import math

import torch
import torchvision
from torch import Tensor


def area(boxes: Tensor) -> Tensor:
    """Areas (...,) of boxes (..., 4); inverted boxes count as empty."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """Overlap areas (...) of boxes (..., 4) pair by pair; shapes broadcast."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    return (high - low).clamp(min=0).prod(dim=-1)


def iou(first: Tensor, second: Tensor, eps: float = 1e-7) -> Tensor:
    """Intersection over union (...) of boxes (..., 4), pair by pair; shapes broadcast."""
    overlap = intersection(first, second)
    return overlap / (area(first) + area(second) - overlap + eps)


def ciou(first: Tensor, second: Tensor, eps: float = 1e-7) -> Tensor:
    """Complete IoU, pair by pair: IoU less a distance and an aspect-ratio term (Zheng et al., arXiv 1911.08287, eq. 10).

    Args:
        first: (..., 4) predicted boxes.
        second: (..., 4) target boxes; shapes broadcast.
        eps: keeps divisions finite for boxes without area.

    Returns:
        (...) values of at most 1.
    """
    overlap = iou(first, second, eps)
    hull = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    diagonal = hull.square().sum(-1) + eps
    centres = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    distance = centres.square().sum(-1) / diagonal
    sides_first = (first[..., 2:] - first[..., :2]).clamp(min=0)
    sides_second = (second[..., 2:] - second[..., :2]).clamp(min=0)
    angle_first = torch.atan(sides_first[..., 0] / (sides_first[..., 1] + eps))
    angle_second = torch.atan(sides_second[..., 0] / (sides_second[..., 1] + eps))
    aspect = (4 / math.pi**2) * (angle_second - angle_first).square()
    with torch.no_grad():  # the trade-off factor is a constant in the paper's gradient
        trade_off = aspect / (1 - overlap + aspect + eps)
    return overlap - distance - trade_off * aspect


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """COCO's (left, top, width, height), (..., 4), from ``xyxy``."""
    return torch.cat((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), dim=-1)


def nms(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float, limit: int) -> Tensor:
    """Class-wise non-maximum suppression.

    Args:
        boxes: (N, 4) float.
        scores: (N,) float.
        classes: (N,) int64; boxes of different classes never suppress each other.
        threshold: IoU above which the weaker box goes.
        limit: greatest number of boxes kept.

    Returns:
        (M,) int64 indices, best score first.
    """
    return torchvision.ops.batched_nms(boxes.float(), scores.float(), classes, threshold)[:limit]
