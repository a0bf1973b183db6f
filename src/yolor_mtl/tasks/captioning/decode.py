"""From the picture's memory to a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from yolor_mtl.records import Frame, Outputs, Prediction, Predictions
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.captioning.generate import MEANS, Search, Writer, Written, generate
from yolor_mtl.tasks.captioning.tokenizer import CaptionTokenizer


class CaptionDecode:
    """Writes with a caption head, or with an exported graph that does the same.

    Args:
        writer: the live head, referred to and not copied: what is loaded into it, or fused in it, is what writes.
        tokenizer: tokens to text.
        limit: greatest number of words the positions allow.
        search: how captions are compared and what they may hold.
    """

    def __init__(self, writer: Writer, tokenizer: CaptionTokenizer, limit: int, search: Search = MEANS) -> None:
        self.writer = writer
        self.tokenizer = tokenizer
        self.limit = limit
        self.search = search

    def __call__(
        self, out: Outputs, used: Mapping[str, Sequence[Prediction]], options: DecodeOptions
    ) -> list[Prediction]:
        """The writer's memories of B pictures to ``text``, ``score`` (mean probability of a word, 0..1) and ``tokens``.

        A caption has at least one word: where the search finds none, one that must write words has the last word.
        """
        memory = {name: out[name].float() for name in self.writer.memories}
        written = self._write(memory, options, self.search)
        answers = [self._answer(tokens, score) for tokens, score in zip(written.tokens, written.scores, strict=True)]
        if silent := [row for row, answer in enumerate(answers) if not answer["text"]]:
            again = self._write({name: value[silent] for name, value in memory.items()}, options, MEANS)
            for row, tokens, score in zip(silent, again.tokens, again.scores, strict=True):
                answers[row] = self._answer(tokens, score)
        return answers

    def _write(self, memory: Outputs, options: DecodeOptions, search: Search) -> Written:
        # Word by word the weights would be cast again at every call under autocast: full precision is faster.
        with torch.autocast(next(iter(memory.values())).device.type, enabled=False):
            return generate(
                self.writer,
                memory,
                words=self.tokenizer.size,
                beam=max(1, options.beam),
                max_tokens=max(1, min(options.max_tokens, self.limit)),
                search=search,
                never=self.tokenizer.wordless,
            )

    def _answer(self, tokens: list[int], score: float) -> Prediction:
        return {"text": self.tokenizer.decode(tokens), "score": math.exp(score), "tokens": tokens}

    def restore(self, prediction: Prediction, frame: Frame, restored: Predictions) -> Prediction:
        """A caption has no frame: as it is."""
        return prediction
