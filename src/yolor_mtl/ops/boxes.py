"""Boxes: conversions, overlap, non-maximum suppression. Boxes are ``xyxy`` in one common unit."""

from __future__ import annotations

import math

import torch
import torchvision
from torch import Tensor


def _wide(boxes: Tensor) -> Tensor:
    """Half-precision boxes as float32: an area in pixels overflows float16 from 256 x 256 on."""
    return boxes.float() if boxes.dtype in (torch.float16, torch.bfloat16) else boxes


def area(boxes: Tensor) -> Tensor:
    """Areas (...) of boxes (..., 4), at least float32; inverted boxes count as empty."""
    boxes = _wide(boxes)
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """Overlap areas (...) of boxes (..., 4) pair by pair, at least float32; shapes broadcast."""
    first, second = _wide(first), _wide(second)
    # Side by side: a product over a dimension of two takes twice the memory, and its gradient waits for the device.
    width = torch.minimum(first[..., 2], second[..., 2]) - torch.maximum(first[..., 0], second[..., 0])
    height = torch.minimum(first[..., 3], second[..., 3]) - torch.maximum(first[..., 1], second[..., 1])
    return width.clamp(min=0) * height.clamp(min=0)


def iou(first: Tensor, second: Tensor, eps: float = 1e-7) -> Tensor:
    """Intersection over union (...) of boxes (..., 4), pair by pair, at least float32; shapes broadcast."""
    overlap = intersection(first, second)
    return overlap / (area(first) + area(second) - overlap + eps)


def ciou(first: Tensor, second: Tensor, eps: float = 1e-7) -> Tensor:
    """Complete IoU, pair by pair: IoU less a distance and an aspect-ratio term (Zheng et al., arXiv 1911.08287).

    Args:
        first: (..., 4) predicted boxes, pixels.
        second: (..., 4) target boxes, pixels; shapes broadcast.
        eps: keeps divisions finite for boxes without area.

    Returns:
        (...) values of at most 1, at least float32.
    """
    first, second = _wide(first), _wide(second)
    overlap = iou(first, second, eps)
    hull = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    diagonal = hull.square().sum(-1) + eps
    centres = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    distance = centres.square().sum(-1) / diagonal
    aspect = (4 / math.pi**2) * (_angle(second) - _angle(first)).square()
    with torch.no_grad():  # the trade-off factor is a constant in the paper's gradient
        trade_off = aspect / (1 - overlap + aspect + eps)
    return overlap - distance - trade_off * aspect


def _angle(boxes: Tensor) -> Tensor:
    """Angle of the diagonal, atan(width / height).

    Sides count as a thousandth of a pixel at least: the gradient grows as one over the side, and below that the shape
    of a box means nothing.
    """
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
    return torch.atan(sides[..., 0] / sides[..., 1])


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
    boxes = boxes.float()
    if boxes.numel():
        # torchvision keeps classes apart by shifting each beyond the greatest coordinate: that takes none below zero.
        boxes = boxes - boxes.amin()
    keep: Tensor = torchvision.ops.batched_nms(boxes, scores.float(), classes, threshold)
    return keep[:limit]
