"""Panoptic segmentation: instances and stuff in one map, merged from the other tasks' answers."""

from __future__ import annotations

from collections.abc import Mapping

from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace
from yolor_mtl.tasks.base import Scoring, Show, Task, TaskKind
from yolor_mtl.tasks.panoptic.decode import MergeRule, PanopticDecode, merge_words
from yolor_mtl.tasks.panoptic.metric import PanopticMetric
from yolor_mtl.tasks.panoptic.results import read_segments
from yolor_mtl.tasks.panoptic.show import PanopticShow
from yolor_mtl.tasks.panoptic.truth import segment_truth


def _scoring(space: LabelSpace, answers: LabelSpace | None = None, rule: MergeRule | None = None) -> Scoring:
    return Scoring(
        lambda: PanopticMetric(space, answers),
        lambda annotations: segment_truth(annotations, space),
        lambda folder: read_segments(folder, space),
        lambda options: merge_words(rule or MergeRule()),
        "annotations/panoptic_<split>.json",
    )


def _on(data: LabelSpace, answers: LabelSpace, rule: MergeRule) -> tuple[Scoring, Show]:
    space = data if data.semantic else answers
    return _scoring(space, answers, rule), PanopticShow(space)


def _build(rule: MergeRule, space: LabelSpace, infos: Mapping[str, FeatureInfo]) -> Task:
    return Task(
        name="panoptic",
        uses=("instance", "semantic"),
        decode=PanopticDecode(space, rule),
        scoring=_scoring(space, rule=rule),
        show=PanopticShow(space),
        on=lambda data: _on(data, space, rule),
    )


KIND = TaskKind(
    MergeRule,
    lambda config: (),
    _build,
    _scoring,
    needs=("things", "semantic"),
    show=PanopticShow,
    results=("panoptic.json",),
)
