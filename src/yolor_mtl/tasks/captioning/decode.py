"""From the picture's memory to a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from yolor_mtl.records import Frame, Outputs, Prediction, Predictions
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.captioning.generate import MEANS, Search, Writer, Written, generate
from yolor_mtl.tasks.captioning.grounding import Word, heat_maps
from yolor_mtl.tasks.captioning.parts import BEGIN, STEP, PartWriter, writer_parts
from yolor_mtl.tasks.captioning.tokenizer import END, PAD, CaptionTokenizer
from yolor_mtl.tasks.parts import Call, Part


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

        With ``options.attention`` also ``attention`` (T, S) of the tokens, and ``places`` (S, 4) of the memory.

        A caption has at least one word: where the search finds none, one that must write words has the last word.
        """
        memory = {name: out[name].float() for name in self.writer.memories}
        answers = self._write(memory, options, self.search)
        if silent := [row for row, answer in enumerate(answers) if not answer["text"]]:
            again = self._write({name: value[silent] for name, value in memory.items()}, options, MEANS)
            for row, answer in zip(silent, again, strict=True):
                answers[row] = answer
        if options.attention:
            for answer, places in zip(answers, out["places"], strict=True):
                answer["places"] = places
        return answers

    def _write(self, memory: Outputs, options: DecodeOptions, search: Search) -> list[Prediction]:
        penalty = search.length_penalty if options.length_penalty is None else options.length_penalty
        # Word by word the weights would be cast again at every call under autocast: full precision is faster.
        with torch.autocast(next(iter(memory.values())).device.type, enabled=False):
            written = generate(
                self.writer,
                memory,
                words=self.tokenizer.size,
                beam=max(1, options.beam),
                max_tokens=max(1, min(options.max_tokens, self.limit)),
                search=replace(search, length_penalty=penalty, no_repeat=options.no_repeat),
                never=self.tokenizer.wordless,
                attend=options.attention,
            )
        return [self._answer(written, row) for row in range(len(written.tokens))]

    def _answer(self, written: Written, row: int) -> Prediction:
        tokens = written.tokens[row]
        answer: Prediction = {
            "text": self.tokenizer.decode(tokens),
            "score": math.exp(written.scores[row]),
            "tokens": tokens,
        }
        if written.attention.shape[2]:
            # Weights may write special tokens, which stand among the emitted ones only.
            emitted = written.emitted[row].tolist()
            kept = [place for place, token in enumerate(emitted) if token not in (PAD, END)]
            answer["attention"] = written.attention[row, kept]
        return answer

    def parts(self, out: Outputs) -> dict[str, Part]:
        """``caption_start`` and ``caption_step``, see :mod:`yolor_mtl.tasks.captioning.parts`.

        Args:
            out: the head's outputs for two pictures or more.
        """
        return writer_parts(self.writer, {name: out[name].float() for name in self.writer.memories})

    def over(self, parts: Mapping[str, Call]) -> CaptionDecode:
        """The same decoder over other makes of :meth:`parts`."""
        writer = PartWriter(self.writer.memories, parts[BEGIN], parts[STEP])
        return CaptionDecode(writer, self.tokenizer, self.limit, self.search)

    def restore(self, prediction: Prediction, frame: Frame, restored: Predictions) -> Prediction:
        """As it is, but that attention becomes ``words``: the caption's words with their maps of the picture."""
        if "attention" not in prediction:
            return prediction
        spelled = self.tokenizer.words(prediction["tokens"])
        attention = torch.stack([prediction["attention"][positions].mean(0) for _, positions in spelled])
        maps = heat_maps(attention, prediction["places"], frame)
        kept = {name: value for name, value in prediction.items() if name not in ("attention", "places")}
        return {**kept, "words": [Word(text, heat) for (text, _), heat in zip(spelled, maps, strict=True)]}
