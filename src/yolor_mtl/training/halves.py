"""A batch in two halves, for a memory that is too small for the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from yolor_mtl.data.labels import Labels, by_row
from yolor_mtl.ops.faults import out_of_memory
from yolor_mtl.records import Batch, Fault


@dataclass(frozen=True)
class Piece:
    """A batch, or a part of one.

    Attributes:
        batch: its pictures and targets.
        shares: task -> its part of the task's rows in the whole batch; 1 where it is not named. Losses that are
            weighted so add up to that of the whole batch, as far as rows have the same number of labels.
    """

    batch: Batch
    shares: Mapping[str, float] = field(default_factory=dict)


class Halving:
    """Whole batches, until one is too large for the memory; from then on each in two halves.

    The gradients of the halves are added up: the same step, but for batch norm, which sees a half at a time.

    Args:
        labels: labels of the trained tasks, by task.
        batch: pictures of a whole batch, for what is told.
        accumulate: batches of a step, for what is told.
        say: tells the user that it has come to this.
        possible: whether halves need less memory than the whole.
    """

    def __init__(
        self,
        labels: Mapping[str, Labels],
        batch: int,
        accumulate: int,
        say: Callable[[str], object],
        *,
        possible: bool = True,
    ) -> None:
        self.labels, self.say, self.possible = labels, say, possible
        self.on = False
        self._size = f"batch={batch}"
        self._remedy = f"batch={max(1, batch // 2)} accumulate={2 * accumulate}, or a smaller imgsz=, needs less"

    def pieces(self, batch: Batch) -> list[Piece]:
        """A batch as it goes through the network, one piece after the other."""
        return halves(batch, self.labels) if self.on else [Piece(batch)]

    def begin(self, error: Exception, step: int, world: int) -> None:
        """Halves from now on, because of an error that is swallowed; what it cut short is left out.

        Args:
            error: what was raised.
            step: number of the step, to be told.
            world: number of processes, which wait for each other's gradients: alone one cannot do anything else.

        Raises:
            Exception: ``error``, where it is no want of memory.
            Fault: the batches are in halves already, or cannot be.
        """
        if not out_of_memory(error):
            raise error
        where = f"out of memory at step {step} with {self._size}"
        if self.on or world > 1 or not self.possible:
            raise Fault(f"{where}{' in halves' if self.on else ''}; {self._remedy}") from error
        self.on = True
        self.say(
            f"{where}: this one is left out, and from now on each goes through in two halves, whose gradients are "
            f"added up; {self._remedy}"
        )


def halves(batch: Batch, labels: Mapping[str, Labels]) -> list[Piece]:
    """Every other picture, so that both halves have pictures of each view; a single picture stays whole.

    Args:
        batch: a batch for training.
        labels: labels of the tasks in it.
    """
    if len(batch.images) < 2:
        return [Piece(batch)]
    return [_half(batch, labels, start) for start in (0, 1)]


def _half(batch: Batch, labels: Mapping[str, Labels], start: int) -> Piece:
    rows, targets, gleaned, shares = {}, {}, {}, {}
    for name, of_task in batch.rows.items():
        places = (of_task % 2 == start).nonzero()[:, 0]
        rows[name] = torch.div(of_task[places], 2, rounding_mode="floor")
        shares[name] = len(places) / max(1, len(of_task))
        targets[name] = labels[name].part(batch.targets[name], places) if len(places) else {}
        if name in batch.gleaned:
            gleaned[name] = by_row(batch.gleaned[name], places)
    return Piece(Batch(images=batch.images[start::2], rows=rows, targets=targets, gleaned=gleaned), shares)
