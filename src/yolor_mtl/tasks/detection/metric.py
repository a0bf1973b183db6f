"""COCO's box AP and AR."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolor_mtl.ops.coco_eval import CocoEvaluation, truth_rows
from yolor_mtl.ops.details import Details
from yolor_mtl.records import Annotations, LabelSpace, Prediction
from yolor_mtl.tasks.rows import Once, Rows


class BoxMetric:
    """The twelve box numbers, equal to pycocotools'.

    Reads of a prediction: ``boxes`` (N, 4) float tensor, xyxy in pixels of the original frame; ``scores`` (N,) float;
    ``classes`` (N,) int64, indices in ``space.things``.

    Args:
        space: the label space.
        max_det: greatest number of boxes of a class in an image (COCO's protocol: 100).
    """

    headline = "box/AP"
    shown: tuple[str, ...] = ("box/AP", "box/AP50")

    def __init__(self, space: LabelSpace, max_det: int = 100) -> None:
        self.protocol: Mapping[str, Any] = {
            "box": f"COCO boxes, {len(space.things)} classes, IoU 0.50:0.95, {max_det} detections a class and image",
        }
        self._categories, self._max_det = space.things, max_det
        self._rows: Rows[np.ndarray] = Rows()  # (N, 6): x, y, w, h, score, class index
        self._evaluation: Once[CocoEvaluation] = Once()

    def evaluates(self, annotations: Annotations) -> bool:
        """Whether the image is labelled for boxes; one without objects is."""
        return annotations.objects is not None

    def update(self, prediction: Prediction, annotations: Annotations) -> None:
        """Adds one image; seen twice, it counts once."""
        self._evaluation.forget()
        boxes = prediction["boxes"].detach().cpu().double().numpy().reshape(-1, 4)
        columns = [prediction[name].detach().cpu().double().numpy().reshape(-1, 1) for name in ("scores", "classes")]
        self._rows.add(annotations, np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2], *columns]))

    def merge(self, other: BoxMetric) -> None:
        """Adds what another process has seen."""
        self._evaluation.forget()
        self._rows.merge(other._rows)

    def compute(self) -> dict[str, float]:
        """``box/AP`` and its kin; empty where there is nothing to find. See :class:`CocoEvaluation`."""
        return {f"box/{key}": value for key, value in self._evaluation.get(self._evaluate).numbers().items()}

    def details(self) -> Details:
        """Curves, calibration, confusions and AP by class."""
        return self._evaluation.get(self._evaluate).details("boxes")

    def _evaluate(self) -> CocoEvaluation:
        labels = [annotations for annotations, _ in self._rows.sorted()]
        return CocoEvaluation(
            images=[{"id": label.image_id, "width": label.width, "height": label.height} for label in labels],
            categories=self._categories,
            truth=[row for label in labels for row in truth_rows(label, self._categories)],
            results=self._results(),
            kind="bbox",
            max_det=self._max_det,
        )

    def write(self, folder: Path) -> list[Path]:
        """``detections.json``: COCO's results list, with the categories' own ids and xywh boxes in pixels."""
        path = folder / "detections.json"
        path.write_text(json.dumps(self._results()), encoding="utf-8")
        return [path]

    def _results(self) -> list[dict[str, Any]]:
        return [
            {
                "image_id": annotations.image_id,
                "category_id": self._categories[int(category)].id,
                "bbox": box,
                "score": score,
            }
            for annotations, row in self._rows.sorted()
            for *box, score, category in row.tolist()
        ]
