"""Semantic loss, softmax or multi-label; unlabelled pixels are left out of both (PAPER, section 3, losses)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from yolor_mtl.records import IGNORE, LossOutput, Outputs
from yolor_mtl.tasks.base import Loss, output_name, term_name
from yolor_mtl.tasks.semantic.head import MapBranch


class BranchedLoss:
    """The same loss for each branch of the head.

    Args:
        loss: logits of one branch and the targets to terms.
        branches: the head's rows.
    """

    def __init__(self, loss: Loss, branches: Sequence[MapBranch]) -> None:
        self.loss = loss
        self.branches = tuple(branches)

    def __call__(
        self, out: Outputs, targets: Mapping[str, Tensor], used: Mapping[str, Mapping[str, Any]]
    ) -> LossOutput:
        """Raw outputs of R rows to the terms of all branches."""
        terms: dict[str, tuple[Tensor, Tensor]] = {}
        for branch in self.branches:
            found = self.loss({"logits": out[output_name(branch.name, "logits")]}, targets, used).terms
            terms |= {
                term_name(branch.name, name): (branch.weight * value, count) for name, (value, count) in found.items()
            }
        return LossOutput(terms)


class SoftmaxLoss:
    """One class a pixel. Term ``cross_entropy``; count: labelled pixels."""

    def __call__(
        self, out: Outputs, targets: Mapping[str, Tensor], used: Mapping[str, Mapping[str, Any]]
    ) -> LossOutput:
        """Logits of R rows against ``maps`` (R, 1, h, w) uint8."""
        wanted = targets["maps"][:, 0].long()
        value = F.cross_entropy(out["logits"].float(), wanted, ignore_index=IGNORE, reduction="sum")
        return LossOutput({"cross_entropy": (value, (wanted != IGNORE).sum().float())})


class MultilabelLoss:
    """Several classes may hold at a pixel, as in the released networks.

    Terms: ``focal`` (sigmoid focal, alpha 0.25, gamma 2; count: labelled pixels x classes) and ``dice`` (one minus the
    dice coefficient of the class probabilities over the whole batch, smoothed by 1; count: 1).
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0) -> None:
        self.alpha = alpha
        self.gamma = gamma

    def __call__(
        self, out: Outputs, targets: Mapping[str, Tensor], used: Mapping[str, Mapping[str, Any]]
    ) -> LossOutput:
        """Logits of R rows against ``maps`` (R, L, h, w) uint8: each layer's class holds at its pixels."""
        logits = out["logits"].float()
        wanted, known = multilabel_targets(targets["maps"], logits.shape[1])
        # Nothing of an unlabelled pixel may reach the loss: not its error, and not its share in the dice sums.
        # With the sign turned where the class holds, sigmoid(error) is what is missing to the truth and
        # softplus(error) the cross entropy: half the passes over (R, C, h, w) of the formula as it is printed.
        error = logits * (1 - 2 * wanted)
        balance = (1 - self.alpha) + (2 * self.alpha - 1) * wanted
        focal = (balance * error.sigmoid().pow(self.gamma) * F.softplus(error) * known).sum()
        shares = logits.softmax(1) * known
        overlap = (shares * wanted).sum()
        dice = 1 - (2 * overlap + 1) / (shares.sum() + (wanted * known).sum() + 1)
        return LossOutput(
            {
                "focal": (focal, known.sum() * logits.shape[1]),
                "dice": (dice, torch.ones_like(dice)),
            }
        )


def multilabel_targets(maps: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Layers of class indices as one map a class.

    Args:
        maps: (R, L, h, w) uint8; :data:`IGNORE` in any layer leaves the whole pixel unlabelled, since what that
            layer would have said of the other classes is not known.
        classes: C.

    Returns:
        (R, C, h, w) float of zeros and ones, and (R, 1, h, w) float, one where the pixel is labelled.
    """
    known = (maps != IGNORE).all(dim=1, keepdim=True)
    index = torch.where(known, maps, 0).long()
    wanted = torch.zeros(maps.shape[0], classes, *maps.shape[2:], device=maps.device)
    wanted.scatter_(1, index, 1.0)
    return wanted * known, known.float()
