"""Pictures of a data set with answers beside the labels, for the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.data.image import UnreadableImageError
from yolor_mtl.data.loader import checked_image
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.inference.result import plot
from yolor_mtl.records import Annotations, Prediction
from yolor_mtl.report.page import Answer, Example
from yolor_mtl.tasks.base import Answers, DecodeOptions, Judge

Drawn = tuple[Image.Image, str]
"""An answer as a picture, and its sentence, empty without one."""

Drawer = Callable[[Tensor, Annotations], Drawn]
"""From a photograph (3, H, W) uint8 and its labels, which say which picture it is, to the drawn answer."""


def labelled_first(dataset: CocoDataset, judges: Sequence[Judge], number: int) -> list[int]:
    """Positions of pictures spread over the data set, those labelled for most tasks first."""
    metrics = [judge.scoring.metric() for judge in judges]
    candidates = np.linspace(0, len(dataset) - 1, min(len(dataset), 8 * number)).round().astype(int).tolist()
    labels = [(index, dataset.annotations(index)) for index in dict.fromkeys(candidates)]
    ranked = sorted(labels, key=lambda item: -sum(metric.evaluates(item[1]) for metric in metrics))
    return sorted(index for index, _ in ranked[:number])


def examples(
    dataset: CocoDataset, indices: Sequence[int], judges: Sequence[Judge], drawers: Mapping[str, Drawer]
) -> Iterator[Example]:
    """An example for each readable picture, with the answers of each drawer by its name beside each other.

    The labels are drawn in the data's own classes.
    """
    for index in indices:
        annotations = dataset.annotations(index)
        try:
            image = checked_image(annotations).as_subclass(torch.Tensor)
        except UnreadableImageError:
            continue
        truth = truth_of(judges, annotations)
        yield Example(
            title=annotations.path.name,
            answers=[Answer(who, *drawer(image, annotations)) for who, drawer in drawers.items()],
            truth=plot(image.permute(1, 2, 0).numpy(), judges, truth) if truth else None,
            references=annotations.captions or (),
        )


def model_drawer(predictor: Predictor, options: DecodeOptions) -> Drawer:
    """Answers of a model, drawn in its own classes."""

    def draw(image: Tensor, annotations: Annotations) -> Drawn:
        result = next(iter(predictor.predict([image], options)))
        return result.plot(), result.caption or ""

    return draw


def answer_drawer(judges: Sequence[Judge], answers: Mapping[str, Answers], options: DecodeOptions) -> Drawer:
    """Answers that were given, by task, of the pictures that are labelled for it; as sure as a model's would have to be
    to be drawn."""
    metrics = {judge.name: judge.scoring.metric() for judge in judges}

    def draw(image: Tensor, annotations: Annotations) -> Drawn:
        said = {
            judge.name: _sure(answers[judge.name](annotations), options.conf)
            for judge in judges
            if metrics[judge.name].evaluates(annotations)
        }
        caption = next((str(answer["text"]) for answer in said.values() if "text" in answer), "")
        return plot(image.permute(1, 2, 0).numpy(), judges, said), caption

    return draw


def _sure(prediction: Prediction, conf: float) -> Prediction:
    """Of an answer with scores what is over ``conf``, best first; another answer as it is."""
    scores = prediction.get("scores")
    if scores is None:
        return prediction
    order = torch.argsort(scores, descending=True, stable=True)
    keep = order[scores[order] > conf]

    def chosen(value: Any) -> Any:
        return value[keep] if isinstance(value, Tensor) else value.select(keep.tolist())

    return {name: chosen(value) for name, value in prediction.items()}


def truth_of(judges: Sequence[Judge], annotations: Annotations) -> dict[str, Prediction]:
    """The labels of a picture as predictions, for the tasks that it is labelled for."""
    return {
        judge.name: judge.scoring.truth(annotations)
        for judge in judges
        if judge.scoring.metric().evaluates(annotations)
    }
