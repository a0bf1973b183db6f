"""Scores of a model on a data set, by the metrics of its tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.data.loader import EvaluationSet, evaluation_loader
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.ops.device import loading_processes
from yolor_mtl.ops.files import write_text
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.base import DecodeOptions, Metric, fitness, update_all

EVALUATION = DecodeOptions(conf=0.001, iou=0.7, max_det=300)
"""Thresholds of an evaluation: AP needs the whole curve."""


@dataclass(frozen=True)
class Evaluation:
    """Scores and how they are defined.

    Attributes:
        scores: flat keys such as ``box/AP``, and ``fitness``.
        protocol: definitions.
        metrics: the metrics with what they have seen, by task.
        failures: path -> reason of pictures that could not be read.
    """

    scores: dict[str, float]
    protocol: dict[str, Any]
    metrics: dict[str, Metric]
    failures: dict[str, str] = field(default_factory=dict)

    def write(self, out: Path) -> None:
        """``metrics.json`` and the result files in COCO's formats."""
        out.mkdir(parents=True, exist_ok=True)
        for metric in self.metrics.values():
            metric.write(out)
        write_text(out / "metrics.json", json.dumps({**self.scores, "protocol": self.protocol}, indent=1))


def evaluate(
    predictor: Predictor,
    dataset: CocoDataset,
    *,
    options: DecodeOptions = EVALUATION,
    batch: int = 16,
    workers: int = -1,
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Answers every picture of a data set and scores the answers in the pictures' own pixels.

    Args:
        predictor: the model.
        dataset: pictures and raw labels; its classes must be those of the model.
        options: thresholds.
        batch: pictures at once.
        workers: processes that load pictures; -1 chooses.
        progress: called with the number of pictures done since its last call.

    Raises:
        UserError: the data set's classes are not the model's.
    """
    check_space(predictor.model.space, dataset.space)
    metrics = {task.name: task.metric() for task in predictor.model.tasks}
    failures: dict[str, str] = {}
    pictures = EvaluationSet(dataset, predictor.size)
    for loaded in evaluation_loader(pictures, batch=batch, workers=loading_processes(workers, predictor.device)):
        failures.update(loaded.failures)
        if len(loaded.images):
            frames = [frame for frame in loaded.frames if frame is not None]
            answered = predictor.predict_batch(loaded.images, frames, options)
            update_all(metrics, answered.predictions, loaded.annotations)
        progress(len(loaded.images) + len(loaded.failures))
    scores = {key: value for metric in metrics.values() for key, value in metric.compute().items()}
    protocol: dict[str, Any] = {key: value for metric in metrics.values() for key, value in metric.protocol.items()}
    decoding = "greedy" if options.beam == 1 else f"beam {options.beam}"
    protocol |= {
        "splits": list(dataset.split_names),
        "pictures": len(dataset) - len(failures),
        "imgsz": predictor.size[0],
        "half": predictor.half,
        "decoding": {"conf": options.conf, "iou": options.iou, "max_det": options.max_det, "text": decoding},
    }
    return Evaluation(scores | fitness(metrics, scores), protocol, metrics, failures)


def check_space(model: LabelSpace, data: LabelSpace) -> None:
    """Refuses data whose classes are other ones.

    Raises:
        UserError: names the first difference.
    """
    for kind, own, theirs in (
        ("object", model.names, data.names),
        ("semantic", model.semantic_names, data.semantic_names),
    ):
        if own and theirs and own != theirs:
            extra = [name for name in theirs if name not in own] or [name for name in own if name not in theirs]
            detail = f"for example {extra[0]!r}" if extra else "they are the same names in another order"
            raise UserError(
                f"the data has {len(theirs)} {kind} classes, the model {len(own)}, and they differ ({detail}); "
                "evaluate on data with the classes it was trained on"
            )
