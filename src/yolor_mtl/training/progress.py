"""The progress bar: what is done, the tasks' losses, the pace and the time left."""

from __future__ import annotations

import resource
import sys
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from yolor_mtl.training.callbacks import task_sums
from yolor_mtl.training.module import JointStep

SMOOTH = 0.95
"""Share of the old value in a loss that is shown."""


class TrainingBar(ProgressBar):
    """One bar over the whole training on a terminal; a line an epoch elsewhere.

    Args:
        console: where it is drawn.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console
        self.losses: dict[str, float] = {}
        self._bar: Progress | None = None
        self._seen = 0

    def disable(self) -> None:
        """Lightning calls it on the other processes."""
        self.console = Console(quiet=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the bar."""
        columns = (TextColumn("[bold]{task.description}"), BarColumn(bar_width=24), TaskProgressColumn())
        self._bar = Progress(
            *columns, TextColumn("{task.fields[text]}"), console=self.console, disable=not self.console.is_terminal
        )
        self._bar.start()
        self._line = self._bar.add_task("training", total=1.0, text="")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar."""
        assert isinstance(pl_module, JointStep)
        self._seen += len(batch.images) * trainer.world_size
        for name, value in task_sums(pl_module.parts).items():
            self.losses[name] = SMOOTH * self.losses.get(name, value) + (1 - SMOOTH) * value
        if self._bar is not None:
            done = pl_module.plan.progress(trainer.global_step)
            self._bar.update(self._line, completed=done, text=self._text(trainer, pl_module))

    def _text(self, trainer: pl.Trainer, module: JointStep) -> str:
        pace = self._seen / max(1e-9, module.plan.elapsed)
        losses = " ".join(f"{name} {value:.2f}" for name, value in self.losses.items())
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        left = clock(module.plan.remaining(trainer.global_step))
        head = f"epoch {trainer.current_epoch + 1} | {losses}"
        return f"{head} | lr {rate:.1e} | {pace:.0f} img/s | {memory()} | {left} left"

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A line with the scores."""
        assert isinstance(pl_module, JointStep)
        scores = pl_module.scores
        shown = [
            f"{metric.headline} {scores[metric.headline]:.3f}"
            for metric in pl_module.metrics.values()
            if metric.headline in scores
        ]
        losses = " ".join(f"{name} {value:.2f}" for name, value in self.losses.items())
        left = clock(pl_module.plan.remaining(trainer.global_step))
        self.console.print(
            f"epoch {pl_module.epoch_of(trainer.global_step)}  {losses}  |  {'  '.join(shown)}  |  {left} left"
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Closes the bar."""
        self.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Closes the bar."""
        self.close()

    def close(self) -> None:
        """Gives the terminal back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def clock(seconds: float | None) -> str:
    """``1:02:03`` or ``2:03``; ``?`` where it is not known."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def memory() -> str:
    """Greatest memory so far: the GPU's where one is used, else this process's."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GB GPU"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak / (2**30 if sys.platform == 'darwin' else 2**20):.1f} GB"
