"""Writing captions word by word over any ``step``: greedy and beam search are one loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from yolor_mtl.tasks.captioning.head import Cache
from yolor_mtl.tasks.captioning.tokenizer import END, PAD, START, UNK


class Writer(Protocol):
    """What writes word by word, see :class:`CaptionHead`: N captions at a time, V slots for words."""

    def start(self, memory: Tensor) -> Cache:
        """Memory (N, S, d) to an empty cache."""
        ...

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache, Tensor]:
        """Last words (N,) and cache to logits (N, V), the grown cache, and attention (N, S)."""
        ...


@dataclass(frozen=True)
class Written:
    """Captions of N pictures.

    Attributes:
        tokens: N lists of ids, without start and end.
        scores: N mean log-probabilities of the words, the end included.
    """

    tokens: list[list[int]]
    scores: list[float]


@torch.no_grad()
def generate(writer: Writer, memory: Tensor, *, words: int, beam: int, max_tokens: int) -> Written:
    """Beam search; a width of 1 is greedy.

    A caption has at least one word: its end may not come first, and padding, unknown words, a second start and slots
    beyond the vocabulary are never written, whatever the weights say.
    Beams are compared by their mean log-probability, so that short captions gain nothing from being short.

    Args:
        writer: the caption head or an exported graph.
        memory: (B, S, d).
        words: size of the vocabulary, special tokens included; there may be more slots V than that.
        beam: width W of the search, at least 1.
        max_tokens: greatest number of words, at least 1.

    Returns:
        The best caption of each of the B pictures.
    """
    batch = memory.shape[0]
    if batch == 0:
        return Written([], [])
    beams = _Beams(batch, beam, memory.device)
    cache = writer.start(memory.repeat_interleave(beam, dim=0))
    last = torch.full((batch * beam,), START, device=memory.device)
    never = torch.tensor([PAD, UNK, START], device=memory.device)
    for place in range(max_tokens):
        logits, cache, _ = writer.step(last, cache)
        logits = logits[:, :words].float().index_fill(1, never, -torch.inf)
        if place == 0:
            logits[:, END] = -torch.inf
        origin, last = beams.extend(logits.log_softmax(-1), first=place == 0)
        if bool(beams.finished.all()):
            break
        if beam > 1:
            cache = {name: value.index_select(1, origin) for name, value in cache.items()}
    return beams.best()


class _Beams:
    """The captions under consideration: B pictures, W beams each."""

    def __init__(self, batch: int, width: int, device: torch.device) -> None:
        self.width = width
        self.tokens = torch.empty(batch, width, 0, dtype=torch.int64, device=device)
        self.scores = torch.zeros(batch, width, device=device)
        self.lengths = torch.zeros(batch, width, device=device)
        self.finished = torch.zeros(batch, width, dtype=torch.bool, device=device)

    def extend(self, log_probabilities: Tensor, *, first: bool) -> tuple[Tensor, Tensor]:
        """Keeps the W best continuations.

        Args:
            log_probabilities: (B * W, V).
            first: all beams are still the same, so only one of them counts.

        Returns:
            (B * W,) rows that the kept beams came from, and (B * W,) their last words.
        """
        batch, width = self.scores.shape
        options = log_probabilities.unflatten(0, (batch, width))
        # A finished beam goes on as itself, through padding at no cost.
        stay = torch.full_like(options[0, 0], -torch.inf)
        stay[PAD] = 0.0
        options = torch.where(self.finished[..., None], stay, options)
        sums = self.scores[..., None] + options
        lengths = self.lengths + ~self.finished
        ranks = sums / lengths[..., None]
        if first:
            ranks[:, 1:] = -torch.inf
        words = options.shape[-1]
        picked = ranks.flatten(1).topk(width, dim=1).indices
        origin, last = picked // words, picked % words
        self.scores = sums.flatten(1).gather(1, picked)
        self.lengths = lengths.gather(1, origin)
        self.finished = self.finished.gather(1, origin) | (last == END)
        kept = self.tokens.gather(1, origin[..., None].expand(-1, -1, self.tokens.shape[2]))
        self.tokens = torch.cat((kept, last[..., None]), dim=2)
        offset = torch.arange(batch, device=origin.device)[:, None] * width
        return (origin + offset).flatten(), last.flatten()

    def best(self) -> Written:
        """The best beam of each picture."""
        mean = self.scores / self.lengths.clamp(min=1)
        choice = mean.argmax(dim=1)
        tokens = [
            [token for token in self.tokens[row, beam].tolist() if token not in (PAD, END)]
            for row, beam in enumerate(choice.tolist())
        ]
        return Written(tokens, mean.gather(1, choice[:, None])[:, 0].tolist())
