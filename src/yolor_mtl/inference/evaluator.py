"""Scores of a model on a data set, by the metrics of its tasks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolor_mtl.build import check_space
from yolor_mtl.config import nearest
from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.data.loader import EvaluationSet, evaluation_loader
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.ops.details import Details
from yolor_mtl.ops.device import loading_processes
from yolor_mtl.ops.files import write_text
from yolor_mtl.ops.ranks import gather, rank_and_world
from yolor_mtl.records import UserError
from yolor_mtl.tasks import TASKS
from yolor_mtl.tasks.base import EVALUATION, DecodeOptions, JavaScored, Metric, fitness, merge_ranks, update_all


@dataclass(frozen=True)
class Evaluation:
    """Scores and how they are defined.

    Attributes:
        scores: flat keys such as ``box/AP``, and ``fitness``.
        protocol: definitions.
        metrics: the metrics with what they have seen, by task.
        failures: path -> reason of pictures that could not be read.
        seconds: time by part: ``loading``, ``inference``, ``postprocess``, ``scoring``.
    """

    scores: dict[str, float]
    protocol: dict[str, Any]
    metrics: dict[str, Metric]
    failures: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def details(self) -> dict[str, Details]:
        """What lies behind the scores, by task."""
        return {name: metric.details() for name, metric in self.metrics.items()}

    def write(self, out: Path, results: bool = True) -> None:
        """``metrics.json``, and with ``results`` the answers in COCO's formats."""
        out.mkdir(parents=True, exist_ok=True)
        for metric in self.metrics.values() if results else ():
            metric.write(out)
        write_text(out / "metrics.json", json.dumps(self.to_dict(), indent=1))

    def to_dict(self) -> dict[str, Any]:
        """Flat scores, and under ``protocol`` all that is no score."""
        return {**self.scores, "protocol": {**self.protocol, "failures": self.failures}}


def evaluate(
    predictor: Predictor,
    dataset: CocoDataset,
    *,
    options: DecodeOptions = EVALUATION,
    batch: int = 16,
    workers: int = -1,
    java: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Answers every picture of a data set and scores the answers in the pictures' own pixels.

    Args:
        predictor: the model.
        dataset: pictures and raw labels; its things must be those of the model, and its semantic classes those that
            the model's can be translated to.
        options: thresholds.
        batch: pictures at once.
        workers: processes that load pictures; -1 chooses.
        java: the scores that are Java programs too.
        progress: called with the number of pictures done since its last call.

    Raises:
        UserError: the data set's classes are not the model's, or Java is asked for and missing.
    """
    check_space(predictor.model.space, dataset.space, scored=True)
    judges = [task.judged_on(dataset.space) for task in predictor.model.tasks]
    metrics = {task.name: task.metric() for task in judges}
    _check_java(metrics, java)
    failures: dict[str, str] = {}
    rank, world = rank_and_world()
    loader = evaluation_loader(
        EvaluationSet(dataset, predictor.size),
        batch=batch,
        workers=loading_processes(workers, predictor.device),
        rank=rank,
        world=world,
    )
    watch = Stopwatch()
    for loaded in loader:
        failures.update(loaded.failures)
        watch.tick("loading")
        if len(loaded.images):
            frames = [frame for frame in loaded.frames if frame is not None]
            answered = predictor.predict_batch(loaded.images, frames, options)
            watch.add({name: speed * len(frames) / 1000 for name, speed in answered.speed.items()})
            update_all(metrics, answered.predictions, loaded.annotations)
            watch.tick("scoring")
        progress(len(loaded.images) + len(loaded.failures))
    merge_ranks(metrics)
    for others in gather(failures):
        failures.update(others)
    decoding = "greedy" if options.beam == 1 else f"beam {options.beam}"
    said = {task.name: task.scoring.decoding(options) for task in judges}
    return _evaluation(
        dataset,
        metrics,
        failures,
        {
            **{f"{group_of(metrics[name])}/decoding": words for name, words in said.items() if words},
            "imgsz": predictor.size[0],
            "half": predictor.half,
            "decoding": {"conf": options.conf, "iou": options.iou, "max_det": options.max_det, "text": decoding},
        },
        watch,
        java,
    )


GROUND_TRUTH = "groundtruth"
"""The word for the labels themselves as answers."""


def evaluate_answers(
    dataset: CocoDataset,
    source: str,
    tasks: Sequence[str] = (),
    java: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Scores answers that are there already; no network is involved, and no picture is read.

    Args:
        dataset: raw labels.
        source: a folder of result files in COCO's formats, or :data:`GROUND_TRUTH`, the labels themselves: their
            AP, mIoU and PQ must be 1, which checks labels and protocol.
        tasks: tasks to score; all that the source answers by default.
        java: the scores that are Java programs too.
        progress: called with the number of pictures done since its last call.

    Raises:
        UserError: no such folder, nothing in it, a file that cannot be read, or Java is asked for and missing.
    """
    folder = Path(source)
    if source != GROUND_TRUTH and not folder.is_dir():
        raise UserError(f"predictions={source}: no such folder; give result files, or the word {GROUND_TRUTH}")
    chosen = {name: TASKS[name].scoring(dataset.space) for name in known_tasks(tasks)}
    answers = {
        name: scoring.truth if source == GROUND_TRUTH else scoring.read(folder) for name, scoring in chosen.items()
    }
    watch = Stopwatch()
    metrics = {name: scoring.metric() for name, scoring in chosen.items() if answers[name] is not None}
    if not metrics:
        raise UserError(f"predictions={source}: no result file in it, such as detections.json or captions.json")
    _check_java(metrics, java)
    for index in range(len(dataset)):
        annotations = dataset.annotations(index)
        for name, metric in metrics.items():
            answer = answers[name]
            if answer is not None and metric.evaluates(annotations):
                metric.update(answer(annotations), annotations)
        progress(1)
    watch.tick("scoring")
    return _evaluation(dataset, metrics, {}, {"predictions": source}, watch, java)


def known_tasks(asked: Sequence[str]) -> list[str]:
    """The asked tasks, or all.

    Raises:
        UserError: there is no such task.
    """
    for name in asked:
        if name not in TASKS:
            raise UserError(f"tasks: no task {name!r}{nearest(name, TASKS)}; there are: {', '.join(TASKS)}")
    return list(asked) or list(TASKS)


class Stopwatch:
    """Seconds by part of an evaluation."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def tick(self, name: str) -> None:
        """Counts the time since the last call towards a part."""
        now = time.perf_counter()
        self.add({name: now - self._last})

    def add(self, parts: Mapping[str, float]) -> None:
        """Counts times that were measured elsewhere; the clock goes on from here."""
        for name, seconds in parts.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self._last = time.perf_counter()


def group_of(metric: Metric) -> str:
    """What stands before the slash in the metric's scores, ``box`` in ``box/AP``."""
    return metric.headline.partition("/")[0]


def _check_java(metrics: Mapping[str, Metric], java: bool) -> None:
    """Refuses at the start what an evaluation of an hour would miss at its end."""
    for metric in metrics.values():
        if java and isinstance(metric, JavaScored):
            metric.check_java()


def _evaluation(
    dataset: CocoDataset,
    metrics: dict[str, Metric],
    failures: dict[str, str],
    more: dict[str, Any],
    watch: Stopwatch,
    java: bool,
) -> Evaluation:
    scores: dict[str, float] = {}
    protocol: dict[str, Any] = {}
    for metric in metrics.values():
        scores |= metric.compute()
        protocol |= {**metric.protocol, f"{group_of(metric)}/split": "+".join(dataset.split_names)}
        # The programs need minutes and gigabytes: one process of several runs them, the one that writes.
        if java and isinstance(metric, JavaScored) and rank_and_world()[0] == 0:
            found, notes = metric.java_scores()
            scores |= found
            protocol |= notes
    watch.tick("scoring")
    protocol |= {"splits": list(dataset.split_names), "pictures": len(dataset) - len(failures), **more}
    return Evaluation(scores | fitness(metrics, scores), protocol, metrics, failures, watch.seconds)
