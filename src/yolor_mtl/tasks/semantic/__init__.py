"""Semantic segmentation: a class for every pixel, things and stuff alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from yolor_mtl.config import nearest
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.base import Scoring, Task, TaskKind, view_named
from yolor_mtl.tasks.semantic.decode import SemanticDecode
from yolor_mtl.tasks.semantic.head import SemanticHead
from yolor_mtl.tasks.semantic.labels import SemanticLabels
from yolor_mtl.tasks.semantic.loss import MultilabelLoss, SoftmaxLoss
from yolor_mtl.tasks.semantic.metric import SemanticMetric
from yolor_mtl.tasks.semantic.results import read_maps
from yolor_mtl.tasks.semantic.show import SemanticShow
from yolor_mtl.tasks.semantic.truth import map_truth


@dataclass
class SemanticConfig:
    """The block ``tasks.semantic`` of a network.

    Attributes:
        feature: what the head reads.
        loss: ``softmax`` (one class a pixel) or ``multilabel`` (several may hold; mixup needs it).
        implicit: implicit knowledge around the output convolution.
        weights: factors of the loss terms.
        view: the augmentation it trains on.
    """

    feature: str = "p3"
    loss: str = "softmax"
    implicit: bool = True
    weights: dict[str, float] = field(default_factory=lambda: {"cross_entropy": 2.0, "focal": 25.0, "dice": 1.25})
    view: str = "vision"


ONE_CLASS = "a softmax has one class a pixel, mixed pictures have two; set semantic.loss=multilabel or mixup=0"

LOSSES = {"softmax": SoftmaxLoss, "multilabel": MultilabelLoss}


def _scoring(space: LabelSpace) -> Scoring:
    return Scoring(
        lambda: SemanticMetric(space),
        lambda annotations: map_truth(annotations, space),
        lambda folder: read_maps(folder, space),
    )


def _build(config: SemanticConfig, space: LabelSpace, infos: Mapping[str, FeatureInfo]) -> Task:
    if not space.semantic:
        raise UserError("the data has no panoptic labels and no pixel maps; leave semantic out with tasks=[...]")
    if config.loss not in LOSSES:
        known = f"{nearest(config.loss, LOSSES)}; there are: {', '.join(LOSSES)}"
        raise UserError(f"unknown semantic.loss={config.loss!r}{known}")
    head = SemanticHead(config.feature, infos[config.feature], len(space.semantic), implicit=config.implicit)
    return Task(
        name="semantic",
        features=(config.feature,),
        head=head,
        labels=SemanticLabels(space, head.stride, view_named(config.view, "semantic.view")),
        loss=LOSSES[config.loss](),
        weights=dict(config.weights),
        decode=SemanticDecode(),
        scoring=_scoring(space),
        show=SemanticShow(space),
        breaks={} if config.loss == "multilabel" else {"mixup": ONE_CLASS},
    )


KIND = TaskKind(SemanticConfig, lambda config: (config.feature,), _build, _scoring, needs=("semantic",))
