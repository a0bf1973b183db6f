"""What happens around the steps: records, the best weights, the last state, and stopping in time."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from yolor_mtl.build import Model, save_model
from yolor_mtl.ops.files import write_atomic
from yolor_mtl.training.average import MovingAverage
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
    """Keeps losses and metrics, writes them, and saves weights and state at every validation.

    Args:
        model: what is trained.
        out: the run's folder.
        metadata: further metadata of the weights.
        average: the averaged weights, which are those that were validated.
        resume: go on with an earlier run's records.
        interval: steps between two rows of ``losses.csv``.
    """

    def __init__(
        self,
        model: Model,
        out: Path,
        metadata: dict[str, str],
        average: MovingAverage | None,
        resume: bool,
        interval: int = 5,
    ) -> None:
        self.model, self.out, self.metadata, self.average, self.interval = model, out, metadata, average, interval
        self.losses = Table(out / "losses.csv", resume)
        self.metrics = Table(out / "metrics.csv", resume)
        self.best = max((row["fitness"] for row in self.metrics.rows if "fitness" in row), default=-1.0)
        self._sums: Row = {}
        self._steps: dict[str, int] = {}
        self._step: dict[str, list[float]] = {}
        self.validated_step = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drops what a resumed run had written after its last state: those steps are done again."""
        for table in (self.losses, self.metrics):
            table.rows = [row for row in table.rows if row["step"] <= trainer.global_step]
        if any(row["step"] == trainer.global_step for row in self.metrics.rows):
            self.validated_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds the batch's loss terms; a task without labels in this batch has no row in the mean."""
        assert isinstance(pl_module, JointStep)
        for name, value in pl_module.parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._steps[name] = self._steps.get(name, 0) + 1
            self._step.setdefault(name, []).append(value)
        if not pl_module.ends_step(batch_idx):
            return
        parts = {name: sum(values) / len(values) for name, values in self._step.items()}
        self._step = {}
        if trainer.global_step % self.interval == 0 or not self.losses.rows:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            moment = {"step": trainer.global_step, "seconds": round(pl_module.plan.elapsed, 2), "lr": rate}
            self.losses.add({**moment, **task_sums(parts)})
            logged = {f"train/{name}": value for name, value in {**parts, "lr": rate}.items()}
            for name, value in {**logged, **pl_module.balance_weights()}.items():
                pl_module.log(name, value)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A row of ``metrics.csv``, the best weights so far, and the last state."""
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
        fitness = scores.get("fitness", 0.0)
        if fitness > self.best or not (self.out / "best.safetensors").is_file():
            self.best = max(fitness, self.best)
            weights = pl_module.state_dict() if self.average is None else self.average.averaged_state()
            inside = "network."  # the balance of the tasks is training's own
            state = {name.removeprefix(inside): tensor for name, tensor in weights.items() if name.startswith(inside)}
            save_model(self.model, self.out / "best.safetensors", state, {**self.metadata, "fitness": f"{fitness:.6f}"})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last state, after every epoch."""
        self.save_state(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """The state before a loss that is no number, as long as the weights still are numbers."""
        sound = all(bool(parameter.isfinite().all()) for parameter in pl_module.parameters())
        if isinstance(exception, DivergedError) and sound:
            self.save_state(trainer)

    def save_state(self, trainer: pl.Trainer) -> None:
        """Writes ``last.ckpt`` (whole or not at all) and the records."""
        path = self.out / "last.ckpt"
        if trainer.world_size == 1:
            write_atomic(path, trainer.save_checkpoint)
        else:
            # Every process must take part, and only the first one writes: Lightning picks the file.
            trainer.save_checkpoint(path)
        self.write()

    def write(self) -> None:
        """Writes both tables."""
        if self.losses.rows:
            self.losses.write()
        if self.metrics.rows:
            self.metrics.write()


class Stopper(Callback):
    """Ends the training between two steps: on a signal, or when the time is used up.

    Args:
        save: keeps the state when a signal ends the training.
    """

    def __init__(self, save: Callable[[pl.Trainer], None]) -> None:
        self.save = save
        self.signal: int | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Asks Lightning to stop; on a signal without a last validation, which could take minutes.

        Only where a step ends: no state holds the gradients of half a step.

        Raises:
            StoppedError: on a signal, with the state saved.
        """
        assert isinstance(pl_module, JointStep)
        if not pl_module.ends_step(batch_idx):
            return
        if self.signal is not None:
            self.save(trainer)
            raise StoppedError
        if pl_module.plan.over(trainer.global_step):
            trainer.should_stop = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes SIGTERM back from Lightning, which would end with exit code 0."""
        signal.signal(signal.SIGTERM, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise StoppedError
        self.signal = number

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While it lasts, the first Ctrl-C or SIGTERM is remembered; a second Ctrl-C interrupts at once."""
        before = {number: signal.signal(number, self._remember) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
