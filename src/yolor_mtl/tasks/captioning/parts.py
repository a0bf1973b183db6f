"""Writing word by word as two functions of named tensors: how a caption begins, and one more word.

They are what an export makes graphs of; :class:`PartWriter` makes a writer of them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from yolor_mtl.records import Outputs
from yolor_mtl.tasks.captioning.generate import Writer
from yolor_mtl.tasks.captioning.head import Cache
from yolor_mtl.tasks.captioning.tokenizer import START
from yolor_mtl.tasks.parts import Call, Part

BEGIN, STEP = "caption_start", "caption_step"
"""Names of the two."""

NEXT = "next_"
"""What the names of arrays that have grown begin with."""


class Begin(nn.Module):
    """Memories (N, S, d) by name to the cache of N empty captions: a writer's ``start``."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self.writer = writer

    def forward(self, inputs: Mapping[str, Tensor]) -> Outputs:
        """The cache; arrays without a word yet have an axis of size 0."""
        return dict(self.writer.start(inputs))


class Step(nn.Module):
    """``tokens`` (N,) int64 and the cache's arrays to ``logits`` (N, V), ``attention`` (N, S) and what has grown.

    An array ``x`` that has grown is given as ``next_x``: a graph's inputs and outputs need names of their own.
    """

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self.writer = writer

    def forward(self, inputs: Mapping[str, Tensor]) -> Outputs:
        """Only arrays of the cache that change are among the outputs."""
        cache = {name: value for name, value in inputs.items() if name != "tokens"}
        logits, grown, attention = self.writer.step(inputs["tokens"], cache)
        changed = {f"{NEXT}{name}": value for name, value in grown.items() if value is not cache[name]}
        return {"logits": logits, "attention": attention, **changed}


class PartWriter:
    """A writer made of the two functions.

    Args:
        memories: names of the head's outputs that it writes from.
        begin: as :class:`Begin`.
        step: as :class:`Step`.
    """

    def __init__(self, memories: tuple[str, ...], begin: Call, step: Call) -> None:
        self.memories = memories
        self._begin, self._step = begin, step

    def start(self, memory: Mapping[str, Tensor]) -> Cache:
        """Memories of N rows each, by name, to an empty cache."""
        return dict(self._begin(memory))

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache, Tensor]:
        """Last words (N,) and cache to logits (N, V), the grown cache, and attention (N, S)."""
        out = dict(self._step({"tokens": tokens, **cache}))
        logits, attention = out.pop("logits"), out.pop("attention")
        return logits, {**cache, **{name.removeprefix(NEXT): value for name, value in out.items()}}, attention


def writer_parts(writer: Writer, memory: Mapping[str, Tensor]) -> dict[str, Part]:
    """The two functions of a writer with examples.

    Args:
        writer: the caption head.
        memory: its memories of two pictures or more.
    """
    rows = next(iter(memory.values()))
    begin_axes = {name: {0: "captions", 1: f"{name}_places"} for name in memory}
    return {
        BEGIN: Part(Begin(writer), memory, begin_axes),
        # As many words as captions would be taken for one size when the step is traced.
        STEP: Part(Step(writer), _after(writer, memory, len(rows) + 1), _axes(writer, memory)),
    }


def _after(writer: Writer, memory: Mapping[str, Tensor], words: int) -> dict[str, Tensor]:
    """The inputs of one more step after a number of words."""
    rows = next(iter(memory.values()))
    tokens = torch.full((len(rows),), START, device=rows.device)
    cache = writer.start(memory)
    for _ in range(words):
        _, cache, _ = writer.step(tokens, cache)
    return {"tokens": tokens, **cache}


def _axes(writer: Writer, memory: Mapping[str, Tensor]) -> dict[str, dict[int, str]]:
    """Which sizes of a step's inputs vary, found by varying: heads keep what they like in their cache."""
    plain = _after(writer, memory, 1)
    varied = {
        "captions": _after(writer, {name: value[:1] for name, value in memory.items()}, 1),
        "words": _after(writer, memory, 2),
        **{f"{name}_places": _after(writer, {**memory, name: value[:, :-1]}, 1) for name, value in memory.items()},
    }
    axes: dict[str, dict[int, str]] = {name: {} for name in plain}
    for word, inputs in varied.items():
        for name, value in inputs.items():
            axes[name] |= dict.fromkeys(_differing(value.shape, plain[name].shape), word)
    return axes


def _differing(first: Iterable[int], second: Iterable[int]) -> list[int]:
    return [axis for axis, sizes in enumerate(zip(first, second, strict=True)) if len(set(sizes)) > 1]
