"""Task-aligned assignment of objects to anchor points (TOOD, Feng et al., arXiv 2108.07755, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from yolor_mtl.ops import boxes as box_ops


@dataclass(frozen=True)
class Assignment:
    """Which object each point learns.

    Attributes:
        objects: (B, A) int64 position of the object in the padded table, -1 for none.
        scores: (B, A) float target score of the object's class, 0 where there is no object.
        ignored: (B, A) bool points that are neither positive nor negative: they lie in a crowd region.
    """

    objects: Tensor
    scores: Tensor
    ignored: Tensor

    @property
    def positive(self) -> Tensor:
        """(B, A) bool."""
        return self.objects >= 0


@torch.no_grad()
def assign(
    class_scores: Tensor,
    boxes: Tensor,
    anchors: Tensor,
    target_boxes: Tensor,
    target_classes: Tensor,
    valid: Tensor,
    crowd: Tensor,
    *,
    top_k: int,
    alpha: float = 0.5,
    beta: float = 6.0,
) -> Assignment:
    """Gives each object its ``top_k`` best aligned points inside it; a point wanted twice goes to the greater IoU.

    Alignment is ``score^alpha * IoU^beta``. The target score of a positive is its alignment, scaled so that the best
    point of each object gets that object's greatest IoU.

    Args:
        class_scores: (B, A, C) probabilities.
        boxes: (B, A, 4) predicted ``xyxy``, pixels.
        anchors: (A, 3) x, y, stride in pixels.
        target_boxes: (B, N, 4) ``xyxy``, pixels.
        target_classes: (B, N) int64.
        valid: (B, N) bool; rows that are objects to learn.
        crowd: (B, N) bool; rows that are crowd regions: never learnt, and their inside is ignored.
        top_k: points per object at most.
        alpha: power of the class score.
        beta: power of the IoU.

    Returns:
        The assignment.
    """
    batch, points = boxes.shape[:2]
    if target_boxes.shape[1] == 0:
        none = torch.full((batch, points), -1, dtype=torch.int64, device=boxes.device)
        return Assignment(none, boxes.new_zeros(batch, points), torch.zeros_like(none, dtype=torch.bool))
    inside = points_inside(anchors[:, :2], target_boxes)
    allowed = inside & valid[:, :, None]
    overlaps = box_ops.iou(target_boxes[:, :, None], boxes[:, None]) * allowed
    index = target_classes.clamp(min=0)[:, None].expand(-1, points, -1)
    scores = class_scores.gather(2, index).transpose(1, 2)
    alignment = scores.pow(alpha) * overlaps.pow(beta) * allowed
    chosen = _best_points(alignment, allowed, top_k)
    objects = _greatest_overlap(chosen, overlaps)
    targets = _target_scores(objects, alignment, overlaps)
    ignored = (inside & crowd[:, :, None]).any(dim=1) & (objects < 0)
    return Assignment(objects, targets, ignored)


def points_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """(B, N, A) bool: which points (A, 2) lie strictly inside which boxes (B, N, 4)."""
    x, y = points[:, 0], points[:, 1]
    left, top, right, bottom = boxes[..., None].unbind(dim=2)
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def _best_points(alignment: Tensor, allowed: Tensor, top_k: int) -> Tensor:
    """(B, N, A) bool: the ``top_k`` best aligned allowed points of each object.

    Points that score exactly zero stay eligible: at the first steps every alignment may underflow.
    """
    ranked = torch.where(allowed, alignment, -1.0)
    best = ranked.topk(min(top_k, ranked.shape[-1]), dim=-1).indices
    return torch.zeros_like(allowed).scatter_(-1, best, True) & allowed


def _greatest_overlap(chosen: Tensor, overlaps: Tensor) -> Tensor:
    """(B, A) int64: the one object of each point, or -1."""
    best, objects = torch.where(chosen, overlaps, -1.0).max(dim=1)
    return torch.where(best >= 0, objects, -1)


def _target_scores(objects: Tensor, alignment: Tensor, overlaps: Tensor) -> Tensor:
    """(B, A) float: normalised alignment of each point with its object."""
    number = alignment.shape[1]
    mine = objects[:, None] == torch.arange(number, device=objects.device)[None, :, None]
    alignment, overlaps = alignment * mine, overlaps * mine
    # At the first steps alignments are tiny: the divisor is bounded by the type's limits, not by a fixed number.
    peak = alignment.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(alignment.dtype).tiny)
    best_overlap = overlaps.amax(dim=-1, keepdim=True)
    return (alignment / peak * best_overlap).amax(dim=1)
