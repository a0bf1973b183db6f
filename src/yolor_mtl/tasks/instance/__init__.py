"""Instance segmentation: a mask for each of detection's boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace
from yolor_mtl.tasks.base import Scoring, Task, TaskKind, view_named
from yolor_mtl.tasks.instance.decode import InstanceDecode
from yolor_mtl.tasks.instance.head import InstanceHead
from yolor_mtl.tasks.instance.labels import InstanceLabels
from yolor_mtl.tasks.instance.loss import InstanceLoss
from yolor_mtl.tasks.instance.metric import MaskMetric
from yolor_mtl.tasks.instance.results import read_masks
from yolor_mtl.tasks.instance.show import InstanceShow
from yolor_mtl.tasks.instance.truth import mask_truth


@dataclass
class InstanceConfig:
    """The block ``tasks.instance`` of a network.

    Attributes:
        features: what the coefficients read, the same levels as detection; the first also feeds the prototypes.
        prototypes: K.
        proto_width: channels before the prototypes.
        width: channels of the coefficient towers.
        depth: 3x3 convolutions in a tower.
        implicit: implicit knowledge around the output convolutions.
        weights: factors of the loss terms.
        view: the augmentation it trains on; must be detection's.
    """

    features: list[str] = field(default_factory=lambda: ["p3", "p4", "p5"])
    prototypes: int = 32
    proto_width: int = 256
    width: int = 64
    depth: int = 2
    implicit: bool = True
    weights: dict[str, float] = field(default_factory=lambda: {"mask": 2.5})
    view: str = "vision"


def _scoring(space: LabelSpace) -> Scoring:
    return Scoring(lambda: MaskMetric(space), mask_truth, lambda folder: read_masks(folder, space))


def _build(config: InstanceConfig, space: LabelSpace, infos: Mapping[str, FeatureInfo]) -> Task:
    head = InstanceHead(
        config.features,
        infos,
        prototypes=config.prototypes,
        proto_width=config.proto_width,
        width=config.width,
        depth=config.depth,
        implicit=config.implicit,
    )
    return Task(
        name="instance",
        features=tuple(config.features),
        uses=("detection",),
        head=head,
        labels=InstanceLabels(head.stride, view_named(config.view, "instance.view")),
        loss=InstanceLoss(head.stride),
        weights=dict(config.weights),
        decode=InstanceDecode(),
        scoring=_scoring(space),
        show=InstanceShow(),
    )


KIND = TaskKind(InstanceConfig, lambda config: tuple(config.features), _build, _scoring, needs=("things",))
