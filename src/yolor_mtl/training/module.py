"""One joint step of all tasks, for Lightning: one forward, the tasks' losses, one optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from yolor_mtl.build import Model
from yolor_mtl.data.schedule import StepSampler
from yolor_mtl.models.network import Gleaner
from yolor_mtl.ops.ranks import gather
from yolor_mtl.records import Batch, Fault, LossOutput, Outputs, UserError
from yolor_mtl.tasks import TASKS
from yolor_mtl.tasks.base import (
    EVALUATION,
    Metric,
    decode_all,
    fitness,
    merge_ranks,
    task_losses,
    task_totals,
    update_all,
)
from yolor_mtl.training.balance import Balance
from yolor_mtl.training.config import TrainConfig
from yolor_mtl.training.diverged import origin
from yolor_mtl.training.freeze import Freezer
from yolor_mtl.training.halves import Halving, Piece
from yolor_mtl.training.optim import OPTIMIZERS, set_rate
from yolor_mtl.training.plan import Plan, rate_factor

if TYPE_CHECKING:
    from yolor_mtl.training.surgery import Surgery


class DivergedError(Fault):
    """A loss is no longer a number. The message names the task, the term and the layer, or the weights.

    Args:
        message: what happened.
        batch: what the loss is of, where it is one batch.
        place: the batch's place in its epoch.
    """

    def __init__(self, message: str, batch: Batch | None = None, place: int = 0) -> None:
        super().__init__(message)
        self.batch, self.place = batch, place


class JointStep(pl.LightningModule):
    """Trains and validates a :class:`Model`.

    Args:
        model: network and tasks.
        config: the training's configuration.
        plan: how far the training has come.
        say: tells the user something.

    Raises:
        UserError: ``config.surgery`` needs a package that is not installed.
    """

    def __init__(
        self, model: Model, config: TrainConfig, plan: Plan, say: Callable[[str], object] = lambda text: None
    ) -> None:
        super().__init__()
        self.network = model.network
        self.tasks = model.tasks
        self.config = config
        self.plan = plan
        self.warmup = min(config.warmup, plan.steps // 10)
        self.freezer = Freezer(model.network, model.tasks, config.freeze, config.freeze_epochs)
        trained = [task.name for task in model.tasks if task.loss is not None]
        self.balance = Balance(trained) if config.balance == "uncertainty" else None
        self.surgery = make_surgery(config.surgery, model.network.trunk, self)
        self.metrics: dict[str, Metric] = {}
        self.parts: dict[str, float] = {}
        self._totals: Mapping[str, Tensor] = {}
        self._batches = 1
        labels = {task.name: task.labels for task in model.tasks if task.labels is not None}
        # Surgery keeps a whole pass until its end, so that halves would not need less.
        self.halving = Halving(labels, config.batch, config.accumulate, say, possible=self.surgery is None)
        self._further: list[Piece] = []
        self._at: tuple[Batch | None, int] = (None, 0)
        self.scores: dict[str, float] = {}
        self.failures: dict[str, str] = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser; the rate is set step by step, since it may follow the clock."""
        text = [task.name for task in self.tasks if task.name in TASKS and "vocabulary" in TASKS[task.name].needs]
        further = [] if self.balance is None else self.balance.parameters()
        return OPTIMIZERS[self.config.optimizer](self.network, self.config, text, further)

    def balance_weights(self) -> dict[str, float]:
        """The learnt weight of each task, under ``balance/<task>``; empty where they are fixed."""
        return {} if self.balance is None else self.balance.weights()

    def epoch_of(self, step: int) -> int:
        """Number of the epoch, from 1, that a step ended in."""
        return max(1, -(-step * self.config.epochs // self.plan.steps))

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch ends with a step; where the time is used up, the last validation comes in the middle."""
        return step * self.config.epochs % self.plan.steps == 0

    def batches_of_step(self, batch_idx: int) -> int:
        """How many batches make the step that a batch of the epoch belongs to: the last one has what is left."""
        each = self.config.accumulate
        return each if each == 1 else min(each, int(self.trainer.num_training_batches) - batch_idx // each * each)

    def ends_step(self, batch_idx: int) -> bool:
        """Whether a batch of the epoch is the last one of its step."""
        return batch_idx % self.config.accumulate + 1 == self.batches_of_step(batch_idx)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Sets the learning rate, and makes the batch's random choices a function of seed, step and batch alone."""
        place = self.global_step * self.config.accumulate + batch_idx % self.config.accumulate
        place = place * self.trainer.world_size + self.global_rank
        torch.manual_seed((self.config.seed * 1_000_003 + place) % 2**63)
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        progress = self.plan.progress(self.global_step)
        flat = self.config.flat if self.config.schedule == "flat-cosine" else 0.0
        set_rate(optimizer.optimizer, rate_factor(self.global_step, progress, self.warmup, self.config.final_lr, flat))

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """The gradients of a batch; with surgery those of each task, of which the trunk's wait for the step's end.

        Of a batch in halves the second one's as well, whose forward pass waited until the first one's memory was free.

        Raises:
            Fault: there is no memory, and nothing more to be done about it.
        """
        if self.surgery is not None:
            # The losses below are not the one that Lightning has divided by ``accumulate``.
            self.surgery.backward(self._totals, 1 / self._batches)
            self._totals = {}
            return
        try:
            super().backward(loss, *args, **kwargs)
            while self._further:
                super().backward(self._scaled(self._further.pop()), *args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            self.halving.begin(error, self.global_step, self.trainer.world_size)
        else:
            return
        # Lightning holds on to the pass that failed until its step is over; with zeros nothing is learnt from it.
        for parameter in self.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)

    def _scaled(self, piece: Piece) -> Tensor:
        """The loss of a further part of a batch, as Lightning hands it to :meth:`backward`."""
        plugin = self.trainer.precision_plugin
        with plugin.forward_context():
            loss = self._loss(piece) / self.config.accumulate
        scaler = getattr(plugin, "scaler", None)
        return loss if scaler is None else scaler.scale(loss)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """What surgery makes of the gradients, before they are clipped."""
        if self.surgery is not None:
            self.surgery.finish()

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the norm over all parameters of the network, and that over the balance's on its own.

        Ours, since Lightning refuses to clip for a fused optimiser: it leaves the scale of float16's gradients to the
        optimiser's own step. That step divides by the scale only where nobody has done so before.
        """
        if not self.config.clip:
            return
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        fused = getattr(optimizer, "_step_supports_amp_scaling", False)
        # Without a loss, the batch was unreadable, Lightning takes no step, and the scaler must not believe in one.
        if scaler is not None and fused and self._batches:
            scaler.unscale_(optimizer)
        # Apart: the gradient of a log variance is as large as its task's loss, and would shrink all others.
        for part in (self.network, self.balance):
            if part is not None:
                torch.nn.utils.clip_grad_norm_(part.parameters(), self.config.clip)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Scalar loss of a batch, or of its first half; ``None`` where nothing can be learnt from it.

        Raises:
            DivergedError: a term is not finite.
            Fault: there is no memory, and nothing more to be done about it.
        """
        self.failures.update(batch.failures)
        self.parts = {}
        self._batches, self._further, self._at = 0, [], (batch, batch_idx)
        # One of several processes takes part in the step even then: the others wait for its gradients.
        if not len(batch.images) and self.trainer.world_size == 1:
            return None
        self._batches = self.batches_of_step(batch_idx)
        first, *self._further = self.halving.pieces(batch)
        try:
            return self._loss(first)
        except (RuntimeError, MemoryError) as error:
            self.halving.begin(error, self.global_step, self.trainer.world_size)
        self.parts, self._batches = {}, 0
        return None

    def _loss(self, piece: Piece) -> Tensor:
        """Scalar loss of a batch or of a part of one, whose terms come on top of :attr:`parts`."""
        batch, shares = piece.batch, piece.shares
        consulted, trained = self.freezer.consulted(), self.freezer.trained()
        heads = [task.name for task in consulted if task.head is not None]
        outputs = self._outputs(batch, heads) if len(batch.images) else {}
        losses = task_losses(consulted, outputs, batch.targets)
        totals, parts = task_totals(trained, losses, self._divisors(losses))
        found = self._mean(numbers(parts))
        for name, value in found.items():
            if not math.isfinite(value):
                where = origin(self.network, lambda: self._outputs(batch, heads) if len(batch.images) else {})
                raise DivergedError(f"the loss {name} is {value} at step {self.global_step}; {where}", *self._at)
            share = shares.get(name.partition("/")[0], 1.0)
            self.parts[name] = self.parts.get(name, 0.0) + share * value
        if self.balance is not None:
            totals = self.balance(totals)
        totals = {name: total * shares[name] if name in shares else total for name, total in totals.items()}
        if self.surgery is not None:
            self._totals = totals
        loss = sum(totals.values(), torch.zeros((), device=self.device)) + self._untouched(set(outputs))
        # Lightning divides by ``accumulate``, in an epoch's last step too.
        return loss * (self.config.accumulate / self._batches) if self._batches != self.config.accumulate else loss

    def _outputs(self, batch: Batch, heads: list[str]) -> dict[str, Outputs]:
        """Raw outputs of heads; one whose reading is kept speaks without the rest of the network."""
        if not batch.gleaned:
            outputs: dict[str, Outputs] = self.network(batch.images, heads, rows=batch.rows, inputs=batch.targets)
            return outputs
        speakers = {name: self.network.heads[name] for name in heads if len(batch.rows[name])}
        return {
            name: head.tell(batch.gleaned[name], batch.targets[name])
            for name, head in speakers.items()
            if isinstance(head, Gleaner)
        }

    def _divisors(self, losses: Mapping[str, LossOutput]) -> dict[str, float] | None:
        """Divisors of loss terms: with several processes the mean of their counts, as their gradients are averaged."""
        world = self.trainer.world_size
        if world == 1:
            return None
        counts = {f"{task}/{term}": pair[1] for task, loss in losses.items() for term, pair in loss.terms.items()}
        return {name: max(mean, 1 / world) for name, mean in self._mean(numbers(counts)).items()}

    def _mean(self, own: dict[str, float]) -> dict[str, float]:
        """Means over all processes, by name: one without labels for a task lacks its terms, which counts as zero."""
        world = self.trainer.world_size
        if world == 1:
            return own
        every = gather(own)
        names = dict.fromkeys(name for each in every for name in each)
        return {name: sum(each.get(name, 0.0) for each in every) / world for name in names}

    def _untouched(self, ran: set[str]) -> Tensor:
        """Zero, with a gradient of zero for heads without a labelled row in this batch, and the features they read."""
        idle = [head for name, head in self.network.heads.items() if name not in ran]
        parts: list[nn.Module] = [*idle, self.network.trunk] if idle else []
        if idle and self.balance is not None:
            parts.append(self.balance)
        zero = torch.zeros((), device=self.device)
        return sum((0.0 * parameter.sum() for part in parts for parameter in part.parameters()), zero)

    def on_train_epoch_start(self) -> None:
        """Tells the sampler the epoch: Lightning only tells samplers of single pictures. Freezes and thaws."""
        self.freezer.apply(self.current_epoch)
        loader = self.trainer.train_dataloader
        if isinstance(sampler := getattr(loader, "batch_sampler", None), StepSampler):
            sampler.set_epoch(self.current_epoch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the time that was spent. Batches of a step that is not done yet count as not seen."""
        checkpoint["seconds"] = self.plan.elapsed
        if self.config.accumulate > 1:
            place = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            seen = place["current"]["processed"]
            half_done = seen % self.config.accumulate if seen < self.trainer.num_training_batches else 0
            for counts in (place["current"], place["total"]):
                counts.update({key: value - half_done for key, value in counts.items()})

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


def numbers(scalars: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars read all at once: on an accelerator each read of a single one would wait for the device."""
    values = torch.stack([scalar.detach().float() for scalar in scalars.values()]).tolist() if scalars else []
    return dict(zip(scalars, values, strict=True))


def make_surgery(name: str, trunk: nn.Module, whole: nn.Module) -> Surgery | None:
    """Surgery on the gradients of a trunk, ``None`` for ``none``.

    Args:
        name: a word of ``surgery=``.
        trunk: what the tasks share.
        whole: everything that is trained.

    Raises:
        UserError: a package is not installed.
    """
    if name == "none":
        return None
    shared = list(trunk.parameters())
    known = {id(parameter) for parameter in shared}
    own: Iterable[nn.Parameter] = [parameter for parameter in whole.parameters() if id(parameter) not in known]
    try:
        # Here, since the package is not needed otherwise.
        from yolor_mtl.training.surgery import Surgery

        return Surgery(name, shared, own)
    except ImportError as error:
        raise UserError(f"surgery={name}: {error}; pip install 'yolor-mtl[surgery]' brings what it needs") from error
