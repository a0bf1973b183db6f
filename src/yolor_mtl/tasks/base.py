"""What a task is: a record of parts, some absent; the order in which tasks run; the total loss."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, get_args, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from yolor_mtl.config import nearest
from yolor_mtl.data.augment import Meaning
from yolor_mtl.data.labels import Labels
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.ops.details import Details
from yolor_mtl.ops.ranks import gather, rank_and_world
from yolor_mtl.records import (
    Annotations,
    Frame,
    LabelSpace,
    LossOutput,
    Outputs,
    Prediction,
    Predictions,
    UserError,
    View,
)


class Loss(Protocol):
    """A task's loss. ``used`` holds the ``shared`` of the tasks named in ``Task.uses``."""

    def __call__(
        self, out: Outputs, targets: Mapping[str, Tensor], used: Mapping[str, Mapping[str, Any]]
    ) -> LossOutput:
        """Raw outputs and targets of R rows to the named terms."""
        ...


@dataclass(frozen=True)
class DecodeOptions:
    """Thresholds of decoding; arguments of a call, never state.

    Attributes:
        conf: boxes below this score are dropped.
        iou: overlap above which the weaker of two boxes of a class is dropped.
        max_det: greatest number of boxes an image.
        beam: width of the caption's beam search; 1 is greedy.
        max_tokens: greatest length of a caption.
        length_penalty: captions of a search are compared by their log-probability over their length to this power;
            ``None`` as the model has it.
        no_repeat: no run of so many words is written twice in a caption; 0 lets them be.
        attention: keep where in the picture each word of a caption was read from.
    """

    conf: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    beam: int = 1
    max_tokens: int = 40
    length_penalty: float | None = None
    no_repeat: int = 0
    attention: bool = False


EVALUATION = DecodeOptions(conf=0.001, iou=0.7, max_det=300)
"""Thresholds of an evaluation: AP needs the whole curve."""


class Decode(Protocol):
    """From raw outputs to an answer in the model's frame, and from there to the user's pixels."""

    def __call__(
        self, out: Outputs, used: Mapping[str, Sequence[Prediction]], options: DecodeOptions
    ) -> list[Prediction]:
        """One prediction an image, in the model's frame. ``used``: predictions of the tasks in ``Task.uses``."""
        ...

    def restore(self, prediction: Prediction, frame: Frame, restored: Predictions) -> Prediction:
        """The prediction in the original frame. ``restored``: what the tasks in ``Task.uses`` gave there."""
        ...


class Metric(Protocol):
    """Scores predictions of the original frame against raw annotations, never against training targets."""

    headline: str
    """Key of ``compute()`` that counts towards ``fitness``; a number in 0..1, higher is better. What stands before its
    slash is the metric's name in tables and in ``protocol``."""

    shown: tuple[str, ...]
    """Keys of ``compute()`` that are shown large in a report."""

    protocol: Mapping[str, Any]
    """How the numbers are defined: class set, splits, decoding."""

    def evaluates(self, annotations: Annotations) -> bool:
        """Whether the image is labelled for this metric."""
        ...

    def update(self, prediction: Prediction, annotations: Annotations) -> None:
        """Adds one image; called only where :meth:`evaluates` holds."""
        ...

    def merge(self, other: Self) -> None:
        """Adds what another process has seen; an image that both have seen counts once."""
        ...

    def compute(self) -> dict[str, float]:
        """Flat keys such as ``box/AP``; empty where no image was labelled."""
        ...

    def details(self) -> Details:
        """What lies behind the numbers, for a report."""
        ...

    def write(self, folder: Path) -> list[Path]:
        """Writes the predictions seen so far in COCO's official result format and returns the files."""
        ...


@runtime_checkable
class JavaScored(Protocol):
    """A metric some of whose scores are published as Java programs; made only where somebody asks for them."""

    def check_java(self) -> None:
        """Refuses before the work begins what could not be had at its end.

        Raises:
            UserError: Java, or the Python package with the programs, is missing.
        """
        ...

    def java_scores(self) -> tuple[dict[str, float], dict[str, str]]:
        """Scores by key, and for ``protocol`` what each is, or why it is missing."""
        ...


@dataclass
class Canvas:
    """The pictures that ``predict`` leaves: one panel a task over the same photograph, and text under it.

    Attributes:
        image: (H, W, 3) uint8, the upright photograph.
        panels: task name -> (H, W, 3) uint8 picture.
        lines: text under the picture.
    """

    image: np.ndarray
    panels: dict[str, np.ndarray] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


class Show(Protocol):
    """How a task's answer looks and reads."""

    def draw(self, canvas: Canvas, prediction: Prediction) -> None:
        """Adds to the canvas."""
        ...

    def to_json(self, prediction: Prediction, record: dict[str, Any]) -> None:
        """Adds to what stands in the record of the image."""
        ...

    def images(self, prediction: Prediction) -> dict[str, Image.Image]:
        """Pictures kept beside the record, by name (``semantic``, ``panoptic``); usually none."""
        ...


@dataclass(frozen=True)
class Branch:
    """A supervised copy of a head: auxiliary, one-to-many and one-to-one detection are rows of this.

    Attributes:
        name: key of its outputs.
        features: names of the trunk's features, finest first.
        weight: factor of its loss.
        top_k: points an object is assigned to at most.
        assign_from: name of the branch whose assignment it learns from; its own by default.
        detach: cut the gradient into the trunk.
        train_only: dropped from the inference form.
    """

    name: str = "main"
    features: tuple[str, ...] = ("p3", "p4", "p5")
    weight: float = 1.0
    top_k: int = 10
    assign_from: str | None = None
    detach: bool = False
    train_only: bool = False


def output_name(branch: str, name: str) -> str:
    """Name of an output of a branch; the branch without a name, the one that answers, has the plain ones."""
    return f"{branch}.{name}" if branch else name


def term_name(branch: str, term: str) -> str:
    """Name of a term of a branch's loss; the branch without a name, the one that answers, has the plain ones."""
    return f"{term}@{branch}" if branch else term


@dataclass(frozen=True)
class Task:
    """One task: its network, labels, loss, decoding and metric.

    Attributes:
        name: key in every dictionary by task.
        features: features of the trunk its head reads.
        reads: tasks whose outputs its head reads in the forward.
        uses: tasks whose assignment or predictions it uses after the forward.
        head: ``forward(features, read, inputs=None) -> Outputs``; ``None`` for a task made of others' answers.
        labels: ``None`` where it trains nothing.
        loss: ``None`` where it trains nothing.
        weights: loss term -> factor in the total.
        decode: raw outputs to answers.
        scoring: how its answers are scored.
        show: pictures and JSON.
        relies: meanings of its labels that augmentation may not break -> what else to set where one would.
        study: gets all captions of the training, image by image, before it begins; ``None`` where nobody asks.
        on: other classes to how these answers are scored on data of those classes, and how that data's labels are
            drawn; ``None`` where the answers have no classes, or are scored on their own ones only.
    """

    name: str
    decode: Decode
    scoring: Scoring
    show: Show
    features: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    head: nn.Module | None = None
    labels: Labels | None = None
    loss: Loss | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    relies: Mapping[Meaning, str] = field(default_factory=dict)
    study: Callable[[Iterable[Sequence[str]]], None] | None = None
    on: Callable[[LabelSpace], tuple[Scoring, Show]] | None = None

    def judged_on(self, data: LabelSpace) -> Judge:
        """How data of these classes sees the task: the metric takes this task's answers and scores them in the data's
        classes, in which the labels are drawn too.

        Raises:
            UserError: there is no way from the task's classes to the data's.
        """
        if self.on is None:
            return Judge(self.name, self.scoring, self.show)
        return Judge(self.name, *self.on(data))

    @property
    def metric(self) -> Callable[[], Metric]:
        """Makes a fresh metric."""
        return self.scoring.metric


def view_named(name: str, key: str) -> View:
    """The view of that name.

    Args:
        name: what the configuration says.
        key: where it says so, for the message.

    Raises:
        UserError: there is no such view.
    """
    views: tuple[View, ...] = get_args(View)
    for view in views:
        if name == view:
            return view
    raise UserError(f"{key}={name!r}{nearest(name, views)}; known: {', '.join(views)}")


def ordered(tasks: Iterable[Task]) -> list[Task]:
    """Tasks such that each comes after those it reads or uses, otherwise in the order given.

    Raises:
        UserError: a task needs one that is not there, or two need each other.
    """
    left = {task.name: task for task in tasks}
    known, done = set(left), []
    for task in left.values():
        if missing := {*task.reads, *task.uses} - known:
            raise UserError(f"task {task.name!r} needs {sorted(missing)}; add them to tasks=")
    while left:
        # One at a time, so that the order given is kept wherever it can be.
        ready = next((task for task in left.values() if not ({*task.reads, *task.uses} & set(left))), None)
        if ready is None:
            raise UserError(f"tasks need each other in a circle: {sorted(left)}")
        done.append(left.pop(ready.name))
    return done


def task_losses(
    tasks: Sequence[Task], outputs: Mapping[str, Outputs], targets: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, LossOutput]:
    """Losses of the tasks that have outputs, in the order of ``tasks`` (see :func:`ordered`)."""
    losses: dict[str, LossOutput] = {}
    for task in tasks:
        if task.loss is not None and task.name in outputs:
            used = {name: losses[name].shared for name in task.uses if name in losses}
            losses[task.name] = task.loss(outputs[task.name], targets[task.name], used)
    return losses


def task_totals(
    tasks: Sequence[Task], losses: Mapping[str, LossOutput], divisors: Mapping[str, float] | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Each task's weighted sum of its terms' means, and each weighted term by ``task/term``.

    Args:
        tasks: the tasks, for their weights.
        losses: what :func:`task_losses` gave.
        divisors: of each term by ``task/term``, by default its count, at least one; with several processes the mean
            count over them, so that averaged gradients equal those of one process with the whole batch.

    Returns:
        Scalar loss of every task that has one, and the detached weighted terms.
    """
    totals: dict[str, Tensor] = {}
    parts: dict[str, Tensor] = {}
    for task in tasks:
        if task.name not in losses:
            continue
        for term, (value, count) in losses[task.name].terms.items():
            name = f"{task.name}/{term}"
            divisor = count.clamp(min=1.0) if divisors is None else divisors[name]
            part = task.weights.get(term, 1.0) * value / divisor
            parts[name] = part.detach()
            totals[task.name] = totals[task.name] + part if task.name in totals else part
    return totals, parts


def total_loss(
    tasks: Sequence[Task], losses: Mapping[str, LossOutput], divisors: Mapping[str, float] | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Scalar sum of :func:`task_totals` (zero without any loss), and the detached weighted terms."""
    totals, parts = task_totals(tasks, losses, divisors)
    return sum(totals.values(), torch.zeros(())), parts


def decode_all(
    tasks: Sequence[Task], outputs: Mapping[str, Outputs], frames: Sequence[Frame], options: DecodeOptions
) -> list[dict[str, Prediction]]:
    """Decodes a batch and restores every answer to its picture's own pixels.

    Args:
        tasks: in the order of :func:`ordered`.
        outputs: raw outputs of B images.
        frames: B frames.
        options: thresholds.

    Returns:
        B dictionaries, task name -> prediction in the original frame.
    """
    decoded: dict[str, Sequence[Prediction]] = {}
    for task in tasks:
        used = {name: decoded[name] for name in task.uses}
        decoded[task.name] = task.decode(outputs.get(task.name, {}), used, options)
    results: list[dict[str, Prediction]] = []
    for index, frame in enumerate(frames):
        restored: dict[str, Prediction] = {}
        for task in tasks:
            used_here = {name: restored[name] for name in task.uses}
            restored[task.name] = task.decode.restore(decoded[task.name][index], frame, used_here)
        results.append(restored)
    return results


def update_all(
    metrics: Mapping[str, Metric],
    answers: Sequence[Predictions],
    annotations: Sequence[Annotations | None],
) -> None:
    """Adds every image to the metrics of the tasks it is labelled for.

    Args:
        metrics: by task.
        answers: B predictions in the original frame, by task.
        annotations: B raw labels.
    """
    for answer, labels in zip(answers, annotations, strict=True):
        for name, metric in metrics.items():
            if labels is not None and metric.evaluates(labels):
                metric.update(answer[name], labels)


def merge_ranks(metrics: Mapping[str, Metric]) -> None:
    """Adds what the other processes have seen, on every process; with one process nothing happens."""
    rank, _ = rank_and_world()
    for name, metric in metrics.items():
        for number, other in enumerate(gather(metric)):
            if number != rank and other is not metric:
                metrics[name].merge(other)


def fitness(metrics: Mapping[str, Metric], scores: Mapping[str, float]) -> dict[str, float]:
    """``fitness``, the mean of the headline scores that the data allows; empty where it allows none."""
    headlines = [scores[metric.headline] for metric in metrics.values() if metric.headline in scores]
    return {"fitness": sum(headlines) / len(headlines)} if headlines else {}


Answers = Callable[[Annotations], Prediction]
"""What somebody says about an image that is labelled for a task."""


@dataclass(frozen=True)
class Scoring:
    """How a task's answers are scored; needs classes but no network.

    Attributes:
        metric: makes a fresh metric.
        truth: the labels as the perfect answer.
        read: a folder of result files in COCO's formats to the answers in it; ``None`` where it has none of this task.
        decoding: what of the thresholds shapes its answers, in words, for ``protocol``; empty where nothing does.
        labels: the file that holds its labels, with ``<split>`` for the split's name; for messages.
    """

    metric: Callable[[], Metric]
    truth: Answers
    read: Callable[[Path], Answers | None]
    decoding: Callable[[DecodeOptions], str] = lambda options: ""
    labels: str = ""


@dataclass(frozen=True)
class Judge:
    """How a task's answers are scored and drawn in a data set's classes; needs no network.

    Attributes:
        name: the task.
        scoring: metric, perfect answers, and the reader of result files.
        show: pictures.
    """

    name: str
    scoring: Scoring
    show: Show


@dataclass(frozen=True)
class TaskKind:
    """One line of the registry: how a block of configuration becomes a task.

    Attributes:
        config: dataclass of the block.
        features: the block to the features its head reads; asked before the trunk is built.
        build: the block, the classes and the features' channels to the task.
        scoring: the classes to the task's scoring.
        needs: fields of :class:`LabelSpace` without which it has nothing to learn.
        learn: the block, the classes and all captions to richer classes, before the network is built.
        answering: the block to one without what only training needs.
        variants: forms of its head that are worth comparing, by name: changes to the block.
        reads: the block and the classes to the tasks whose heads' outputs its head reads.
        among: the block and the names of all tasks of a training to the block without what it would read of others.
        implicit: the block to whether its key ``implicit`` means something; by default it is the network's choice.
        show: the classes to how answers in them are drawn, where there is no network; ``None`` draws nothing.
        results: the names of the result files that its metric writes; the pictures that one lists lie in a folder of
            its stem (``panoptic/`` beside ``panoptic.json``).
    """

    config: type[Any]
    features: Callable[[Any], tuple[str, ...]]
    build: Callable[[Any, LabelSpace, Mapping[str, FeatureInfo]], Task]
    scoring: Callable[[LabelSpace], Scoring]
    needs: tuple[str, ...] = ()
    learn: Callable[[Any, LabelSpace, Iterable[str]], LabelSpace] | None = None
    answering: Callable[[Any], Any] = lambda block: block
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reads: Callable[[Any, LabelSpace], tuple[str, ...]] = lambda block, space: ()
    among: Callable[[Any, Collection[str]], Any] = lambda block, names: block
    implicit: Callable[[Any], bool] = lambda block: hasattr(block, "implicit")
    show: Callable[[LabelSpace], Show] | None = None
    results: tuple[str, ...] = ()
