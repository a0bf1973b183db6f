"""Scores of the semantic map, all from one confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from yolor_mtl.data.class_translation import translation
from yolor_mtl.data.coco import semantic_map
from yolor_mtl.data.coco_stuff_classes import supercategory
from yolor_mtl.ops.details import Breakdown, Details, confusion_matrix
from yolor_mtl.records import IGNORE, Annotations, LabelSpace, Prediction
from yolor_mtl.tasks.rows import Rows

SHOWN_CLASSES = 24
"""Greatest number of classes in the drawn confusion matrix."""


class SemanticMetric:
    """Mean IoU and its kin over all pixels of all images, by class and by supercategory.

    Reads of a prediction: ``map`` (H, W) uint8 tensor or array of classes in the original frame; a value that is no
    class is a pixel without an answer, which is wrong. Pixels whose label is ``IGNORE`` do not count.

    No map and no label is kept. An image leaves six bytes for each occupied cell of its confusion matrix, about two
    kilobytes in all, so that one that is seen twice counts once.

    Args:
        space: the data's label space; C classes in ``space.semantic``.
        answers: the classes of the predictions, where they may be other ones; see :func:`translation`.

    Raises:
        UserError: there is no way from the classes of the predictions to the data's.
    """

    headline = "semantic/mIoU"
    shown: tuple[str, ...] = ("semantic/mIoU", "semantic/FWIoU")

    def __init__(self, space: LabelSpace, answers: LabelSpace | None = None) -> None:
        self._space, self._classes = space, len(space.semantic)
        self._translation = translation(answers, space) if answers is not None else None
        self._groups, self._group_of = _supercategories(space)
        self.protocol: Mapping[str, Any] = self._protocol()
        # Of each image, the occupied cells of its matrix and their counts.
        self._rows: Rows[tuple[np.ndarray, np.ndarray]] = Rows()

    def _protocol(self) -> dict[str, Any]:
        said: dict[str, Any] = {
            "semantic": self._space.semantic_protocol,
            "semantic/classes": len(self._space.semantic),
            "semantic/mIoU": "mean over the classes that occur in the labels or in the predictions",
        }
        if self._groups:
            said["semantic/super-mIoU"] = f"the same pixels by {len(self._groups)} supercategories"
        return said if self._translation is None else said | self._translation.protocol()

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
        if self._translation is not None:
            answer = self._translation.apply(answer)
        keep = truth != IGNORE
        told = np.minimum(answer[keep].astype(np.int64), self._classes)  # column C: no class
        codes = truth[keep].astype(np.int64) * (self._classes + 1) + told
        counts = np.bincount(codes, minlength=1)
        cells = np.flatnonzero(counts)
        picture = replace(annotations, objects=None, panoptic=None, stuff_map=None, captions=None)
        self._rows.add(picture, (cells.astype(np.uint16), counts[cells].astype(np.uint32)))

    def merge(self, other: SemanticMetric) -> None:
        """Adds what another process has seen."""
        self._rows.merge(other._rows)

    def confusion(self) -> np.ndarray:
        """Pixels (C, C + 1) int64: row = label, column = prediction, the last column = no class."""
        total = np.zeros(self._classes * (self._classes + 1), dtype=np.int64)
        for _, (cells, counts) in self._rows.sorted():
            total[cells] += counts
        return total.reshape(self._classes, self._classes + 1)

    def super_confusion(self) -> np.ndarray:
        """Pixels (G, G + 1) int64 by supercategory, rows and columns as in :meth:`confusion`; (0, 1) without groups."""
        total = np.zeros((len(self._groups), len(self._groups) + 1), dtype=np.int64)
        if self._groups:
            columns = np.array([*self._group_of, len(self._groups)])
            np.add.at(total, (np.array(self._group_of)[:, None], columns), self.confusion())
        return total

    def compute(self) -> dict[str, float]:
        """``semantic/mIoU``, ``FWIoU``, ``accuracy``, ``mean-accuracy`` in 0..1; empty without a labelled pixel.

        ``FWIoU`` weighs each class's IoU by its share of the labelled pixels; ``accuracy`` is the share of pixels that
        are right; ``mean-accuracy`` its mean over the classes that occur in the labels. ``super-mIoU`` and so on are
        the same numbers by supercategory, where the classes have some.
        """
        parts = {"semantic/": self.confusion(), "semantic/super-": self.super_confusion()}
        return {
            f"{prefix}{name}": value
            for prefix, confusion in parts.items()
            for name, value in _numbers(confusion).items()
        }

    def details(self) -> Details:
        """Confusions, IoU by class and by supercategory, and how much of each image is right."""
        confusion, names = self.confusion(), self._space.semantic_names
        title = "semantic map: what was taken for what, in pixels"
        tables = [_breakdown("semantic map, class by class", confusion, names)]
        if self._groups:
            tables.append(_breakdown("semantic map, by supercategory", self.super_confusion(), self._groups))
        return Details(
            matrices=[confusion_matrix(title, confusion, names, [*names, "no class"], SHOWN_CLASSES)],
            tables=tables,
            images={label.image_id: self._right(*cells) for label, cells in self._rows.sorted()},
        )

    def _right(self, cells: np.ndarray, counts: np.ndarray) -> float:
        """Share of an image's labelled pixels that are right, from its cells of the matrix."""
        row, column = np.divmod(cells.astype(np.int64), self._classes + 1)
        return float(counts[row == column].sum() / max(counts.sum(), 1))

    def write(self, folder: Path) -> list[Path]:
        """Nothing: ``predict`` writes maps, as PNGs, and no map is kept here.

        COCO's stuff task has a result format, an RLE for each class of an image; ours are PNGs, written and read.
        """
        return []


def _supercategories(space: LabelSpace) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of the groups, and of each class its group; nothing where a class has none or they say nothing new."""
    groups = [supercategory(category) for category in space.semantic]
    names = tuple(dict.fromkeys(groups))
    if "" in names or not 1 < len(names) < len(groups):
        return (), ()
    return names, tuple(names.index(group) for group in groups)


def _ratios(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of a matrix (C, C + 1): labelled pixels, union, IoU and accuracy of each class, (C,)."""
    labelled, hits = confusion.sum(axis=1), np.diagonal(confusion)
    union = labelled + confusion[:, :-1].sum(axis=0) - hits
    return labelled, union, hits / np.maximum(union, 1), hits / np.maximum(labelled, 1)


def _numbers(confusion: np.ndarray) -> dict[str, float]:
    """The four scores of a matrix (C, C + 1); none without a labelled pixel."""
    labelled, union, iou, accuracy = _ratios(confusion)
    if not labelled.sum():
        return {}
    return {
        "mIoU": float(iou[union > 0].mean()),
        "FWIoU": float((labelled * iou).sum() / labelled.sum()),
        "accuracy": float(np.diagonal(confusion).sum() / labelled.sum()),
        "mean-accuracy": float(accuracy[labelled > 0].mean()),
    }


def _breakdown(title: str, confusion: np.ndarray, names: Sequence[str]) -> Breakdown:
    """A row for each class of a matrix (C, C + 1) that occurs, the best first."""
    labelled, union, iou, accuracy = _ratios(confusion)
    share = labelled / max(labelled.sum(), 1)
    rows = [(names[i], (iou[i], accuracy[i], share[i])) for i in np.flatnonzero(union).tolist()]
    return Breakdown(title, ("class", "IoU", "accuracy", "share"), sorted(rows, key=lambda row: -row[1][0]))
