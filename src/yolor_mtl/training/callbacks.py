"""What happens around the steps: records, the best weights, the last state, and stopping in time."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from yolor_mtl.build import Model, save_model
from yolor_mtl.models.weights import BEST
from yolor_mtl.ops.processes import endings
from yolor_mtl.ops.ranks import rank_and_world
from yolor_mtl.training.average import MovingAverage
from yolor_mtl.training.checkpoint import KEPT, States
from yolor_mtl.training.diverged import without_number
from yolor_mtl.training.history import Row, Table
from yolor_mtl.training.module import DivergedError, JointStep


class StoppedError(BaseException):
    """A signal ends the training. Not an ``Exception``, so that nothing on the way takes it for a failure."""


def task_sums(parts: Mapping[str, float]) -> dict[str, float]:
    """Weighted loss terms ``task/term`` added up by task."""
    sums: dict[str, float] = {}
    for name, value in parts.items():
        task = name.partition("/")[0]
        sums[task] = sums.get(task, 0.0) + value
    return sums


class Recorder(Callback):
    """Keeps losses and metrics, writes them, and saves the best weights, and the state as often as it is told.

    Args:
        model: what is trained.
        out: the run's folder.
        metadata: further metadata of the weights.
        average: the averaged weights, which are those that were validated.
        resumed: the state of an earlier run to go on from, with its records.
        save_every: minutes between two states inside an epoch; 0 for none.
        keep_every: epochs between two weights that are kept beside the best ones; 0 for none.
        interval: steps between two rows of ``losses.csv``.
    """

    def __init__(
        self,
        model: Model,
        out: Path,
        metadata: dict[str, str],
        average: MovingAverage | None,
        resumed: Path | None = None,
        save_every: float = 0.0,
        keep_every: int = 0,
        interval: int = 5,
    ) -> None:
        self.model, self.out, self.metadata, self.average, self.interval = model, out, metadata, average, interval
        self.states, self.save_every, self.keep_every = States(out, resumed), save_every, keep_every
        self.losses = Table(out / "losses.csv", resumed is not None)
        self.metrics = Table(out / "metrics.csv", resumed is not None)
        self.best = max((row["fitness"] for row in self.metrics.rows if "fitness" in row), default=-1.0)
        self._sums: Row = {}
        self._steps: dict[str, int] = {}
        self._step: dict[str, list[float]] = {}
        self.validated_step = -1
        self._saved = time.monotonic()
        # Asked now: after the training the environment no longer says it.
        self._first = rank_and_world()[0] == 0

    def state_dict(self) -> dict[str, Any]:
        """What a state keeps of the records: the tables are rounded, and hold no sums."""
        return {"best": self.best, "sums": dict(self._sums), "steps": dict(self._steps)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where the state was kept; validations after it do not count."""
        self.best, self._sums, self._steps = state_dict["best"], dict(state_dict["sums"]), dict(state_dict["steps"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drops what a resumed run had written after its last state: those steps are done again."""
        for table in (self.losses, self.metrics):
            table.rows = [row for row in table.rows if row["step"] <= trainer.global_step]
        if any(row["step"] == trainer.global_step for row in self.metrics.rows):
            self.validated_step = trainer.global_step
        self._saved = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds the batch's loss terms; a task without labels in this batch has no row in the mean. Saves in time."""
        assert isinstance(pl_module, JointStep)
        for name, value in pl_module.parts.items():
            self._step.setdefault(name, []).append(value)
        if not pl_module.ends_step(batch_idx):
            return
        for name, values in self._step.items():
            self._sums[name] = self._sums.get(name, 0.0) + sum(values)
            self._steps[name] = self._steps.get(name, 0) + len(values)
        parts = {name: sum(values) / len(values) for name, values in self._step.items()}
        self._step = {}
        if trainer.global_step % self.interval == 0 or not self.losses.rows:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            moment = {"step": trainer.global_step, "seconds": round(pl_module.plan.elapsed, 2), "lr": rate}
            self.losses.add({**moment, **task_sums(parts)})
            logged = {f"train/{name}": value for name, value in {**parts, "lr": rate}.items()}
            for name, value in {**logged, **pl_module.balance_weights()}.items():
                pl_module.log(name, value)
        if self._due(trainer, batch_idx):
            self.save_state(trainer)

    def _due(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        """Whether the last state is so old that there must be one inside the epoch."""
        # Not after an epoch's last step: who went on from there would leave out its validation.
        if not self.save_every or batch_idx + 1 >= trainer.num_training_batches:
            return False
        late = time.monotonic() - self._saved >= 60 * self.save_every
        if trainer.world_size > 1:
            # All processes save together; to ask the others takes time, so it is not done at every step.
            asked = trainer.global_step % self.interval == 0
            late = asked and bool(trainer.strategy.reduce_boolean_decision(late, all=False))
        return late

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A row of ``metrics.csv``, and the best weights so far."""
        assert isinstance(pl_module, JointStep)
        self.validated_step = trainer.global_step
        means = {f"loss/{name}": self._sums[name] / self._steps[name] for name in self._sums}
        self._sums, self._steps = {}, {}
        scores = pl_module.scores
        if trainer.logger is not None:
            trainer.logger.log_metrics(scores, trainer.global_step)
        if not trainer.is_global_zero:
            return
        moment = {"epoch": pl_module.epoch_of(trainer.global_step), "step": trainer.global_step}
        clock = {"seconds": round(pl_module.plan.elapsed, 2)}
        self.metrics.add({**moment, **clock, **scores, **means, **pl_module.balance_weights()})
        self.write()
        fitness, epoch = scores.get("fitness", 0.0), moment["epoch"]
        due = bool(self.keep_every) and epoch % self.keep_every == 0 and pl_module.ends_epoch(trainer.global_step)
        names = [KEPT.format(f"{epoch:04d}")] if due else []
        if fitness > self.best or not (self.out / BEST).is_file():
            self.best = max(fitness, self.best)
            names.append(BEST)
        if not names:
            return
        weights = pl_module.state_dict() if self.average is None else self.average.averaged_state()
        inside = "network."  # the balance of the tasks is training's own
        state = {name.removeprefix(inside): tensor for name, tensor in weights.items() if name.startswith(inside)}
        for name in names:
            save_model(self.model, self.out / name, state, {**self.metadata, "fitness": f"{fitness:.6f}"})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last state, after every epoch.

        Raises:
            DivergedError: weights are no longer numbers; the state before is kept.
        """
        if not self.save_state(trainer):
            raise DivergedError(f"{without_number(pl_module)} is no longer finite after step {trainer.global_step}")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """The state before a loss that is no number, or before whatever else went wrong in a lone process."""
        if isinstance(exception, DivergedError):
            self.save_state(trainer)
        elif isinstance(exception, Exception) and trainer.world_size == 1 and trainer.global_step:
            # Where this fails too, on a full disk for one, it is the first error that is told.
            with suppress(Exception):
                self.save_state(trainer)

    def save_state(self, trainer: pl.Trainer) -> bool:
        """Writes the records and ``last.ckpt``, whole or not at all; nothing where weights are no longer numbers.

        Returns:
            Whether it was written.
        """
        if without_number(trainer.lightning_module):
            return False
        # First: rows that are newer than a state are dropped when the run goes on, missing ones are never made.
        self.write()
        self.states.save(trainer)
        self._saved = time.monotonic()
        return True

    def write(self) -> None:
        """Writes both tables; the first process alone, since no other one knows all validations."""
        if not self._first:
            return
        if self.losses.rows:
            self.losses.write()
        if self.metrics.rows:
            self.metrics.write()


class Stopper(Callback):
    """Ends the training between two steps: on a signal, when the time is used up, or when too much cannot be read.

    Args:
        save: keeps the state where the training ends before its time.
        unreadable: greatest number of pictures that may have been unreadable.
    """

    def __init__(self, save: Callable[[pl.Trainer], object], unreadable: float = math.inf) -> None:
        self.save, self.unreadable = save, unreadable
        self.signal: int | None = None
        self.fault = ""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Asks Lightning to stop; on a signal without a last validation, which could take minutes.

        Only where a step ends: no state holds the gradients of half a step.

        Raises:
            StoppedError: on a signal or after too many failures, with the state saved.
        """
        assert isinstance(pl_module, JointStep)
        if not pl_module.ends_step(batch_idx):
            return
        if len(pl_module.failures) > self.unreadable:
            path, reason = next(iter(pl_module.failures.items()))
            self.fault = f"{len(pl_module.failures)} pictures could not be read, such as {path}: {reason}"
        stops = bool(self.fault) or self.signal is not None
        if trainer.world_size > 1:
            # Where one of several processes has a reason all of them stop after this step: they save together.
            stops = bool(trainer.strategy.reduce_boolean_decision(stops, all=False))
        if stops:
            self.signal = self.signal or signal.SIGTERM
            self.save(trainer)
            raise StoppedError
        if pl_module.plan.over(trainer.global_step):
            trainer.should_stop = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes SIGTERM back from Lightning, which would end with exit code 0."""
        signal.signal(signal.SIGTERM, self._remember)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Takes SIGCHLD back from torch, whose handler raises in the middle of a step or of the saving of a state.

        That a loading process is gone is noticed without it where the next batch is waited for, between two steps.
        """
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise StoppedError
        self.signal = self.signal or number

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While it lasts, the first signal is remembered, see :func:`endings`; a second Ctrl-C interrupts at once."""
        before = {number: signal.signal(number, self._remember) for number in (signal.SIGINT, *endings())}
        before[signal.SIGCHLD] = signal.getsignal(signal.SIGCHLD)
        try:
            yield
        finally:
            for number, handler in before.items():
                # None is one that was not set from Python, which cannot be put back.
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
