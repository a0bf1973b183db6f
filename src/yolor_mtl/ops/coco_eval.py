"""COCO's evaluation of boxes or masks: plain ground truth and results in, the twelve numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from hotcoco import COCO, COCOeval

from yolor_mtl.ops.details import Breakdown, Details, Lines, Matrix, confusion_matrix
from yolor_mtl.records import Annotations, Category

Kind = Literal["bbox", "segm"]
"""What is compared: boxes or masks, in pycocotools' words."""

CONFIDENT = 0.25
"""Score from which a result counts as said, in the confusion matrix."""

SHOWN_CLASSES = 24
"""Greatest number of classes in a confusion matrix."""

_AREAS = ("", "-small", "-medium", "-large")


def truth_rows(annotations: Annotations, categories: Sequence[Category]) -> list[dict[str, Any]]:
    """The objects of one image as COCO's annotation dictionaries, without ``id`` and ``segmentation``.

    Args:
        annotations: an image with ``objects``; area and crowd stay as its file states them.
        categories: classes by index; the rows carry the file's own ids.
    """
    rows = []
    for item in annotations.objects or ():
        left, top, right, bottom = item.xyxy
        rows.append(
            {
                "image_id": annotations.image_id,
                "category_id": categories[item.category].id,
                "bbox": [left, top, right - left, bottom - top],
                "area": item.area,
                "iscrowd": int(item.crowd),
            }
        )
    return rows


class CocoEvaluation:
    """COCO's evaluation of boxes or masks, done once and asked for more than one thing.

    Equal to pycocotools' ``COCOeval`` (2.0.11) to the last bit on our test sets. Annotation ids are numbered anew
    from 1: pycocotools takes an object whose id is 0 for "not matched", which is a fault and not a definition.

    Args:
        images: ``{"id", "width", "height"}`` of every evaluated image, also of those without objects.
        categories: the evaluated classes.
        truth: COCO annotations; for ``segm`` with an RLE ``segmentation``.
        results: COCO results: ``image_id, category_id, score`` and ``bbox`` (xywh) or ``segmentation`` (RLE).
        kind: boxes or masks.
        max_det: greatest number of results of a class in an image; COCO's protocol says 100.
    """

    def __init__(
        self,
        images: Sequence[Mapping[str, Any]],
        categories: Sequence[Category],
        truth: Sequence[Mapping[str, Any]],
        results: Sequence[Mapping[str, Any]],
        kind: Kind,
        max_det: int = 100,
    ) -> None:
        self._categories, self._max_det = categories, max_det
        self._probable = all(0 <= row["score"] <= 1 for row in results)
        self.empty = all(row["iscrowd"] for row in truth)
        dataset = {
            "images": [dict(image) for image in images],
            "categories": [{"id": category.id, "name": category.name} for category in categories],
            "annotations": [dict(row, id=number) for number, row in enumerate(truth, start=1)],
        }
        ground = COCO(dataset)
        self._evaluation = COCOeval(ground, ground.load_res([dict(result) for result in results]), kind)
        self._evaluation.params.max_dets = [1, min(10, max_det), max_det]
        if self.empty:
            return
        self._evaluation.evaluate()
        self._evaluation.accumulate()
        arrays: dict[str, Any] = self._evaluation.eval or {}
        self._precision, self._recall = np.asarray(arrays["precision"]), np.asarray(arrays["recall"])

    def numbers(self) -> dict[str, float]:
        """The twelve numbers of COCO's detection challenge, in pycocotools' order.

        Returns:
            ``AP AP50 AP75 AP-small AP-medium AP-large AR1 AR10 AR<max_det> AR-small AR-medium AR-large`` in 0..1,
            -1 where no object of that kind exists (for example no small object), as pycocotools says.
            Empty where there is nothing to find at all: no object, or crowds only.
        """
        return {} if self.empty else _summary(self._precision, self._recall, self._max_det)

    def details(self, what: str) -> Details:
        """Precision over recall, calibration, confusions, and AP class by class.

        Args:
            what: ``boxes`` or ``masks``, for titles.
        """
        if self.empty:
            return Details()
        steps = np.linspace(0, 1, self._precision.shape[1])
        curves = {}
        for name, threshold in (("IoU 0.50", 0), ("IoU 0.75", 5), ("IoU 0.90", 8)):
            values = self._precision[threshold, :, :, 0, 2]
            present = values[:, (values > -1).all(axis=0)]
            if present.size:
                curves[name] = list(zip(steps.tolist(), present.mean(axis=1).tolist(), strict=True))
        return Details(
            lines=[Lines(f"{what}: precision over recall", ("recall", "precision"), curves), *self._calibration(what)],
            matrices=[self._confusion(what)],
            tables=[self._per_class(what)],
            images={number: row["f1"] for number, row in self._evaluation.image_diagnostics()["img_summary"].items()},
        )

    def _calibration(self, what: str) -> list[Lines]:
        """Nothing for scores that cannot be read as probabilities."""
        if not self._probable:
            return []
        bins = [row for row in self._evaluation.calibration()["bins"] if row["count"]]
        points = [(row["avg_confidence"], row["avg_accuracy"]) for row in bins]
        return [
            Lines(f"{what}: calibration at IoU 0.50", ("score", "share that is right"), {"": points}, diagonal=True)
        ]

    def _confusion(self, what: str) -> Matrix:
        names = [category.name for category in self._categories]
        found = self._evaluation.confusion_matrix(min_score=CONFIDENT)
        place = {number: index for index, number in enumerate(found["cat_ids"])}
        order = [*(place[category.id] for category in self._categories), len(place)]
        counts = np.asarray(found["matrix"]).astype(np.int64)[np.ix_(order, order)]
        title = f"{what}: what was taken for what (score over {CONFIDENT}, IoU 0.50)"
        # The last row is what was said where no object is: without it a model that sees ghosts would look perfect.
        return confusion_matrix(title, counts, [*names, "background"], [*names, "missed"], SHOWN_CLASSES, len(names))

    def _per_class(self, what: str) -> Breakdown:
        """The twelve numbers of each class that occurs, without the recalls of few results."""
        few = {f"AR{limit}" for limit in (1, 10)} - {f"AR{self._max_det}"}
        rows: list[tuple[str, Sequence[float]]] = []
        headings: Sequence[str] = ()
        # The evaluation's arrays are in the order of the ids, whatever that of the classes is.
        for index, category in enumerate(sorted(self._categories, key=lambda category: category.id)):
            own = slice(index, index + 1)
            numbers = _summary(self._precision[:, :, own], self._recall[:, own], self._max_det)
            if numbers["AP"] > -1:
                kept = {name: value for name, value in numbers.items() if name not in few}
                headings = tuple(kept)
                rows.append((category.name, tuple(kept.values())))
        rows.sort(key=lambda row: -row[1][0])
        return Breakdown(f"{what}, class by class", ("class", *headings), rows)


def _summary(precision: np.ndarray, recall: np.ndarray, max_det: int) -> dict[str, float]:
    """Means of precision (T IoU thresholds, 101 recalls, classes, 4 areas, 3 limits) and recall (T, classes, 4, 3).

    Ours instead of the library's ``summarize``, which prints.
    """
    numbers = {
        "AP": _mean(precision[:, :, :, 0, 2]),
        "AP50": _mean(precision[0, :, :, 0, 2]),
        "AP75": _mean(precision[5, :, :, 0, 2]),
    }
    numbers |= {f"AP{name}": _mean(precision[:, :, :, area, 2]) for area, name in enumerate(_AREAS) if area}
    numbers |= {f"AR{limit}": _mean(recall[:, :, 0, place]) for place, limit in enumerate((1, 10, max_det))}
    return numbers | {f"AR{name}": _mean(recall[:, :, area, 2]) for area, name in enumerate(_AREAS) if area}


def _mean(values: np.ndarray) -> float:
    """Mean over what is defined (pycocotools marks the rest with -1); -1 where nothing is."""
    defined = values[values > -1]
    return float(np.mean(defined)) if defined.size else -1.0
