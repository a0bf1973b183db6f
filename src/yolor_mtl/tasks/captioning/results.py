"""Captions from a result file."""

from __future__ import annotations

from pathlib import Path

from yolor_mtl.records import Annotations, Prediction
from yolor_mtl.tasks.results import Entry, FileAnswers, read_results


class CaptionEntry(Entry, gc=False):
    """An entry of ``captions.json``."""

    caption: str


def read_captions(folder: Path) -> FileAnswers | None:
    """``captions.json``: COCO's list of ``image_id`` and ``caption``; an image without one is answered with nothing.

    Raises:
        UserError: it is not such a list, or has two captions of one image.
    """
    file = read_results(folder / "captions.json", list[CaptionEntry])
    if file is None:
        return None
    file.check_single()

    def answer(annotations: Annotations) -> Prediction:
        texts = [file.entries[number].caption for number in file.of(annotations.image_id)]
        return {"text": "".join(texts), "score": 1.0}

    return FileAnswers(file, answer)
