"""How much the tasks' gradients agree, stage by stage of the trunk: the measure of shared or conflicting semantics."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from yolor_mtl.build import Model
from yolor_mtl.data.augment import weak
from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.data.image import UnreadableImageError
from yolor_mtl.data.labels import Labels, trainable
from yolor_mtl.data.loader import Collate, Entry, load_sample
from yolor_mtl.data.pipeline import Pipeline
from yolor_mtl.models.gelan import Gelan
from yolor_mtl.models.network import Network
from yolor_mtl.models.trunks.gyolo import FINE
from yolor_mtl.ops.processes import live_and_die_with_the_parent
from yolor_mtl.records import Batch, View
from yolor_mtl.tasks.base import Task, task_losses, task_totals

WHOLE = "trunk"
"""Name of the row that stands for all stages together."""

PLACES: Mapping[str, str] = {
    "backbone.stem": "stem",
    **{f"backbone.stages.{index}": f"c{index + 2}" for index in range(4)},
    **{f"backbone.downs.{index}": f"c{index + 3}" for index in range(3)},
    **dict.fromkeys(("pool", "neck.pool"), "pool"),
    **dict.fromkeys(("neck.reduce_5", "neck.lateral_4", "neck.top_4"), "n4"),
    **dict.fromkeys(("neck.reduce_4", "neck.lateral_3", "neck.top_3", "neck.out.p3"), "p3"),
    **dict.fromkeys(("neck.down_3", "neck.bottom_4", "neck.out.p4"), "p4"),
    **dict.fromkeys(("neck.down_4", "neck.bottom_5", "neck.out.p5"), "p5"),
    **{f"fine.{name}": name for name in FINE},
}
"""Path of a module in a trunk -> the stage it belongs to, named after the map that it makes, from input to output.

``n4`` is the neck's map at stride 16 on the way down, which all of p3, p4 and p5 are made of.
"""


@dataclass(frozen=True)
class Agreement:
    """Cosines of two tasks' gradients in one stage.

    Attributes:
        mean: over the batches, in -1..1.
        deviation: between batches, the sample's standard deviation; ``None`` for a single batch.
        negative: share of the batches with a cosine below 0, in which a step for one task undoes the other's.
        batches: in which both tasks have a gradient there.
    """

    mean: float
    deviation: float | None
    negative: float
    batches: int

    @property
    def error(self) -> float | None:
        """The mean's standard error."""
        return None if self.deviation is None else self.deviation / math.sqrt(self.batches)

    @property
    def clear(self) -> bool:
        """Whether the mean is more than two standard errors from 0."""
        return self.error is not None and abs(self.mean) > 2 * self.error


@dataclass(frozen=True)
class Cosines:
    """What :func:`gradient_cosines` found, of T tasks in S stages.

    Attributes:
        tasks: T names, of the tasks that had a gradient in any batch.
        stages: S names from input to output; the last one is :data:`WHOLE`.
        cosines: (batches, S, T, T) float64, NaN where one of the two has no gradient.
        norms: (batches, S, T) float64 Euclidean norms of the gradients, NaN where there is none.
    """

    tasks: tuple[str, ...]
    stages: tuple[str, ...]
    cosines: np.ndarray
    norms: np.ndarray

    @classmethod
    def of(cls, tasks: Sequence[str], stages: Sequence[str], products: np.ndarray) -> Cosines:
        """From dot products (batches, S - 1, T, T) of gradients in the stages but :data:`WHOLE`, 0 for no gradient."""
        products = np.concatenate((products, products.sum(1, keepdims=True)), axis=1)
        norms = np.sqrt(np.diagonal(products, axis1=2, axis2=3))
        scale = norms[..., :, None] * norms[..., None, :]
        cosines = np.divide(products, scale, out=np.full_like(products, np.nan), where=scale > 0).clip(-1, 1)
        norms = np.where(norms > 0, norms, np.nan)
        there = np.asarray(np.isfinite(norms).any(axis=(0, 1)))
        return cls(
            tuple(name for name, found in zip(tasks, there, strict=True) if found),
            (*stages, WHOLE),
            cosines[:, :, there][:, :, :, there],
            norms[:, :, there],
        )

    def pairs(self) -> list[tuple[str, str]]:
        """Each two tasks once."""
        return list(combinations(self.tasks, 2))

    def between(self, stage: str, first: str, second: str) -> Agreement | None:
        """Of two tasks in a stage; ``None`` where no batch gives both a gradient."""
        values = self.cosines[:, self.stages.index(stage), self.tasks.index(first), self.tasks.index(second)]
        values = values[np.isfinite(values)]
        if not len(values):
            return None
        deviation = float(values.std(ddof=1)) if len(values) > 1 else None
        return Agreement(float(values.mean()), deviation, float((values < 0).mean()), len(values))

    def norm(self, stage: str, task: str) -> float | None:
        """Mean norm of a task's gradient in a stage; ``None`` where it has none."""
        values = self.norms[:, self.stages.index(stage), self.tasks.index(task)]
        values = values[np.isfinite(values)]
        return float(values.mean()) if len(values) else None

    def means(self, stage: str) -> np.ndarray:
        """(T, T) mean cosines of a stage, NaN where there is none."""
        return np.array([[np.nan if each is None else each.mean for each in row] for row in self._table(stage)])

    def clear(self, stage: str) -> np.ndarray:
        """(T, T) bool: the means of a stage that are :attr:`Agreement.clear`."""
        return np.array([[each is not None and each.clear for each in row] for row in self._table(stage)])

    def _table(self, stage: str) -> list[list[Agreement | None]]:
        return [[self.between(stage, first, second) for second in self.tasks] for first in self.tasks]

    def numbers(self) -> dict[str, float]:
        """``<stage>/<task>+<task>/cosine``, ``deviation``, ``negative`` and ``batches``, and ``<stage>/<task>/norm``;
        what there is no number for is absent."""
        found: dict[str, float | None] = {}
        for stage in self.stages:
            for first, second in self.pairs():
                if (each := self.between(stage, first, second)) is not None:
                    key = f"{stage}/{first}+{second}"
                    found |= {f"{key}/cosine": each.mean, f"{key}/deviation": each.deviation}
                    found |= {f"{key}/negative": each.negative, f"{key}/batches": each.batches}
            found |= {f"{stage}/{task}/norm": self.norm(stage, task) for task in self.tasks}
        return {key: value for key, value in found.items() if value is not None}


def gradient_cosines(model: Model, batches: Iterable[Batch]) -> Cosines:
    """The cosines between the tasks' gradients with respect to the trunk.

    A task's gradient is that of its weighted total, as training adds it up. Tasks are compared within a batch, over one
    forward: in those batches in which both have labelled rows, and in those stages that both reach.

    The network is put into evaluation mode, in place. With the statistics of a batch, its norms would make the gradient
    of each picture depend on the others beside it, and measuring would change their running averages; dropout would add
    noise of its own to each pass. With the running averages this is the network as it answers, and the batch decides
    nothing but over how many pictures a gradient is the mean.

    Args:
        model: network and tasks; weights without training branches have the gradients of those that answer.
        batches: tasks that ``rows`` does not name are left out; a batch without pictures is passed over.

    Returns:
        The cosines of all batches.
    """
    tasks = [task for task in model.tasks if task.loss is not None and task.head is not None]
    names = [task.name for task in tasks]
    stages = trunk_stages(model.network.trunk)
    settle(model.network)
    device = next(model.network.parameters()).device
    products = [
        dot_products(losses_of(model.network, tasks, batch.to(device)), names, stages)
        for batch in batches
        if len(batch.images)
    ]
    return Cosines.of(names, list(stages), np.array(products).reshape(-1, len(stages), len(names), len(names)))


def trunk_stages(trunk: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The trunk's parameters by stage, from input to output; a part that :data:`PLACES` does not know is a stage."""
    found: dict[str, list[nn.Parameter]] = {}
    for path, parameter in trunk.named_parameters():
        if parameter.requires_grad:
            found.setdefault(_stage_of(path), []).append(parameter)
    order = dict.fromkeys([*PLACES.values(), *found])
    return {stage: found[stage] for stage in order if stage in found}


def _stage_of(path: str) -> str:
    parts = path.split(".")
    starts = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((PLACES[start] for start in starts if start in PLACES), parts[0])


def settle(network: nn.Module) -> None:
    """Evaluation mode, but for blocks that cut gradients in training alone: what they cut reaches no trunk there."""
    network.eval()
    for module in network.modules():
        if isinstance(module, Gelan):
            module.training = True


def losses_of(network: Network, tasks: Sequence[Task], batch: Batch) -> dict[str, Tensor]:
    """Weighted total (scalar) of each task with labelled rows in a batch, all over one forward in float32."""
    named = [task for task in tasks if task.name in batch.rows]
    outputs = network(batch.images, [task.name for task in named], rows=batch.rows, inputs=batch.targets)
    return task_totals(named, task_losses(named, outputs, batch.targets))[0]


def dot_products(
    losses: Mapping[str, Tensor], tasks: Sequence[str], stages: Mapping[str, Sequence[nn.Parameter]]
) -> np.ndarray:
    """Dot products of the tasks' gradients, stage by stage.

    Args:
        losses: task -> scalar, of one forward; a task may be absent.
        tasks: T names.
        stages: S stages -> their parameters.

    Returns:
        (S, T, T) float64; 0 where a task has no gradient.
    """
    parameters = [parameter for part in stages.values() for parameter in part]
    gradients: dict[str, Sequence[Tensor | None]] = dict.fromkeys(tasks, [None] * len(parameters))
    for name, loss in losses.items():
        if loss.requires_grad and parameters:
            # The tasks share the graph of the trunk; it goes with the last reference to the losses.
            gradients[name] = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    products = np.zeros((len(stages), len(tasks), len(tasks)))
    columns = iter(zip(parameters, zip(*(gradients[name] for name in tasks), strict=True), strict=True))
    for place, part in enumerate(stages.values()):
        for parameter, found in islice(columns, len(part)):
            rows = torch.stack([torch.zeros_like(parameter) if each is None else each for each in found]).detach()
            flat = rows.flatten(1).cpu().double()  # millions of products are summed up, and not all devices have double
            products[place] += (flat @ flat.T).numpy()
    return products


ONE_VIEW: View = "vision"
"""The view that all tasks' labels are read for: pictures without augmentation are the same in both."""


def in_one_view(labels: Mapping[str, Labels]) -> dict[str, Labels]:
    """The same labels for one view: captions and vision read the same pictures, so that gradients differ by task alone.

    Args:
        labels: by task; they are not changed.
    """
    alike = {name: copy.copy(each) for name, each in labels.items()}
    for each in alike.values():
        each.view = ONE_VIEW
    return alike


def draw_pictures(dataset: CocoDataset, labels: Mapping[str, Labels], count: int, seed: int = 0) -> list[int]:
    """Positions of ``count`` pictures by chance, or as many as there are, each labelled for a task at least."""
    order = np.random.default_rng(seed).permutation(len(dataset)).tolist()
    return list(islice((index for index in order if labelled_for(dataset, labels, index)), count))


def labelled_for(dataset: CocoDataset, labels: Mapping[str, Labels], index: int) -> list[str]:
    """The tasks that a picture is labelled for, as training sees it."""
    annotations = trainable(dataset.annotations(index))
    return [name for name, each in labels.items() if each.labelled(annotations)]


class StillSet(Dataset[Entry]):
    """Pictures without augmentation, each once, with the labels of all tasks.

    Args:
        dataset: pictures and raw labels.
        labels: by task, see :func:`in_one_view`.
        indices: positions of the pictures.
        size: (height, width) of the frame.
    """

    def __init__(
        self, dataset: CocoDataset, labels: Mapping[str, Labels], indices: Sequence[int], size: tuple[int, int]
    ) -> None:
        self.dataset, self.labels, self.indices = dataset, labels, indices
        self.pipeline = Pipeline(weak(), size)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Entry:
        """The sample of one place, or why there is none."""
        annotations = self.dataset.annotations(self.indices[place])
        try:
            sample = load_sample(annotations, self.labels, ONE_VIEW)
        except UnreadableImageError as error:
            return None, ((str(annotations.path), str(error)),)
        return self.pipeline(sample, lambda: None, True, np.random.default_rng(0)), ()


def still_batches(
    dataset: CocoDataset,
    labels: Mapping[str, Labels],
    indices: Sequence[int],
    size: tuple[int, int],
    *,
    batch: int,
    workers: int = 0,
) -> Iterator[Batch]:
    """Batches for :func:`gradient_cosines`.

    Args:
        dataset: pictures and raw labels.
        labels: of the tasks to compare, by task.
        indices: positions of the pictures, each used once, in this order.
        size: (height, width) of the frame.
        batch: pictures at once; the last batch has what is left.
        workers: processes that load pictures.
    """
    alike = in_one_view(labels)
    loader: DataLoader[Any] = DataLoader(
        StillSet(dataset, alike, indices, size),
        batch_size=batch,
        collate_fn=Collate(alike),
        num_workers=workers,
        worker_init_fn=live_and_die_with_the_parent,
    )
    yield from loader
