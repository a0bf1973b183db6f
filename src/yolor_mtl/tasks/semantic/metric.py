"""Scores of the semantic map, all from one confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolor_mtl.data.coco import semantic_map
from yolor_mtl.records import IGNORE, Annotations, LabelSpace, Prediction
from yolor_mtl.tasks.rows import Rows


class SemanticMetric:
    """Mean IoU and its kin over all pixels of all images.

    Reads of a prediction: ``map`` (H, W) uint8 tensor or array of classes in the original frame; a value that is no
    class is a pixel without an answer, which is wrong. Pixels whose label is ``IGNORE`` do not count.

    Args:
        space: the label space; C classes in ``space.semantic``.
    """

    headline = "semantic/mIoU"
    shown: tuple[str, ...] = ("semantic/mIoU", "semantic/FWIoU")

    def __init__(self, space: LabelSpace) -> None:
        self.protocol: Mapping[str, Any] = {
            "semantic": space.semantic_protocol,
            "semantic/classes": len(space.semantic),
            "semantic/mIoU": "mean over the classes that occur in the labels or in the predictions",
        }
        self._space, self._classes = space, len(space.semantic)
        self._rows: Rows[tuple[np.ndarray, np.ndarray]] = Rows()  # occupied cells of the image's matrix, their counts

    def evaluates(self, annotations: Annotations) -> bool:
        """Whether the image has a semantic map, from panoptic labels or a COCO-Stuff map."""
        return bool(self._classes) and (annotations.panoptic is not None or annotations.stuff_map is not None)

    def update(self, prediction: Prediction, annotations: Annotations) -> None:
        """Adds one image; seen twice, it counts once.

        Raises:
            ValueError: the predicted map is not of the label's size.
        """
        truth = semantic_map(annotations, self._space)
        answer = np.asarray(prediction["map"])
        if answer.shape != truth.shape:
            raise ValueError(f"map of {answer.shape} for image {annotations.image_id} of {truth.shape}")
        keep = truth != IGNORE
        told = np.minimum(answer[keep].astype(np.int64), self._classes)  # column C: no class
        codes = truth[keep].astype(np.int64) * (self._classes + 1) + told
        counts = np.bincount(codes, minlength=1)
        cells = np.flatnonzero(counts)
        self._rows.add(annotations, (cells, counts[cells]))

    def merge(self, other: SemanticMetric) -> None:
        """Adds what another process has seen."""
        self._rows.merge(other._rows)

    def confusion(self) -> np.ndarray:
        """Pixels (C, C + 1) int64: row = label, column = prediction, the last column = no class."""
        total = np.zeros(self._classes * (self._classes + 1), dtype=np.int64)
        for _, (cells, counts) in self._rows.sorted():
            total[cells] += counts
        return total.reshape(self._classes, self._classes + 1)

    def compute(self) -> dict[str, float]:
        """``semantic/mIoU``, ``FWIoU``, ``accuracy``, ``mean-accuracy`` in 0..1; empty without a labelled pixel.

        ``FWIoU`` weighs each class's IoU by its share of the labelled pixels; ``accuracy`` is the share of pixels that
        are right; ``mean-accuracy`` its mean over the classes that occur in the labels.
        """
        confusion = self.confusion()
        labelled, predicted = confusion.sum(axis=1), confusion[:, :-1].sum(axis=0)
        if not labelled.sum():
            return {}
        hits = np.diagonal(confusion)
        union = labelled + predicted - hits
        iou = hits / np.maximum(union, 1)
        accuracy = hits / np.maximum(labelled, 1)
        return {
            "semantic/mIoU": float(iou[union > 0].mean()),
            "semantic/FWIoU": float((labelled * iou).sum() / labelled.sum()),
            "semantic/accuracy": float(hits.sum() / labelled.sum()),
            "semantic/mean-accuracy": float(accuracy[labelled > 0].mean()),
        }

    def write(self, folder: Path) -> list[Path]:
        """Nothing: COCO has no result format for whole semantic maps, and ``predict`` writes them as pictures."""
        return []
