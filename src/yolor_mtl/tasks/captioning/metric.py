"""BLEU, ROUGE-L and CIDEr of captions, without Java."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolor_mtl.ops.details import Details
from yolor_mtl.records import Annotations, Prediction
from yolor_mtl.tasks.captioning.ptb import ptb_words
from yolor_mtl.tasks.captioning.scores import bleu, cider_d, cider_d_each, rouge_l
from yolor_mtl.tasks.rows import Rows


class CaptionMetric:
    """COCO's caption scores, equal to pycocoevalcap's.

    Reads of a prediction: ``text``, the caption; an empty one scores 0 and does not fail.
    """

    headline = "caption/BLEU-4"
    shown: tuple[str, ...] = ("caption/BLEU-4", "caption/CIDEr")

    def __init__(self) -> None:
        self.protocol: Mapping[str, Any] = {
            "caption": "COCO captions: PTB tokens without punctuation, all references of an image",
            "caption/CIDEr": "CIDEr-D times 10, document frequencies from the evaluated references",
        }
        self._rows: Rows[str] = Rows()

    def evaluates(self, annotations: Annotations) -> bool:
        """Whether the image has reference captions; a list without one leaves nothing to compare with."""
        return bool(annotations.captions)

    def update(self, prediction: Prediction, annotations: Annotations) -> None:
        """Adds one image; seen twice, it counts once."""
        self._rows.add(annotations, str(prediction["text"]))

    def merge(self, other: CaptionMetric) -> None:
        """Adds what another process has seen."""
        self._rows.merge(other._rows)

    def compute(self) -> dict[str, float]:
        """``caption/BLEU-1`` to ``BLEU-4`` and ``ROUGE-L`` in 0..1, ``CIDEr`` times 10; empty without images."""
        candidates, references = self._words()
        if not candidates:
            return {}
        numbers = {f"caption/BLEU-{n}": value for n, value in enumerate(bleu(candidates, references), start=1)}
        numbers["caption/ROUGE-L"] = rouge_l(candidates, references)
        numbers["caption/CIDEr"] = cider_d(candidates, references)
        return numbers

    def details(self) -> Details:
        """How good each image's caption is, by CIDEr-D."""
        ids = [annotations.image_id for annotations, _ in self._rows.sorted()]
        return Details(images=dict(zip(ids, cider_d_each(*self._words()), strict=True)))

    def _words(self) -> tuple[list[list[str]], list[list[list[str]]]]:
        """Candidates and references as PTB words, in the order of image ids."""
        rows = self._rows.sorted()
        candidates = [ptb_words(text) for _, text in rows]
        return candidates, [[ptb_words(caption) for caption in label.captions or ()] for label, _ in rows]

    def write(self, folder: Path) -> list[Path]:
        """``captions.json``: COCO's results list ``[{"image_id", "caption"}]``."""
        path = folder / "captions.json"
        records = [{"image_id": annotations.image_id, "caption": text} for annotations, text in self._rows.sorted()]
        path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
        return [path]
