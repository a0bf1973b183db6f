"""From the picture's memory to a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from yolor_mtl.records import Frame, Outputs, Prediction, Predictions
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.captioning.generate import Writer, generate
from yolor_mtl.tasks.captioning.tokenizer import CaptionTokenizer


class CaptionDecode:
    """Writes with a caption head, or with an exported graph that does the same.

    Args:
        writer: the live head, referred to and not copied: what is loaded into it, or fused in it, is what writes.
        tokenizer: tokens to text.
        limit: greatest number of words the positions allow.
    """

    def __init__(self, writer: Writer, tokenizer: CaptionTokenizer, limit: int) -> None:
        self.writer = writer
        self.tokenizer = tokenizer
        self.limit = limit

    def __call__(
        self, out: Outputs, used: Mapping[str, Sequence[Prediction]], options: DecodeOptions
    ) -> list[Prediction]:
        """``memory`` (B, S, d) to ``text``, ``score`` (mean probability of a word, 0..1) and ``tokens``."""
        memory = out["memory"].float()
        # Word by word the weights would be cast again at every call under autocast: full precision is faster.
        with torch.autocast(memory.device.type, enabled=False):
            written = generate(
                self.writer,
                memory,
                words=self.tokenizer.size,
                beam=max(1, options.beam),
                max_tokens=max(1, min(options.max_tokens, self.limit)),
            )
        return [
            {"text": self.tokenizer.decode(tokens), "score": math.exp(score), "tokens": tokens}
            for tokens, score in zip(written.tokens, written.scores, strict=True)
        ]

    def restore(self, prediction: Prediction, frame: Frame, restored: Predictions) -> Prediction:
        """A caption has no frame: as it is."""
        return prediction
