"""A reference caption as if a network had written it."""

from __future__ import annotations

from yolor_mtl.records import Annotations, Prediction


def caption_truth(annotations: Annotations) -> Prediction:
    """``text``, the first reference, with a ``score`` of one."""
    return {"text": (annotations.captions or ("",))[0], "score": 1.0}
