"""Gradient surgery: one gradient for the shared trunk out of the tasks' own, which may contradict each other.

Needs ``torchjd``; import this module only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations

import torch
from torch import Tensor, nn
from torchjd.aggregation import IMTLG, MGDA, Aggregator, AlignedMTL, CAGrad, PCGrad, UPGrad
from torchjd.linalg import DualConeProjector, PSDMatrix


class ActiveSets(DualConeProjector):
    """UPGrad's quadratic programs, solved by trying every set of active bounds: exact, and quick for a few tasks.

    Torchjd's own projector needs the package ``quadprog``, whose licence is the GPL.

    Args:
        ridge: added to the diagonal of the gramian, whose mean is one: parallel gradients make it singular.
    """

    def __init__(self, ridge: float = 1e-6) -> None:
        self.ridge = ridge

    def __call__(self, U: Tensor, G: PSDMatrix) -> Tensor:
        """For each u the v that makes v' G v least under v >= u: proposition 1 of arXiv 2406.16232.

        Args:
            U: (..., M) weights of the vectors to project.
            G: (M, M) gramian of the tasks' gradients.

        Returns:
            (..., M) weights of the projections.
        """
        gramian = G.detach().double().cpu()
        size = len(gramian)
        scale = gramian.diagonal().mean().clamp(min=torch.finfo(torch.float64).tiny)
        gramian = gramian / scale + self.ridge * torch.eye(size, dtype=torch.float64)
        bounds = U.detach().double().cpu().reshape(-1, size)
        solved = torch.stack([_least(gramian, bound) for bound in bounds])
        return solved.reshape(U.shape).to(U)


def _least(gramian: Tensor, bound: Tensor) -> Tensor:
    """(M,) v >= ``bound`` with the least v' G v, at which some entries lie on their bound and the others are free."""
    size = len(bound)
    best, least = bound, bound @ gramian @ bound
    for count in range(1, size):
        for free in map(list, combinations(range(size), count)):
            rest = [index for index in range(size) if index not in free]
            found = bound.clone()
            found[free] = torch.linalg.solve(gramian[free][:, free], -gramian[free][:, rest] @ bound[rest])
            value = found @ gramian @ found
            if bool((found[free] >= bound[free]).all()) and value < least:
                best, least = found, value
    return best


AGGREGATORS: Mapping[str, tuple[Callable[[], Aggregator], bool]] = {
    "pcgrad": (PCGrad, True),
    "cagrad": (lambda: CAGrad(c=0.5), False),
    "upgrad": (lambda: UPGrad(projector=ActiveSets()), False),
    "mgda": (MGDA, False),
    "aligned-mtl": (AlignedMTL, False),
    "imtl-g": (IMTLG, False),
}
"""Name -> what makes torchjd's aggregator, and whether that answers with a sum of the tasks' gradients.

PCGrad is arXiv 2001.06782, CAGrad 2110.14048 with its c of 0.5, UPGrad 2406.16232, MGDA 1810.04650 (algorithm 2),
Aligned-MTL 2305.19000, and IMTL-G is of "Towards Impartial Multi-task Learning" (ICLR 2021).
"""


class Surgery:
    """Collects the gradients of a step, task by task, and leaves one for each parameter.

    What tasks share gets the aggregation of their gradients, each over all batches of the step; everything else gets
    the sum of its gradients. Torchjd's ``mtl_backward`` is not used: it takes the features of the trunk for independent
    of each other, and counts twice what flows through one into another (a head that reads both ``c3`` and ``p3``).
    Only its aggregators are.

    Args:
        name: a key of :data:`AGGREGATORS`.
        shared: parameters that all tasks share.
        own: all others.

    Raises:
        ImportError: the aggregator needs a package that is not here; the message names it.
    """

    def __init__(self, name: str, shared: Iterable[nn.Parameter], own: Iterable[nn.Parameter]) -> None:
        make, self.sums = AGGREGATORS[name]
        self.aggregator = make()
        self.shared = [parameter for parameter in shared if parameter.requires_grad]
        self.own = [parameter for parameter in own if parameter.requires_grad]
        self._rows: dict[str, Tensor] = {}

    def backward(self, losses: Mapping[str, Tensor], factor: float = 1.0) -> None:
        """Adds the gradients of a batch.

        Args:
            losses: scalar loss of each task that is in the batch, all from one forward.
            factor: of every loss; one over the number of batches in a step makes their mean.
        """
        parameters = [*self.shared, *self.own]
        for parameter in parameters:
            if parameter.grad is None:
                # As without surgery: what no task reaches has a gradient of zero.
                parameter.grad = torch.zeros_like(parameter)
        count = len(self.shared)
        for task, loss in losses.items():
            if not loss.requires_grad:
                continue
            # The tasks share the graph of the trunk; it goes with the last reference to the losses.
            found = torch.autograd.grad(loss * factor, parameters, retain_graph=True, allow_unused=True)
            if any(gradient is not None for gradient in found[:count]):
                row = torch.cat([_flat(*pair) for pair in zip(found[:count], self.shared, strict=True)])
                self._rows[task] = self._rows[task].add_(row) if task in self._rows else row
            for parameter, gradient in zip(self.own, found[count:], strict=True):
                if gradient is not None and parameter.grad is not None:
                    parameter.grad.add_(gradient)

    def finish(self) -> None:
        """Gives the shared parameters their gradient, before it is clipped and the optimiser steps."""
        if not self._rows:
            return
        rows, self._rows = list(self._rows.values()), {}
        combined = self.combine(torch.stack(rows))
        parts = combined.split([parameter.numel() for parameter in self.shared])
        for parameter, part in zip(self.shared, parts, strict=True):
            # In the parameter's own memory layout, which fused optimisers take for granted.
            parameter.grad = torch.empty_like(parameter).copy_(part.view(parameter.shape))

    def combine(self, jacobian: Tensor) -> Tensor:
        """The gradients of T tasks as one.

        In the scale of their sum, as the heads' gradients are: what an aggregator averages is multiplied by T.

        Args:
            jacobian: (T, N), a row a task.

        Returns:
            (N,).
        """
        if len(jacobian) == 1:
            return jacobian[0]
        combined: Tensor = self.aggregator(jacobian)
        return combined if self.sums else combined * len(jacobian)


def _flat(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    return parameter.new_zeros(parameter.numel()) if gradient is None else gradient.reshape(-1)
