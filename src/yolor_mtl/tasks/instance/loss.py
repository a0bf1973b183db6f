"""Mask loss: binary cross entropy of mixed prototypes inside the object's box (PAPER, section 3, losses)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from yolor_mtl.records import LossOutput, Outputs, UserError
from yolor_mtl.tasks.base import output_name, term_name
from yolor_mtl.tasks.instance.head import MaskBranch


class InstanceLoss:
    """Term ``mask``: summed over the points that detection assigned to an object with a mask; count: those points.

    Args:
        stride: pixels per cell of the prototypes.
        branches: the head's rows; all learn from the same assignment.
    """

    def __init__(self, stride: int, branches: Sequence[MaskBranch]) -> None:
        self.stride = stride
        self.branches = tuple(branches)

    def __call__(
        self, out: Outputs, targets: Mapping[str, Tensor], used: Mapping[str, Mapping[str, Any]]
    ) -> LossOutput:
        """Coefficients and prototypes of R rows to the mask term of each branch.

        Args:
            out: see :class:`InstanceHead`.
            targets: ``masks`` (M, h, w) uint8 in 0..stride^2 and ``mask_index`` (R, N) int64.
            used: ``detection`` with ``assignment`` and ``boxes`` (R, N, 4) over the same rows.

        Raises:
            UserError: the two tasks read other features or train on other views.
        """
        shared = used["detection"]
        objects = shared["assignment"].objects
        row, point = (objects >= 0).nonzero(as_tuple=True)
        number = objects[row, point]
        mask = targets["mask_index"][row, number]
        known = mask >= 0
        row, point, number, mask = row[known], point[known], number[known], mask[known]
        boxes = shared["boxes"][row, number] / self.stride
        terms: dict[str, tuple[Tensor, Tensor]] = {}
        for branch in self.branches:
            coefficients, proto = (out[output_name(branch.name, part)] for part in ("coefficients", "proto"))
            if coefficients.shape[:2] != objects.shape:
                raise UserError(
                    f"tasks.instance has {tuple(coefficients.shape[:2])} (rows, points), tasks.detection "
                    f"{tuple(objects.shape)}; give both the same features and the same view"
                )
            value = mask_loss(coefficients[row, point], proto, row, boxes, targets["masks"], mask, full=self.stride**2)
            # Touches both outputs even where no point has a mask, so that every parameter always gets a gradient.
            value = branch.weight * value + 0.0 * (coefficients.sum() + proto.sum())
            terms[term_name(branch.name, "mask")] = (value, value.new_tensor(float(len(row))))
        return LossOutput(terms)


def mask_loss(
    coefficients: Tensor, proto: Tensor, row: Tensor, boxes: Tensor, masks: Tensor, mask: Tensor, full: int = 1
) -> Tensor:
    """Sum over points of the mean cross entropy over the cells whose centres lie in each point's box.

    A box without a cell's centre adds nothing.

    Args:
        coefficients: (P, K).
        proto: (R, K, h, w).
        row: (P,) int64, ascending, the image of each point.
        boxes: (P, 4) ``xyxy`` of its object, in cells.
        masks: (M, h, w) uint8 targets in 0..full.
        mask: (P,) int64, each point's target.
        full: the target of a cell that the object covers whole.

    Returns:
        Scalar.
    """
    height, width = proto.shape[-2:]
    counts = torch.bincount(row, minlength=len(proto)).tolist()
    # One matrix product an image: cheap beside touching all (P, h, w) logits, so only those inside boxes go on.
    logits = torch.cat(
        [mine @ proto[i].flatten(1) for i, mine in enumerate(coefficients.split(counts)) if len(mine)]
        or [coefficients.new_zeros(0, height * width)]
    )
    ys = torch.arange(height, device=boxes.device) + 0.5
    xs = torch.arange(width, device=boxes.device) + 0.5
    in_rows = (ys >= boxes[:, None, 1]) & (ys < boxes[:, None, 3])
    in_columns = (xs >= boxes[:, None, 0]) & (xs < boxes[:, None, 2])
    inside = (in_rows[:, :, None] & in_columns[:, None, :]).flatten().nonzero()[:, 0]
    at = inside // (height * width)
    wanted = masks.flatten(1)[mask[at], inside % (height * width)]
    # index_select, since the gradient of indexing with a tensor sorts all places first on a GPU.
    chosen = logits.flatten().index_select(0, inside)
    loss = F.binary_cross_entropy_with_logits(chosen.float(), wanted.float() / full, reduction="none")
    cells = (in_rows.sum(1) * in_columns.sum(1)).clamp(min=1)
    return (loss / cells[at]).sum()
