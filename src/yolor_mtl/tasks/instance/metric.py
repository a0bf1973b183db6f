"""COCO's mask AP and AR."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolor_mtl.ops.coco_eval import CocoEvaluation, truth_rows
from yolor_mtl.ops.details import Details
from yolor_mtl.ops.masks import CroppedMasks, segmentation_to_rle
from yolor_mtl.records import Annotations, LabelSpace, ObjectLabel, Prediction
from yolor_mtl.tasks.rows import Once, Rows


@dataclass(frozen=True, slots=True)
class _Found:
    """The N masks of one image: class indices, scores, and the counts of their RLE. Bare lists: dictionaries of half a
    million masks would take more memory than the masks."""

    classes: list[int]
    scores: list[float]
    counts: list[str]


class MaskMetric:
    """The twelve mask numbers, equal to pycocotools'.

    Reads of a prediction: ``masks``, a :class:`~yolor_mtl.ops.masks.CroppedMasks` of N masks in the original frame;
    ``scores`` (N,) float; ``classes`` (N,) int64, indices in ``space.things``. Masks are RLE-coded as they arrive,
    one after the other, so that memory stays near that of one full-size mask.

    Args:
        space: the label space.
        max_det: greatest number of masks of a class in an image (COCO's protocol: 100).
    """

    headline = "mask/AP"
    shown: tuple[str, ...] = ("mask/AP", "mask/AP50")

    def __init__(self, space: LabelSpace, max_det: int = 100) -> None:
        self.protocol: Mapping[str, Any] = {
            "mask": f"COCO masks, {len(space.things)} classes, IoU 0.50:0.95, {max_det} detections a class and image",
        }
        self._categories, self._max_det = space.things, max_det
        self._rows: Rows[_Found] = Rows()
        self._evaluation: Once[CocoEvaluation] = Once()

    def evaluates(self, annotations: Annotations) -> bool:
        """Whether the image is labelled for masks: no object lacks one. An image without objects may be."""
        return annotations.objects is not None and annotations.has_masks

    def update(self, prediction: Prediction, annotations: Annotations) -> None:
        """Adds one image; seen twice, it counts once.

        Raises:
            ValueError: the masks are not of the image's size.
        """
        masks: CroppedMasks = prediction["masks"]
        if tuple(masks.size) != (annotations.height, annotations.width):
            raise ValueError(
                f"masks of {masks.size} for image {annotations.image_id} of {(annotations.height, annotations.width)}"
            )
        self._evaluation.forget()
        found = _Found(
            prediction["classes"].tolist(),
            prediction["scores"].detach().cpu().double().tolist(),
            [masks.rle(index)["counts"] for index in range(len(masks))],
        )
        self._rows.add(annotations, found)

    def merge(self, other: MaskMetric) -> None:
        """Adds what another process has seen."""
        self._evaluation.forget()
        self._rows.merge(other._rows)

    def compute(self) -> dict[str, float]:
        """``mask/AP`` and its kin; empty where there is nothing to find. See :class:`CocoEvaluation`."""
        return {f"mask/{key}": value for key, value in self._evaluation.get(self._evaluate).numbers().items()}

    def details(self) -> Details:
        """Curves, calibration, confusions and AP by class."""
        return self._evaluation.get(self._evaluate).details("masks")

    def _evaluate(self) -> CocoEvaluation:
        labels = [annotations for annotations, _ in self._rows.sorted()]
        return CocoEvaluation(
            images=[{"id": label.image_id, "width": label.width, "height": label.height} for label in labels],
            categories=self._categories,
            truth=[
                dict(row, segmentation=_rle(item, label))
                for label in labels
                for row, item in zip(truth_rows(label, self._categories), label.objects or (), strict=True)
            ],
            results=self._results(),
            kind="segm",
            max_det=self._max_det,
        )

    def write(self, folder: Path) -> list[Path]:
        """``segmentations.json``: COCO's results list, with the categories' own ids and compressed RLE."""
        path = folder / "segmentations.json"
        path.write_text(json.dumps(self._results()), encoding="utf-8")
        return [path]

    def _results(self) -> list[dict[str, Any]]:
        return [
            {
                "image_id": label.image_id,
                "category_id": self._categories[category].id,
                "segmentation": {"size": [label.height, label.width], "counts": counts},
                "score": score,
            }
            for label, found in self._rows.sorted()
            for category, score, counts in zip(found.classes, found.scores, found.counts, strict=True)
        ]


def _rle(item: ObjectLabel, label: Annotations) -> dict[str, Any]:
    """The object's mask as compressed RLE: pycocotools' own rasterisation of polygons, whoever compares it later."""
    if item.segmentation is None:
        raise ValueError(f"object {item.id} of image {label.image_id} has no mask")
    return segmentation_to_rle(item.segmentation, label.height, label.width)
