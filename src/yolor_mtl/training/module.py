"""One joint step of all tasks, for Lightning: one forward, the tasks' losses, one optimiser."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from yolor_mtl.build import Model
from yolor_mtl.data.schedule import StepSampler
from yolor_mtl.records import Batch, Fault
from yolor_mtl.tasks.base import (
    EVALUATION,
    Metric,
    decode_all,
    fitness,
    merge_ranks,
    task_losses,
    total_loss,
    update_all,
)
from yolor_mtl.training.config import TrainConfig
from yolor_mtl.training.optim import adamw, set_rate
from yolor_mtl.training.plan import Plan, rate_factor


class DivergedError(Fault):
    """A loss is no longer a number. The message names the task and the term."""


class JointStep(pl.LightningModule):
    """Trains and validates a :class:`Model`.

    Args:
        model: network and tasks.
        config: the training's configuration.
        plan: how far the training has come.
    """

    def __init__(self, model: Model, config: TrainConfig, plan: Plan) -> None:
        super().__init__()
        self.network = model.network
        self.tasks = model.tasks
        self.config = config
        self.plan = plan
        self.warmup = min(config.warmup, plan.steps // 10)
        self.metrics: dict[str, Metric] = {}
        self.parts: Mapping[str, float] = {}
        self.scores: dict[str, float] = {}
        self.failures: dict[str, str] = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser; the rate is set step by step, since it may follow the clock."""
        text = [task.name for task in self.tasks if task.labels is not None and task.labels.view == "language"]
        return adamw(self.network, self.config, text)

    def epoch_of(self, step: int) -> int:
        """Number of the epoch, from 1, that a step ended in."""
        return max(1, -(-step * self.config.epochs // self.plan.steps))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Sets the learning rate, and makes the step's random choices a function of seed and step alone."""
        place = self.global_step * self.trainer.world_size + self.global_rank
        torch.manual_seed((self.config.seed * 1_000_003 + place) % 2**63)
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        progress = self.plan.progress(self.global_step)
        set_rate(optimizer.optimizer, rate_factor(self.global_step, progress, self.warmup, self.config.final_lr))

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the norm over all parameters.

        Ours, since Lightning refuses to clip for a fused optimiser; bfloat16 needs no loss scaling, so nothing is
        unscaled behind its back.
        """
        if self.config.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Scalar loss of a batch.

        Raises:
            DivergedError: a term is not finite.
        """
        self.failures.update(batch.failures)
        self.parts = {}
        if not len(batch.images):
            return None
        outputs = self.network(batch.images, rows=batch.rows, inputs=batch.targets)
        losses = task_losses(self.tasks, outputs, batch.targets)
        total, parts = total_loss(self.tasks, losses, self._mean_count)
        # All at once: on an accelerator each read of a single one would wait for the device.
        values = torch.stack([part.detach().float() for part in parts.values()]).tolist() if parts else []
        self.parts = dict(zip(parts, values, strict=True))
        for name, value in self.parts.items():
            if not math.isfinite(value):
                raise DivergedError(f"the loss {name} is {value} at step {self.global_step}")
        return total + self._untouched(set(outputs))

    def _mean_count(self, count: Tensor) -> Tensor:
        """A loss term's divisor: the mean over processes, since Lightning averages their gradients."""
        if self.trainer.world_size == 1:
            return count
        reduced = self.trainer.strategy.reduce(count.detach().clone(), reduce_op="mean")
        assert isinstance(reduced, Tensor)
        return reduced

    def _untouched(self, ran: set[str]) -> Tensor:
        """Zero, with a gradient of zero for heads without a labelled row in this batch, and the features they read."""
        idle = [head for name, head in self.network.heads.items() if name not in ran]
        parts = [*idle, self.network.trunk] if idle else []
        zero = torch.zeros((), device=self.device)
        return sum((0.0 * parameter.sum() for part in parts for parameter in part.parameters()), zero)

    def on_train_epoch_start(self) -> None:
        """Tells the sampler the epoch: Lightning only tells samplers of single pictures."""
        loader = self.trainer.train_dataloader
        if isinstance(sampler := getattr(loader, "batch_sampler", None), StepSampler):
            sampler.set_epoch(self.current_epoch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the time that was spent."""
        checkpoint["seconds"] = self.plan.elapsed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with the clock of the earlier run."""
        self.plan.start(checkpoint.get("seconds", 0.0))

    def on_validation_epoch_start(self) -> None:
        """Fresh metrics."""
        self.metrics = {task.name: task.metric() for task in self.tasks}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Answers of a batch into the metrics, in the pictures' own pixels."""
        self.failures.update(batch.failures)
        if not len(batch.images):
            return
        outputs = self.network(batch.images)
        frames = [frame for frame in batch.frames if frame is not None]
        # As in use: what comes after the network is computed in full precision.
        with torch.autocast(self.device.type, enabled=False):
            answers = decode_all(self.tasks, outputs, frames, EVALUATION)
        update_all(self.metrics, answers, batch.annotations)

    def on_validation_epoch_end(self) -> None:
        """Computes the scores over all processes; see :attr:`scores`."""
        merge_ranks(self.metrics)
        self.scores = {key: value for metric in self.metrics.values() for key, value in metric.compute().items()}
        self.scores |= fitness(self.metrics, self.scores)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves our own record."""
        return batch.to(device, non_blocking=True)
