"""An image's labelled segments as if a network had found them."""

from __future__ import annotations

import numpy as np

from yolor_mtl.data.coco import panoptic_map
from yolor_mtl.records import Annotations, LabelSpace, Prediction


def segment_truth(annotations: Annotations, space: LabelSpace) -> Prediction:
    """``map`` (H, W) int32 of segment ids without crowds, and ``segments`` as :class:`PanopticDecode` lists them."""
    assert annotations.panoptic is not None
    ids = panoptic_map(annotations)
    kept = [segment for segment in annotations.panoptic.segments if not segment.crowd]
    ids = np.where(np.isin(ids, [segment.id for segment in kept]), ids, 0)
    things = [category.isthing for category in space.semantic]
    segments = [
        {"id": s.id, "category": s.category, "isthing": things[s.category], "score": 1.0, "area": s.area} for s in kept
    ]
    return {"map": ids, "segments": segments}
