"""Detection: anchor-free boxes with classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from yolor_mtl.config import fill
from yolor_mtl.data.augment import Meaning
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.base import Branch, Scoring, Task, TaskKind, term_name, view_named
from yolor_mtl.tasks.detection.decode import DetectionDecode, box_words
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
        branches: rows of :class:`Branch`, with ``box_width`` and ``class_width`` where theirs differ; the first is
            the one that answers.
        shared: the branch whose assignment other tasks use; the first by default.
        bins: distances per side.
        box_width: channels of the box towers.
        class_width: channels of the class towers.
        depth: 3x3 convolutions in a tower.
        separable: depthwise-separable class towers.
        box_groups: groups of the box towers after their first convolution, and of their output.
        implicit: implicit knowledge around the output convolutions.
        weights: factors of the loss terms.
        view: the augmentation it trains on.
    """

    features: list[str] = field(default_factory=lambda: ["p3", "p4", "p5"])
    branches: list[Any] = field(default_factory=lambda: [{"name": "main"}])
    shared: str = ""
    bins: int = 16
    box_width: int = 64
    class_width: int = 256
    depth: int = 2
    separable: bool = False
    box_groups: int = 1
    implicit: bool = True
    weights: dict[str, float] = field(default_factory=lambda: {"class": 0.5, "box": 7.5, "dfl": 1.5})
    view: str = "vision"


@dataclass
class _BranchRow:
    name: str = "main"
    features: list[str] | None = None
    weight: float = 1.0
    top_k: int = 10
    assign_from: str | None = None
    detach: bool = False
    train_only: bool = False
    box_width: int = 0
    class_width: int = 0


def _rows(config: DetectionConfig) -> list[_BranchRow]:
    return [fill(_BranchRow, row, where="detection.branches") for row in config.branches]


def _branches(config: DetectionConfig) -> list[Branch]:
    return [
        Branch(
            row.name,
            tuple(row.features or config.features),
            row.weight,
            row.top_k,
            row.assign_from,
            row.detach,
            row.train_only,
        )
        for row in _rows(config)
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
    own = [branch.name for branch in branches if branch.assign_from is None]
    for key, name in [("shared", config.shared), *((f"{b.name}.assign_from", b.assign_from) for b in branches)]:
        if name and name not in (own if key != "shared" else names):
            raise UserError(f"detection.{key}={name!r}; branches that assign for themselves: {', '.join(own)}")
    if config.box_groups < 1 or any(side % config.box_groups for side in (config.box_width, 4 * config.bins)):
        raise UserError(f"detection.box_groups={config.box_groups} must divide box_width and 4 * bins")


def _features(config: DetectionConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for branch in _branches(config) for name in branch.features))


def _answering(config: DetectionConfig) -> DetectionConfig:
    kept = [row for row, told in zip(config.branches, _rows(config), strict=True) if not told.train_only]
    return replace(config, branches=kept, shared="")


def _scoring(space: LabelSpace) -> Scoring:
    return Scoring(
        lambda: BoxMetric(space),
        box_truth,
        lambda folder: read_boxes(folder, space),
        box_words,
        "annotations/instances_<split>.json",
    )


LOOSE = "accept boxes that are too wide with augment.untrue=[detection]"


def _build(config: DetectionConfig, space: LabelSpace, infos: Mapping[str, FeatureInfo]) -> Task:
    if not space.things:
        raise UserError("the data has no object classes; leave detection out with tasks=[...]")
    branches = _branches(config)
    _check(config, branches, infos)
    head = DetectionHead(
        branches,
        infos,
        len(space.things),
        widths={
            row.name: (row.box_width or config.box_width, row.class_width or config.class_width)
            for row in _rows(config)
        },
        bins=config.bins,
        depth=config.depth,
        separable=config.separable,
        box_groups=config.box_groups,
        implicit=config.implicit,
    )
    return Task(
        name="detection",
        features=_features(config),
        head=head,
        labels=DetectionLabels(view_named(config.view, "detection.view")),
        loss=DetectionLoss(branches, config.shared),
        weights={
            term_name("" if branch is branches[0] else branch.name, term): weight
            for branch in branches
            for term, weight in config.weights.items()
        },
        decode=DetectionDecode(branches[0].name),
        scoring=_scoring(space),
        show=DetectionShow(space),
        relies={Meaning.TIGHT: LOOSE},
    )


KIND = TaskKind(
    DetectionConfig,
    _features,
    _build,
    _scoring,
    needs=("things",),
    answering=_answering,
    show=DetectionShow,
    results=("detections.json",),
)
