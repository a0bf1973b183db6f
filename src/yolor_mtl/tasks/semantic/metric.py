"""Scores of the semantic map, all from one confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolor_mtl.data.coco import semantic_map
from yolor_mtl.ops.details import Breakdown, Details, confusion_matrix
from yolor_mtl.records import IGNORE, Annotations, LabelSpace, Prediction
from yolor_mtl.tasks.rows import Rows

SHOWN_CLASSES = 24
"""Greatest number of classes in the drawn confusion matrix."""


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

    def details(self) -> Details:
        """Confusions, IoU by class, and how much of each image is right."""
        confusion = self.confusion()
        labelled, hits = confusion.sum(axis=1), np.diagonal(confusion)
        union = labelled + confusion[:, :-1].sum(axis=0) - hits
        names = self._space.semantic_names
        rows = [
            (names[i], (hits[i] / union[i], hits[i] / max(labelled[i], 1), labelled[i] / max(labelled.sum(), 1)))
            for i in np.flatnonzero(union)
        ]
        rows.sort(key=lambda row: -row[1][0])
        title = "semantic map: what was taken for what, in pixels"
        return Details(
            matrices=[confusion_matrix(title, confusion, names, [*names, "no class"], SHOWN_CLASSES)],
            tables=[Breakdown("semantic map, class by class", ("class", "IoU", "accuracy", "share"), rows)],
            images={label.image_id: self._right(*cells) for label, cells in self._rows.sorted()},
        )

    def _right(self, cells: np.ndarray, counts: np.ndarray) -> float:
        """Share of an image's labelled pixels that are right, from its cells of the matrix."""
        row, column = np.divmod(cells, self._classes + 1)
        return float(counts[row == column].sum() / max(counts.sum(), 1))

    def write(self, folder: Path) -> list[Path]:
        """Nothing: COCO has no result format for whole semantic maps, and ``predict`` writes them as pictures."""
        return []
