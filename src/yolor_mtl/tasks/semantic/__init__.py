"""Semantic segmentation: a class for every pixel, things and stuff alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from yolor_mtl.config import fill, nearest
from yolor_mtl.data.augment import Meaning
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.base import Scoring, Show, Task, TaskKind, term_name, view_named
from yolor_mtl.tasks.semantic.decode import SemanticDecode
from yolor_mtl.tasks.semantic.head import MapBranch, SemanticHead
from yolor_mtl.tasks.semantic.labels import SemanticLabels
from yolor_mtl.tasks.semantic.loss import BranchedLoss, MultilabelLoss, SoftmaxLoss
from yolor_mtl.tasks.semantic.metric import SemanticMetric
from yolor_mtl.tasks.semantic.results import read_maps
from yolor_mtl.tasks.semantic.show import SemanticShow
from yolor_mtl.tasks.semantic.truth import map_truth


@dataclass
class SemanticConfig:
    """The block ``tasks.semantic`` of a network.

    Attributes:
        features: what the head reads, finest first: ``[p3]`` is the paper's single-scale head, ``[p3, p4, p5]`` the
            nearest to its multi-scale one, whose layers are not known.
        branches: further rows of :class:`MapBranch` for training alone, with ``name``, ``features`` and ``weight``.
        hidden: channels of a convolution before the last one; 0 for none.
        kernel: its side.
        enlarge: factor by which the logits are enlarged: 2 from stride 8 gives cells of 4 x 4 pixels.
        align_corners: the enlarging keeps the corners' centres (as the released networks do) instead of the edges.
        loss: ``softmax`` (one class a pixel) or ``multilabel`` (several may hold; mixup needs it).
        implicit: implicit knowledge around the output convolution.
        weights: factors of the loss terms.
        view: the augmentation it trains on.
    """

    features: list[str] = field(default_factory=lambda: ["p3"])
    branches: list[Any] = field(default_factory=list)
    hidden: int = 0
    kernel: int = 3
    enlarge: int = 2
    align_corners: bool = False
    loss: str = "softmax"
    implicit: bool = True
    weights: dict[str, float] = field(default_factory=lambda: {"cross_entropy": 2.0, "focal": 25.0, "dice": 1.25})
    view: str = "vision"


SEVERAL = "learn several classes a pixel with semantic.loss=multilabel"

LOSSES = {"softmax": SoftmaxLoss, "multilabel": MultilabelLoss}


@dataclass
class _BranchRow:
    name: str = ""
    features: list[str] = field(default_factory=list)
    weight: float = 1.0


def _branches(config: SemanticConfig) -> list[MapBranch]:
    """The one that answers, then those of training.

    Raises:
        UserError: a row lacks its name or its features, or another has the name.
    """
    rows = [fill(_BranchRow, row, where="semantic.branches") for row in config.branches]
    names = ["main", *(row.name for row in rows)]
    if len(set(names)) < len(names) or any(not (row.name and row.features) for row in rows) or not config.features:
        raise UserError(f"semantic.branches={config.branches}: each needs a name of its own, and features")
    more = [MapBranch(row.name, tuple(row.features), row.weight, train_only=True) for row in rows]
    return [MapBranch("", tuple(config.features)), *more]


def _features(config: SemanticConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for branch in _branches(config) for name in branch.features))


def _check(config: SemanticConfig) -> None:
    """Refuses what would fail later without a word about the key."""
    if config.loss not in LOSSES:
        known = f"{nearest(config.loss, LOSSES)}; there are: {', '.join(LOSSES)}"
        raise UserError(f"unknown semantic.loss={config.loss!r}{known}")
    if config.enlarge < 1 or config.kernel % 2 != 1 or config.hidden < 0:
        raise UserError(
            f"semantic.enlarge={config.enlarge} must be at least 1, semantic.kernel={config.kernel} odd and "
            f"semantic.hidden={config.hidden} not below 0"
        )


def _scoring(space: LabelSpace, answers: LabelSpace | None = None) -> Scoring:
    return Scoring(
        lambda: SemanticMetric(space, answers),
        lambda annotations: map_truth(annotations, space),
        lambda folder: read_maps(folder, space),
        lambda options: "the class with the greatest logit at the picture's own size",
        "annotations/panoptic_<split>.json or the maps in stuffthingmaps/<split>/",
    )


def _on(data: LabelSpace, answers: LabelSpace) -> tuple[Scoring, Show]:
    space = data if data.semantic else answers
    return _scoring(space, answers), SemanticShow(space)


def _build(config: SemanticConfig, space: LabelSpace, infos: Mapping[str, FeatureInfo]) -> Task:
    if not space.semantic:
        raise UserError("the data has no panoptic labels and no pixel maps; leave semantic out with tasks=[...]")
    _check(config)
    branches = _branches(config)
    head = SemanticHead(
        branches,
        infos,
        len(space.semantic),
        hidden=config.hidden,
        kernel=config.kernel,
        enlarge=config.enlarge,
        align_corners=config.align_corners,
        implicit=config.implicit,
    )
    return Task(
        name="semantic",
        features=_features(config),
        head=head,
        labels=SemanticLabels(space, head.stride, view_named(config.view, "semantic.view")),
        loss=BranchedLoss(LOSSES[config.loss](), branches),
        weights={term_name(branch.name, term): w for branch in branches for term, w in config.weights.items()},
        decode=SemanticDecode(),
        scoring=_scoring(space),
        show=SemanticShow(space),
        relies={} if config.loss == "multilabel" else {Meaning.ONE_CLASS: SEVERAL},
        on=lambda data: _on(data, space),
    )


VARIANTS = {
    "single-scale": {"features": ["p3"], "hidden": 0},
    # The paper gives 778.8 K values and no layers: a 1x1 convolution over all three, as wide as comes nearest to that.
    "multi-scale": {"features": ["p3", "p4", "p5"], "hidden": 396, "kernel": 1},
}

KIND = TaskKind(
    SemanticConfig,
    _features,
    _build,
    _scoring,
    needs=("semantic",),
    answering=lambda config: replace(config, branches=[]),
    variants=VARIANTS,
    show=SemanticShow,
)
