"""Parts of a network that keep their weights: all of them while one head learns, or the trunk for some epochs."""

from __future__ import annotations

from collections.abc import Sequence

from yolor_mtl.config import nearest
from yolor_mtl.models.network import Network
from yolor_mtl.records import UserError
from yolor_mtl.tasks.base import Task

TRUNK = "trunk"


class Freezer:
    """Keeps the trunk or heads as they are, their batch norms' statistics too.

    Args:
        network: the network.
        tasks: its tasks.
        names: ``trunk`` or tasks with a head.
        epochs: how long, from the start; 0 for ever.

    Raises:
        UserError: there is no such part, or nothing is left that learns.
    """

    def __init__(self, network: Network, tasks: Sequence[Task], names: Sequence[str], epochs: int) -> None:
        known = {TRUNK: network.trunk, **network.heads}
        for name in names:
            if name not in known:
                raise UserError(f"freeze: no part {name!r}{nearest(name, known)}; there are: {', '.join(known)}")
        if known and set(names) >= set(known):
            raise UserError("freeze: nothing is left to train; leave a part out, or set freeze_epochs")
        self.parts = {name: known[name] for name in dict.fromkeys(names)}
        self.epochs, self.tasks = epochs, tasks
        self.active = False
        self.apply(0)

    def apply(self, epoch: int) -> None:
        """Freezes, or thaws, what an epoch (from 0) asks for; to be called once the modules are in training mode."""
        active = bool(self.parts) and (not self.epochs or epoch < self.epochs)
        if active or self.active:
            for part in self.parts.values():
                part.requires_grad_(not active)
                part.train(not active)
        self.active = active

    def trained(self) -> list[Task]:
        """Tasks with a loss whose heads learn now."""
        frozen = self.parts if self.active else {}
        return [task for task in self.tasks if task.loss is not None and task.name not in frozen]

    def consulted(self) -> list[Task]:
        """The trained tasks, and those whose assignment their losses use."""
        wanted = {task.name for task in self.trained()}
        wanted |= {name for task in self.trained() for name in task.uses}
        return [task for task in self.tasks if task.name in wanted]
