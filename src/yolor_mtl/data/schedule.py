"""Which pictures each step sees: a function of (seed, epoch, step) alone, whatever the number of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from yolor_mtl.data.shards.order import mixed
from yolor_mtl.records import View

VIEWS: tuple[View, View] = ("vision", "language")


@dataclass(frozen=True)
class Draw:
    """One picture of one step.

    Attributes:
        index: position in the data set.
        view: the augmentation it goes through.
        seed: seeds every random choice of its augmentation.
        calm: without mosaic and mixup, as at the end of a training.
    """

    index: int
    view: View
    seed: tuple[int, ...]
    calm: bool = False


class Schedule:
    """Splits every batch between the views and walks each view's own shuffled pictures.

    An epoch is one pass over the vision pictures (over the language pictures where there are no others); the first of
    them fill its last step up. The language pictures go round at their own pace, and go on where the last epoch left
    them.

    Args:
        pools: positions in the data set of each view's pictures.
        batch: pictures of a step in one process.
        share: the language view's part of a batch, where both views have pictures.
        seed: of the shuffling and of the augmentation.
        rank: this process.
        world: number of processes.
        groups: number of each picture's shard by position in the data set; only a few shards are mixed at any time
            then. ``None`` mixes all pictures.
    """

    def __init__(
        self,
        pools: dict[View, np.ndarray],
        batch: int,
        *,
        share: float = 0.25,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        groups: np.ndarray | None = None,
    ) -> None:
        self.pools = {view: pools[view] for view in VIEWS if len(pools.get(view, ()))}
        self.rows = _split(batch, share, tuple(self.pools))
        self.seed, self.rank, self.world = seed, rank, world
        self.leading = next((view for view in VIEWS if self.rows.get(view)), None)
        size = 0 if self.leading is None else self.rows[self.leading] * world
        self.steps = 0 if self.leading is None else -(-len(self.pools[self.leading]) // size)
        self._groups = groups
        self._orders: dict[tuple[View, int], np.ndarray] = {}

    def step(self, epoch: int, step: int, calm: bool = False) -> list[Draw]:
        """This process's pictures of one step."""
        draws = []
        for view, rows in self.rows.items():
            start = ((epoch * self.steps + step) * self.world + self.rank) * rows
            for place in range(start, start + rows):
                index = self._index(view, epoch, place)
                draws.append(Draw(index, view, (self.seed, VIEWS.index(view), place), calm))
        return draws

    def _index(self, view: View, epoch: int, place: int) -> int:
        """The picture at a place of the whole training's row of a view's pictures."""
        pool = self.pools[view]
        cycle, offset = divmod(place, len(pool))
        if view == self.leading:
            # Afresh every epoch: filling the last step up must not cost the next epoch a picture.
            cycle, offset = epoch, (place - epoch * self.steps * self.world * self.rows[view]) % len(pool)
        return int(pool[self._order(view, cycle)[offset]])

    def _order(self, view: View, cycle: int) -> np.ndarray:
        """The shuffled order of one pass; the last ones used are kept."""
        key = (view, cycle)
        if key not in self._orders:
            rng = np.random.default_rng((self.seed, 7, VIEWS.index(view), cycle))
            self._orders = {k: v for k, v in self._orders.items() if k[1] >= cycle - 1 or k[0] != view}
            pool = self.pools[view]
            self._orders[key] = rng.permutation(len(pool)) if self._groups is None else mixed(self._groups[pool], rng)
        return self._orders[key]


def _split(batch: int, share: float, views: Sequence[View]) -> dict[View, int]:
    """Rows of each view in a batch; at least one each where both are there."""
    if len(views) < 2 or batch < 2:
        return dict.fromkeys(views[:1], batch)
    language = min(batch - 1, max(1, round(batch * share)))
    return {"vision": batch - language, "language": language}


class StepSampler(Sampler[list[Draw]]):
    """Feeds a loader with the draws of an epoch, from any step on.

    Args:
        schedule: the schedule.
        calm: (epoch, step) -> whether mosaic and mixup rest.
    """

    def __init__(self, schedule: Schedule, calm: Callable[[int, int], bool] = lambda epoch, step: False) -> None:
        self.schedule = schedule
        self.calm = calm
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch; another one than the last begins at its first step."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def __len__(self) -> int:
        """Steps of a whole epoch: a training that goes on inside one counts those it has already made."""
        return self.schedule.steps

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in range(self.start, self.schedule.steps):
            yield self.schedule.step(self.epoch, step, self.calm(self.epoch, step))
