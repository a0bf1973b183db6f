"""Captions from a result file."""

from __future__ import annotations

from pathlib import Path

from yolor_mtl.records import Annotations, Prediction
from yolor_mtl.tasks.base import Answers
from yolor_mtl.tasks.results import by_image, read_entries


def read_captions(folder: Path) -> Answers | None:
    """``captions.json``: COCO's list of ``image_id`` and ``caption``; an image without one is answered with nothing."""
    entries = read_entries(folder / "captions.json", ("image_id", "caption"))
    if entries is None:
        return None
    found = by_image(entries)

    def answer(annotations: Annotations) -> Prediction:
        mine = found.get(annotations.image_id)
        return {"text": str(mine[0]["caption"]) if mine else "", "score": 1.0}

    return answer
