"""Scores of a model on a data set, by the metrics of its tasks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks import TASKS
from yolor_mtl.tasks.base import (
    EVALUATION,
    Answers,
    DecodeOptions,
    JavaScored,
    Judge,
    Metric,
    Scoring,
    fitness,
    merge_ranks,
    update_all,
)
from yolor_mtl.tasks.results import FileAnswers


@dataclass(frozen=True)
class Evaluation:
    """Scores and how they are defined.

    Attributes:
        scores: flat keys such as ``box/AP``, and ``fitness``.
        protocol: definitions.
        metrics: the metrics with what they have seen, by task.
        failures: path -> reason of pictures that could not be read.
        seconds: time by part: ``loading``, ``inference``, ``postprocess`` or, of result files, ``reading``; then
            ``scoring`` and ``writing``; whoever makes a report adds ``report``.
        answers: the answers that were given, by task; none where a model answered.
    """

    scores: dict[str, float]
    protocol: dict[str, Any]
    metrics: dict[str, Metric]
    failures: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    answers: Mapping[str, Answers] = field(default_factory=dict)

    def details(self) -> dict[str, Details]:
        """What lies behind the scores, by task; worked out once."""
        return self._details

    @cached_property
    def _details(self) -> dict[str, Details]:
        return {name: metric.details() for name, metric in self.metrics.items()}

    def write(self, out: Path, results: bool = True) -> None:
        """``metrics.json``, and with ``results`` the answers in COCO's formats.

        Result files of an earlier evaluation in the same folder go: beside these scores they would be taken for this
        one's.
        """
        watch = Stopwatch(self.seconds)
        content = json.dumps(self.to_dict(), indent=1)
        watch.tick("scoring")
        out.mkdir(parents=True, exist_ok=True)
        if "predictions" not in self.protocol or Path(self.protocol["predictions"]).resolve() != out.resolve():
            _forget_results(out)
        for metric in self.metrics.values() if results else ():
            metric.write(out)
        write_text(out / "metrics.json", content)
        watch.tick("writing")

    def to_dict(self) -> dict[str, Any]:
        """Flat scores, scores by group and class under ``classes``, and under ``protocol`` all that is no score."""
        by_class = {group_of(self.metrics[name]): found.by_class() for name, found in self.details().items()}
        return {
            **self.scores,
            "classes": {group: rows for group, rows in by_class.items() if rows},
            "protocol": {**self.protocol, "failures": self.failures},
        }


class NothingToScoreError(UserError):
    """The labels of a data set give no task anything to score."""


def evaluate(
    predictor: Predictor,
    dataset: CocoDataset,
    *,
    options: DecodeOptions = EVALUATION,
    batch: int = 16,
    workers: int = -1,
    java: bool = False,
    progress: Callable[[int], None] = lambda done: None,
    asked: Sequence[str] = (),
) -> Evaluation:
    """Answers every picture of a data set and scores the answers in the pictures' own pixels.

    Tasks that no picture is labelled for are left out, and ``protocol`` says so under ``not scored``.

    Args:
        predictor: the model.
        dataset: pictures and raw labels; its things must be those of the model, and its semantic classes those that
            the model's can be translated to.
        options: thresholds.
        batch: pictures at once.
        workers: processes that load pictures; -1 chooses.
        java: the scores that are Java programs too.
        progress: called with the number of pictures done since its last call.
        asked: tasks that somebody asked for by name.

    Raises:
        UserError: the data set's classes are not the model's, Java is asked for and missing, or there is nothing to
            score: at all, or of a task in ``asked`` that no other one there needs.
    """
    check_space(predictor.model.space, dataset.space, scored=True)
    tasks = predictor.model.tasks
    needed = {name for task in tasks if task.name in asked for name in (*task.reads, *task.uses)}
    all_judges = {task.name: task.judged_on(dataset.space).scoring for task in tasks}
    judges, skipped = _labelled(dataset, all_judges, set(asked) - needed)
    metrics = {name: scoring.metric() for name, scoring in judges.items()}
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
    return _evaluation(
        dataset,
        metrics,
        failures,
        {name: scoring.decoding(options) for name, scoring in judges.items()},
        skipped,
        {
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
        UserError: no such folder, nothing in it, a file that cannot be read, Java is asked for and missing, or there is
            nothing to score: at all, or of a task in ``tasks``.
    """
    watch = Stopwatch()
    folder = Path(source)
    if source != GROUND_TRUTH and not folder.is_dir():
        raise UserError(f"predictions={source}: no such folder; give result files, or the word {GROUND_TRUTH}")
    chosen = {name: TASKS[name].scoring(dataset.space) for name in known_tasks(tasks)}
    answers = {
        name: answer
        for name, scoring in chosen.items()
        if (answer := scoring.truth if source == GROUND_TRUTH else scoring.read(folder)) is not None
    }
    if not answers:
        raise UserError(f"predictions={source}: no result file in it, such as detections.json or captions.json")
    for name in set(tasks) - set(answers):
        files = " or ".join(TASKS[name].results) or f"{name}/<stem>.png"
        raise UserError(f"predictions={source}: no {files} in it; put it there, or leave {name} out of tasks=")
    ids = set(dataset.image_ids())
    for answer in answers.values():
        if isinstance(answer, FileAnswers):
            answer.check_images(ids)
    judges, skipped = _labelled(dataset, {name: chosen[name] for name in answers}, tasks)
    metrics = {name: scoring.metric() for name, scoring in judges.items()}
    _check_java(metrics, java)
    for index in range(len(dataset)):
        annotations = dataset.annotations(index)
        for name, metric in metrics.items():
            if metric.evaluates(annotations):
                said = answers[name](annotations)
                watch.tick("reading")
                metric.update(said, annotations)
                watch.tick("scoring")
        progress(1)
    how = "the labels themselves" if source == GROUND_TRUTH else f"as given in {source}"
    decoding = dict.fromkeys(metrics, how)
    given = {name: answers[name] for name in metrics}
    return _evaluation(dataset, metrics, {}, decoding, skipped, {"predictions": source}, watch, java, given)


def judges_of(names: Iterable[str], space: LabelSpace) -> list[Judge]:
    """How answers of tasks in these classes are scored and drawn; without the tasks that draw nothing."""
    kinds = {name: TASKS[name] for name in names}
    return [Judge(name, kind.scoring(space), kind.show(space)) for name, kind in kinds.items() if kind.show]


def _labelled(
    dataset: CocoDataset, judges: Mapping[str, Scoring], asked: Collection[str]
) -> tuple[dict[str, Scoring], dict[str, str]]:
    """The tasks that at least one picture is labelled for, and why the others are not scored.

    Asked before the work: an evaluation of an hour should not end with an empty table.

    Raises:
        UserError: a task in ``asked`` is not among them, or none is; names the split and the file that is missing.
    """
    waiting = {name: scoring.metric() for name, scoring in judges.items()}
    for index in range(len(dataset)):
        if not waiting:
            break
        annotations = dataset.annotations(index)
        waiting = {name: metric for name, metric in waiting.items() if not metric.evaluates(annotations)}
    split = "+".join(dataset.split_names)
    reason = f"no picture of split {split} is labelled for it"
    for name in waiting:
        if name in asked or len(waiting) == len(judges):
            place = judges[name].labels.replace("<split>", split)
            remedy = f"put {place} into {dataset.root}" if place else "choose another split="
            if dataset.maps != "auto":
                remedy += f" (maps={dataset.maps} leaves the other kind of pixel labels aside)"
            raise UserError(f"nothing to score {name} by: {reason}; {remedy}, or leave {name} out of tasks=")
    return {name: scoring for name, scoring in judges.items() if name not in waiting}, dict.fromkeys(waiting, reason)


def _forget_results(folder: Path) -> None:
    """Removes the result files that an earlier evaluation wrote into a folder, and the pictures that they list.

    Nothing goes where no evaluation of a model was: then the files are somebody else's.
    """
    try:
        protocol = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["protocol"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if "predictions" in protocol:  # it wrote none: what lies there was given to it
        return
    for name in (name for kind in TASKS.values() for name in kind.results):
        path = folder / name
        pictures = path.with_suffix("")
        if pictures.is_dir() and not pictures.is_symlink():
            for picture in _listed_pictures(path):
                (pictures / picture).unlink(missing_ok=True)
            if not any(pictures.iterdir()):
                pictures.rmdir()
        path.unlink(missing_ok=True)


def _listed_pictures(path: Path) -> list[str]:
    """Names, without folders, of the pictures that a result file of ours lists."""
    try:
        names = [str(entry["file_name"]) for entry in json.loads(path.read_text(encoding="utf-8"))["annotations"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in names if name == Path(name).name]


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
    """Seconds by part of an evaluation.

    Args:
        seconds: where they are counted; a new dictionary by default.
    """

    def __init__(self, seconds: dict[str, float] | None = None) -> None:
        self.seconds: dict[str, float] = {} if seconds is None else seconds
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
    decoding: Mapping[str, str],
    skipped: Mapping[str, str],
    more: dict[str, Any],
    watch: Stopwatch,
    java: bool,
    answers: Mapping[str, Answers] | None = None,
) -> Evaluation:
    scores: dict[str, float] = {}
    protocol: dict[str, Any] = {}
    skipped = dict(skipped)
    for name, metric in metrics.items():
        found = metric.compute()
        if not found:
            # Its definition beside no number would read as if there were one.
            skipped[name] = "its labels have nothing to find, or no picture of theirs could be read"
            continue
        scores |= found
        group = group_of(metric)
        protocol |= {**metric.protocol, f"{group}/split": "+".join(dataset.split_names)}
        protocol |= {f"{group}/decoding": decoding[name]} if decoding[name] else {}
        # The programs need minutes and gigabytes: one process of several runs them, the one that writes.
        if java and isinstance(metric, JavaScored) and rank_and_world()[0] == 0:
            more_scores, notes = metric.java_scores()
            scores |= more_scores
            protocol |= notes
    watch.tick("scoring")
    if not scores and not failures:
        raise NothingToScoreError(
            f"nothing to score in split {'+'.join(dataset.split_names)} of {dataset.root}: {', '.join(skipped)}: "
            "the labels have nothing to find; choose another split= or other tasks="
        )
    protocol |= {"splits": list(dataset.split_names), "pictures": len(dataset) - len(failures), **more}
    if skipped:
        protocol["not scored"] = skipped
    scores |= fitness(metrics, scores)
    return Evaluation(scores, protocol, metrics, failures, watch.seconds, answers or {})
