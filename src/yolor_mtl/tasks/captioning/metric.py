"""BLEU, ROUGE-L and CIDEr of captions, without Java; METEOR and SPICE where somebody asks for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolor_mtl.ops.details import Details
from yolor_mtl.records import Annotations, Prediction
from yolor_mtl.tasks.captioning.java import JavaError, java_programs, meteor, spice
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

    def check_java(self) -> None:
        """Refuses METEOR and SPICE where Java or the package with the programs is missing.

        Raises:
            UserError: says which, and the remedy.
        """
        java_programs()

    def java_scores(self) -> tuple[dict[str, float], dict[str, str]]:
        """``caption/METEOR`` and ``caption/SPICE`` in 0..1, and for ``protocol`` what each is or why it is left out.

        Raises:
            UserError: see :meth:`check_java`.
        """
        candidates, references = self._words()
        scores: dict[str, float] = {}
        notes: dict[str, str] = {}
        if not candidates:
            return scores, notes
        texts, groups = [" ".join(words) for words in candidates], [list(map(" ".join, group)) for group in references]
        for name, program, version in (("METEOR", meteor, "1.5"), ("SPICE", spice, "1.0")):
            try:
                scores[f"caption/{name}"] = program(texts, groups)
                notes[f"caption/{name}"] = f"{name} {version}, English, the published Java program"
            except JavaError as error:
                notes[f"caption/{name}"] = f"left out: {error}"
        return scores, notes

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
