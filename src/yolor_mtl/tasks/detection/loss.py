"""Detection loss: BCE against aligned scores, CIoU, and distribution focal loss (PAPER, section 3, losses)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from yolor_mtl.ops import boxes as box_ops
from yolor_mtl.records import LossOutput, Outputs
from yolor_mtl.tasks.base import Branch, term_name
from yolor_mtl.tasks.detection.assigner import Assignment, assign
from yolor_mtl.tasks.detection.head import boxes_from_distances, expected_distances


def distribution_focal_loss(box_logits: Tensor, distances: Tensor) -> Tensor:
    """Cross entropy on the two whole distances beside the target (Li et al., arXiv 2006.04388, eq. 6).

    Args:
        box_logits: (P, 4, bins).
        distances: (P, 4) targets in cells, within 0 and bins - 1.

    Returns:
        (P,) mean over the four sides.
    """
    bins = box_logits.shape[-1]
    distances = distances.clamp(0, bins - 1 - 0.01)
    low = distances.long()
    share_high = distances - low
    log_probabilities = box_logits.float().log_softmax(-1)
    at_low = log_probabilities.gather(-1, low[..., None])[..., 0]
    at_high = log_probabilities.gather(-1, low[..., None] + 1)[..., 0]
    return -(at_low * (1 - share_high) + at_high * share_high).mean(-1)


class DetectionLoss:
    """Sums the terms of all branches; shares one branch's assignment with the tasks that use it.

    Terms: ``class``, ``box``, ``dfl``; each a sum and the sum of target scores as its count.
    Shares: ``assignment`` (:class:`Assignment`), ``anchors`` (A, 3), ``boxes`` (R, N, 4) targets, ``valid`` (R, N).

    Args:
        branches: the rows; the terms of the first have the plain names.
        shared: the branch whose assignment is shared; the first by default.
    """

    def __init__(self, branches: Sequence[Branch], shared: str = "") -> None:
        self.branches = tuple(branches)
        self.shared = shared or self.branches[0].name

    def __call__(
        self, out: Outputs, targets: Mapping[str, Tensor], used: Mapping[str, Mapping[str, Any]]
    ) -> LossOutput:
        """Raw outputs of R rows and the padded object table to the three terms.

        Args:
            out: see :class:`DetectionHead`.
            targets: ``boxes`` (R, N, 4) pixels, ``classes`` (R, N), ``valid`` (R, N) and ``crowd`` (R, N) bool.
            used: nothing.
        """
        # Those that learn from another branch's assignment come after it.
        order = sorted(self.branches, key=lambda branch: branch.assign_from is not None)
        boxes = {
            branch.name: boxes_from_distances(
                expected_distances(out[f"{branch.name}.box_logits"], out[f"{branch.name}.steps"]), out["anchors"]
            )
            for branch in order
        }
        assignments: dict[str, Assignment] = {}
        terms: dict[str, tuple[Tensor, Tensor]] = {}
        for branch in order:
            if branch.assign_from is None:
                assignments[branch.name] = _assignment(branch, boxes[branch.name], out, targets)
            else:
                assignments[branch.name] = assignments[branch.assign_from]
            found = _branch_terms(branch, boxes[branch.name], out, targets, assignments[branch.name])
            for name, (value, count) in found.items():
                # Every branch divides by its own count, so that a weight means the same for each of them.
                terms[term_name("" if branch is self.branches[0] else branch.name, name)] = (
                    value * branch.weight,
                    count,
                )
        return LossOutput(terms, {"assignment": assignments[self.shared], "anchors": out["anchors"], **targets})


def _assignment(branch: Branch, boxes: Tensor, out: Outputs, targets: Mapping[str, Tensor]) -> Assignment:
    return assign(
        out[f"{branch.name}.class_logits"].detach().float().sigmoid(),
        boxes.detach(),
        out["anchors"],
        targets["boxes"],
        targets["classes"],
        targets["valid"],
        targets["crowd"],
        top_k=branch.top_k,
    )


def _branch_terms(
    branch: Branch, boxes: Tensor, out: Outputs, targets: Mapping[str, Tensor], assignment: Assignment
) -> dict[str, tuple[Tensor, Tensor]]:
    box_logits, class_logits = out[f"{branch.name}.box_logits"], out[f"{branch.name}.class_logits"].float()
    count = assignment.scores.sum()
    terms = {"class": (_class_loss(class_logits, targets["classes"], assignment), count)}
    return terms | _box_losses(box_logits, boxes, out["anchors"], targets["boxes"], assignment, count)


def _class_loss(class_logits: Tensor, classes: Tensor, assignment: Assignment) -> Tensor:
    """Binary cross entropy of (R, A, C) logits against the aligned scores, summed; ignored points left out."""
    wanted = torch.zeros_like(class_logits)
    row, point = assignment.positive.nonzero(as_tuple=True)
    wanted[row, point, classes[row, assignment.objects[row, point]]] = assignment.scores[row, point].to(wanted.dtype)
    loss = F.binary_cross_entropy_with_logits(class_logits, wanted, reduction="none")
    return (loss.sum(-1) * ~assignment.ignored).sum()


def _box_losses(
    box_logits: Tensor, boxes: Tensor, anchors: Tensor, target_boxes: Tensor, assignment: Assignment, count: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """CIoU and DFL over the positive points, each weighted by its target score."""
    row, point = assignment.positive.nonzero(as_tuple=True)
    weight = assignment.scores[row, point]
    wanted = target_boxes[row, assignment.objects[row, point]]
    loss_box = ((1 - box_ops.ciou(boxes[row, point], wanted)) * weight).sum()
    centre, stride = anchors[point, :2], anchors[point, 2:]
    distances = torch.cat((centre - wanted[:, :2], wanted[:, 2:] - centre), dim=-1) / stride
    logits = box_logits[row, point].unflatten(-1, (4, -1))
    loss_dfl = (distribution_focal_loss(logits, distances) * weight).sum()
    return {"box": (loss_box, count), "dfl": (loss_dfl, count)}
