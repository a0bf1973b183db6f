"""Panoptic segmentation: instances and stuff in one map, merged from the other tasks' answers."""

from __future__ import annotations

from collections.abc import Mapping

from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace
from yolor_mtl.tasks.base import Scoring, Show, Task, TaskKind
from yolor_mtl.tasks.panoptic.decode import MergeRule, PanopticDecode
from yolor_mtl.tasks.panoptic.metric import PanopticMetric
from yolor_mtl.tasks.panoptic.results import read_segments
from yolor_mtl.tasks.panoptic.show import PanopticShow
from yolor_mtl.tasks.panoptic.truth import segment_truth


def _scoring(space: LabelSpace, answers: LabelSpace | None = None) -> Scoring:
    return Scoring(
        lambda: PanopticMetric(space, answers),
        lambda annotations: segment_truth(annotations, space),
        lambda folder: read_segments(folder, space),
    )


def _on(data: LabelSpace, answers: LabelSpace) -> tuple[Scoring, Show]:
    space = data if data.semantic else answers
    return _scoring(space, answers), PanopticShow(space)


def _build(rule: MergeRule, space: LabelSpace, infos: Mapping[str, FeatureInfo]) -> Task:
    return Task(
        name="panoptic",
        uses=("instance", "semantic"),
        decode=PanopticDecode(space, rule),
        scoring=_scoring(space),
        show=PanopticShow(space),
        on=lambda data: _on(data, space),
    )


KIND = TaskKind(MergeRule, lambda config: (), _build, _scoring, needs=("things", "semantic"))
