"""COCO's evaluation of boxes or masks: plain ground truth and results in, the twelve numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from hotcoco import COCO, COCOeval

from yolor_mtl.records import Annotations, Category

Kind = Literal["bbox", "segm"]
"""What is compared: boxes or masks, in pycocotools' words."""

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


def coco_numbers(
    images: Sequence[Mapping[str, Any]],
    categories: Sequence[Category],
    truth: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    kind: Kind,
    max_det: int = 100,
) -> dict[str, float]:
    """The twelve numbers of COCO's detection challenge, in pycocotools' order.

    Equal to pycocotools' ``COCOeval`` (2.0.11) to the last bit on our test sets. Annotation ids are numbered anew
    from 1: pycocotools takes an object whose id is 0 for "not matched", which is a fault and not a definition.

    Args:
        images: ``{"id", "width", "height"}`` of every evaluated image, also of those without objects.
        categories: the evaluated classes.
        truth: COCO annotations; for ``segm`` with an RLE ``segmentation``.
        results: COCO results: ``image_id, category_id, score`` and ``bbox`` (xywh) or ``segmentation`` (RLE).
        kind: boxes or masks.
        max_det: greatest number of results of a class in an image; COCO's protocol says 100. Below 10 it bounds
            ``AR10`` too.

    Returns:
        ``AP AP50 AP75 AP-small AP-medium AP-large AR1 AR10 AR<max_det> AR-small AR-medium AR-large`` in 0..1,
        -1 where no object of that kind exists (for example no small object), as pycocotools says.
        Empty where there is nothing to find at all: no object, or crowds only.
    """
    dataset = {
        "images": [dict(image) for image in images],
        "categories": [{"id": category.id, "name": category.name} for category in categories],
        "annotations": [dict(row, id=number) for number, row in enumerate(truth, start=1)],
    }
    if all(row["iscrowd"] for row in truth):
        return {}
    ground = COCO(dataset)
    evaluation = COCOeval(ground, ground.load_res([dict(result) for result in results]), kind)
    # In rising order, or the limits are sorted and the last one is no longer max_det.
    evaluation.params.max_dets = [1, min(10, max_det), max_det]
    evaluation.evaluate()
    evaluation.accumulate()
    arrays: dict[str, Any] = evaluation.eval or {}
    return _summary(np.asarray(arrays["precision"]), np.asarray(arrays["recall"]), max_det)


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
