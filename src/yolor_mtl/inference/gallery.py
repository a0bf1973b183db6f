"""Pictures of a data set with the model's answers beside the labels, for the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from yolor_mtl.build import Model
from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.data.image import UnreadableImageError
from yolor_mtl.data.loader import checked_image
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.inference.result import plot
from yolor_mtl.records import Annotations
from yolor_mtl.report.page import Example
from yolor_mtl.tasks.base import DecodeOptions, Task


def labelled_first(dataset: CocoDataset, model: Model, number: int) -> list[int]:
    """Positions of pictures spread over the data set, those labelled for most tasks first."""
    metrics = [task.metric() for task in model.tasks]
    candidates = np.linspace(0, len(dataset) - 1, min(len(dataset), 8 * number)).round().astype(int).tolist()
    labels = [(index, dataset.annotations(index)) for index in dict.fromkeys(candidates)]
    ranked = sorted(labels, key=lambda item: -sum(metric.evaluates(item[1]) for metric in metrics))
    return sorted(index for index, _ in ranked[:number])


def examples(
    predictor: Predictor, dataset: CocoDataset, indices: Sequence[int], options: DecodeOptions
) -> Iterator[Example]:
    """An example for each readable picture; the labels are drawn in the data's own classes."""
    judges = [task.judged_on(dataset.space) for task in predictor.model.tasks]
    for index in indices:
        annotations = dataset.annotations(index)
        try:
            image = checked_image(annotations).as_subclass(torch.Tensor)
        except UnreadableImageError:
            continue
        result = next(iter(predictor.predict([image], options)))
        truth = truth_of(judges, annotations)
        yield Example(
            title=annotations.path.name,
            answer=result.plot(),
            truth=plot(result.image, judges, truth) if truth else None,
            caption=result.caption or "",
            references=annotations.captions or (),
        )


def truth_of(tasks: Sequence[Task], annotations: Annotations) -> dict[str, dict[str, object]]:
    """The labels of a picture as predictions, for the tasks that it is labelled for."""
    return {task.name: task.truth(annotations) for task in tasks if task.metric().evaluates(annotations)}
