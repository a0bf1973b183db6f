"""Detection: anchor-free boxes with classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yolor_mtl.config import fill
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.base import Branch, Scoring, Task, TaskKind, view_named
from yolor_mtl.tasks.detection.decode import DetectionDecode
from yolor_mtl.tasks.detection.head import DetectionHead
from yolor_mtl.tasks.detection.labels import DetectionLabels
from yolor_mtl.tasks.detection.loss import DetectionLoss
from yolor_mtl.tasks.detection.metric import BoxMetric
from yolor_mtl.tasks.detection.results import read_boxes
from yolor_mtl.tasks.detection.show import DetectionShow
from yolor_mtl.tasks.detection.truth import box_truth


@dataclass
class DetectionConfig:
    """The block ``tasks.detection`` of a network.

    Attributes:
        features: what the heads read, finest first; branches may read others of the same strides.
        branches: rows of :class:`Branch`; the first is the one that answers and shares its assignment.
        bins: distances per side.
        box_width: channels of the box towers.
        class_width: channels of the class towers.
        depth: 3x3 convolutions in a tower.
        separable: depthwise-separable class towers.
        implicit: implicit knowledge around the output convolutions.
        weights: factors of the loss terms.
        view: the augmentation it trains on.
    """

    features: list[str] = field(default_factory=lambda: ["p3", "p4", "p5"])
    branches: list[Any] = field(default_factory=lambda: [{"name": "main"}])
    bins: int = 16
    box_width: int = 64
    class_width: int = 256
    depth: int = 2
    separable: bool = False
    implicit: bool = True
    weights: dict[str, float] = field(default_factory=lambda: {"class": 0.5, "box": 7.5, "dfl": 1.5})
    view: str = "vision"


@dataclass
class _BranchRow:
    name: str = "main"
    features: list[str] | None = None
    weight: float = 1.0
    top_k: int = 10
    detach: bool = False
    train_only: bool = False


def _branches(config: DetectionConfig) -> list[Branch]:
    rows = [fill(_BranchRow, row, where="detection.branches") for row in config.branches]
    return [
        Branch(row.name, tuple(row.features or config.features), row.weight, row.top_k, row.detach, row.train_only)
        for row in rows
    ]


def _check(config: DetectionConfig, branches: list[Branch], infos: Mapping[str, FeatureInfo]) -> None:
    """Refuses what would fail later without a word about the key."""
    if config.bins < 2:
        raise UserError(f"detection.bins={config.bins}; a distance lies between two bins at least")
    names = [branch.name for branch in branches]
    if not names or len(set(names)) < len(names):
        raise UserError(f"detection.branches are named {names}; one or more are needed, each with its own name")
    strides = {branch.name: [infos[name].stride for name in branch.features] for branch in branches}
    if any(stride != strides[names[0]] for stride in strides.values()):
        raise UserError(f"detection.branches must read features of the same strides, not {strides}")


def _features(config: DetectionConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for branch in _branches(config) for name in branch.features))


def _scoring(space: LabelSpace) -> Scoring:
    return Scoring(lambda: BoxMetric(space), box_truth, lambda folder: read_boxes(folder, space))


def _build(config: DetectionConfig, space: LabelSpace, infos: Mapping[str, FeatureInfo]) -> Task:
    if not space.things:
        raise UserError("the data has no object classes; leave detection out with tasks=[...]")
    branches = _branches(config)
    _check(config, branches, infos)
    head = DetectionHead(
        branches,
        infos,
        len(space.things),
        bins=config.bins,
        box_width=config.box_width,
        class_width=config.class_width,
        depth=config.depth,
        separable=config.separable,
        implicit=config.implicit,
    )
    return Task(
        name="detection",
        features=_features(config),
        head=head,
        labels=DetectionLabels(view_named(config.view, "detection.view")),
        loss=DetectionLoss(branches),
        weights=dict(config.weights),
        decode=DetectionDecode(branches[0].name),
        scoring=_scoring(space),
        show=DetectionShow(space),
    )


KIND = TaskKind(DetectionConfig, _features, _build, _scoring, needs=("things",))
