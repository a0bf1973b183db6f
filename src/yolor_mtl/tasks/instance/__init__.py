"""Instance segmentation: a mask for each of detection's boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from yolor_mtl.config import fill
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.base import Scoring, Task, TaskKind, term_name, view_named
from yolor_mtl.tasks.detection.decode import box_words
from yolor_mtl.tasks.instance.decode import InstanceDecode
from yolor_mtl.tasks.instance.head import InstanceHead, MaskBranch
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
        features: what the coefficients read, the same levels as detection.
        branches: further rows of :class:`MaskBranch` for training alone, with ``name``, ``features``, ``proto``,
            ``width`` and ``weight``.
        proto: the feature the prototypes are made of; the first of ``features`` by default.
        prototypes: K.
        proto_width: channels before the prototypes, where they are enlarged.
        enlarge: the prototypes' feature goes through two 3x3 convolutions and is enlarged twice.
        width: channels of the coefficient towers.
        depth: 3x3 convolutions in a tower.
        implicit: implicit knowledge around the output convolutions.
        weights: factors of the loss terms.
        view: the augmentation it trains on; must be detection's.
    """

    features: list[str] = field(default_factory=lambda: ["p3", "p4", "p5"])
    branches: list[Any] = field(default_factory=list)
    proto: str = ""
    prototypes: int = 32
    proto_width: int = 256
    enlarge: bool = True
    width: int = 64
    depth: int = 2
    implicit: bool = True
    weights: dict[str, float] = field(default_factory=lambda: {"mask": 2.5})
    view: str = "vision"


@dataclass
class _BranchRow:
    name: str = ""
    features: list[str] = field(default_factory=list)
    proto: str = ""
    width: int = 64
    weight: float = 1.0


def _branches(config: InstanceConfig) -> list[MaskBranch]:
    """The one that answers, then those of training.

    Raises:
        UserError: a row lacks its name or its features, or another has the name.
    """
    rows = [fill(_BranchRow, row, where="instance.branches") for row in config.branches]
    first = MaskBranch("", tuple(config.features), config.proto or config.features[0], config.width)
    more = [MaskBranch(r.name, tuple(r.features), r.proto, r.width, r.weight, train_only=True) for r in rows]
    names = ["main", *(branch.name for branch in more)]
    if len(set(names)) < len(names) or any(not (b.name and b.features and b.proto) for b in more):
        raise UserError(f"instance.branches={config.branches}: each needs a name of its own, features and proto")
    return [first, *more]


def _features(config: InstanceConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for b in _branches(config) for name in (*b.features, b.proto)))


def _scoring(space: LabelSpace) -> Scoring:
    return Scoring(
        lambda: MaskMetric(space),
        mask_truth,
        lambda folder: read_masks(folder, space),
        lambda options: f"a mask for each box, cut to it: {box_words(options)}",
        "annotations/instances_<split>.json",
    )


def _build(config: InstanceConfig, space: LabelSpace, infos: Mapping[str, FeatureInfo]) -> Task:
    branches = _branches(config)
    head = InstanceHead(
        branches,
        infos,
        prototypes=config.prototypes,
        proto_width=config.proto_width,
        enlarge=config.enlarge,
        depth=config.depth,
        implicit=config.implicit,
    )
    return Task(
        name="instance",
        features=_features(config),
        uses=("detection",),
        head=head,
        labels=InstanceLabels(head.stride, view_named(config.view, "instance.view")),
        loss=InstanceLoss(head.stride, branches),
        weights={term_name(branch.name, term): w for branch in branches for term, w in config.weights.items()},
        decode=InstanceDecode(),
        scoring=_scoring(space),
        show=InstanceShow(),
    )


KIND = TaskKind(
    InstanceConfig,
    _features,
    _build,
    _scoring,
    needs=("things",),
    answering=lambda config: replace(config, branches=[]),
    show=lambda space: InstanceShow(),
    results=("segmentations.json",),
)
