"""Panoptic maps: instances by score, stuff where none lies (Kirillov et al., arXiv 1801.00868, section 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolor_mtl.records import IGNORE, Frame, LabelSpace, Outputs, Prediction, Predictions
from yolor_mtl.tasks.base import DecodeOptions


@dataclass
class MergeRule:
    """The block ``tasks.panoptic`` of a network: thresholds of the merge.

    Attributes:
        conf: instances below this score stay out.
        visible: an instance stays out if less than this share of its mask is still free.
        stuff_share: stuff segments below this share of the picture become void.
    """

    conf: float = 0.25
    visible: float = 0.5
    stuff_share: float = 0.005


def merge_words(rule: MergeRule) -> str:
    """The thresholds of the merge, in words."""
    return (
        f"masks with scores from {rule.conf:g} on, best first, where at least {rule.visible:.0%} of one is still free; "
        f"then stuff, where a kind covers at least {rule.stuff_share:.2%} of the picture"
    )


class PanopticDecode:
    """Has no head: merges what instance and semantic segmentation say."""

    def __init__(self, space: LabelSpace, rule: MergeRule) -> None:
        self.space = space
        self.rule = rule

    def __call__(
        self, out: Outputs, used: Mapping[str, Sequence[Prediction]], options: DecodeOptions
    ) -> list[Prediction]:
        """Nothing happens in the model's frame."""
        return [{} for _ in used["instance"]]

    def restore(self, prediction: Prediction, frame: Frame, restored: Predictions) -> Prediction:
        """``map`` (H, W) int32 of segment ids, 0 for void, and ``segments``.

        Each segment holds ``id``, ``category`` (semantic class index), ``isthing``, ``score`` (1 for stuff) and
        ``area`` in pixels.
        """
        semantic = np.asarray(restored["semantic"]["map"])
        ids = np.zeros(semantic.shape, dtype=np.int32)
        segments = self._things(ids, restored["instance"])
        segments += self._stuff(ids, semantic, len(segments))
        return {"map": ids, "segments": segments}

    def _things(self, ids: np.ndarray, instance: Prediction) -> list[dict[str, Any]]:
        """Writes instances into ``ids``, best first; each takes only what is still free."""
        segments: list[dict[str, Any]] = []
        masks, to_semantic = instance["masks"], self.space.thing_to_semantic
        for index, (score, cls) in enumerate(
            zip(instance["scores"].tolist(), instance["classes"].tolist(), strict=True)
        ):
            category = to_semantic[cls]
            if score < self.rule.conf or category < 0:
                continue
            view = ids[masks.window(index)]
            crop = masks.crops[index]
            free = crop & (view == 0)
            area, whole = int(np.count_nonzero(free)), int(np.count_nonzero(crop))
            if area == 0 or area < self.rule.visible * whole:
                continue
            number = len(segments) + 1
            view[free] = number
            segments.append({"id": number, "category": category, "isthing": True, "score": score, "area": area})
        return segments

    def _stuff(self, ids: np.ndarray, semantic: np.ndarray, taken: int) -> list[dict[str, Any]]:
        """Writes stuff into what is left of ``ids``; thing classes that no instance claims stay void."""
        stuff = np.zeros(IGNORE + 1, dtype=bool)
        stuff[[i for i, category in enumerate(self.space.semantic) if not category.isthing]] = True
        free = (ids == 0) & stuff[semantic]
        classes = semantic[free]
        areas = np.bincount(classes, minlength=IGNORE + 1)
        # One pass through a table for all classes, not one over the picture for each.
        numbers = np.zeros(IGNORE + 1, dtype=np.int32)
        segments: list[dict[str, Any]] = []
        for category in np.flatnonzero(areas >= max(1.0, self.rule.stuff_share * ids.size)).tolist():
            numbers[category] = taken + len(segments) + 1
            row = {"id": int(numbers[category]), "category": category, "isthing": False, "score": 1.0}
            segments.append({**row, "area": int(areas[category])})
        ids[free] = numbers[classes]
        return segments
