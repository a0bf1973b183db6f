"""Weights of the tasks that are learnt with the network, from each task's own uncertainty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class Balance(nn.Module):
    """The uncertainty of each task as its weight: Kendall, Gal and Cipolla, arXiv 1705.07115.

    Their equation 7, for losses L and noises sigma: the sum of L / (2 sigma^2) + log sigma. With s = log sigma^2,
    which the paper learns because nothing is divided by it, and times two, which moves no minimum::

        total = sum over the tasks of exp(-s) * L + s

    For a classification, equation 10 has no half before its loss. Most of our tasks' losses are sums of regressions and
    classifications with weights of their own, so all have the one form, and a factor of two becomes a part of those
    weights. All s begin at zero, where the total is the sum of the losses, and each is at rest where exp(s) is
    its task's loss. A constant factor on a task's loss is learnt away; the weights between its terms stay.

    Args:
        tasks: names of the tasks that have a loss.
    """

    def __init__(self, tasks: Iterable[str]) -> None:
        super().__init__()
        self.log_variance = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in tasks})

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scalar losses of the tasks that are in a batch to their shares of the total."""
        return {
            task: torch.exp(-self.log_variance[task]) * loss + self.log_variance[task] for task, loss in losses.items()
        }

    def weights(self) -> dict[str, float]:
        """exp(-s), which each task's loss is multiplied by, under ``balance/<task>``."""
        return {f"balance/{task}": torch.exp(-value.detach()).item() for task, value in self.log_variance.items()}
