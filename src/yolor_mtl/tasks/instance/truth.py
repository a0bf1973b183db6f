"""An image's labelled masks as if a network had found them."""

from __future__ import annotations

from yolor_mtl.ops.masks import CroppedMasks, decode_segmentation
from yolor_mtl.records import Annotations, Prediction
from yolor_mtl.tasks.detection.truth import box_truth, single_objects


def mask_truth(annotations: Annotations) -> Prediction:
    """Boxes, scores and classes as :func:`box_truth`, and ``masks``; every object must have a segmentation."""
    size = (annotations.height, annotations.width)
    masks = (
        decode_segmentation(item.segmentation, *size)
        for item in single_objects(annotations)
        if item.segmentation is not None
    )
    return {**box_truth(annotations), "masks": CroppedMasks.from_dense(size, masks)}
