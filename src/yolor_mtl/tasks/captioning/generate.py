"""Writing captions word by word over any ``step``: greedy and beam search are one loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from yolor_mtl.tasks.captioning.head import Cache
from yolor_mtl.tasks.captioning.tokenizer import END, PAD, START, UNK


class Writer(Protocol):
    """What writes word by word, see :class:`CaptionHead`: N captions at a time, V slots for words."""

    @property
    def memories(self) -> tuple[str, ...]:
        """Names of the head's outputs that it writes from."""
        ...

    def start(self, memory: Mapping[str, Tensor]) -> Cache:
        """Memories of N rows each, by name, to an empty cache."""
        ...

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache, Tensor]:
        """Last words (N,) and cache to logits (N, V), the grown cache, and attention (N, S)."""
        ...


@dataclass(frozen=True)
class Search:
    """How captions are compared and what they may hold.

    Attributes:
        length_penalty: captions are compared by the sum of their log-probabilities over their length to this power: 1
            compares means, so that short captions gain nothing from being short; 0 compares sums.
        any_token: special tokens may be written and the end may come first, as the weights have it.
        after_end: sum that a finished caption has if it goes on with a word; by default it never does.
        no_repeat: no run of so many tokens is written twice; 0 lets them be.
    """

    length_penalty: float = 1.0
    any_token: bool = False
    after_end: float | None = None
    no_repeat: int = 0


MEANS = Search()
"""Captions of at least one word and of words only, compared by their means."""


@dataclass(frozen=True)
class Written:
    """Captions of B pictures.

    Attributes:
        tokens: B lists of ids, without start, end and padding.
        scores: B mean log-probabilities of the words, the end included.
        emitted: (B, T) int64, T steps of the search: every token, the end included, then padding.
        log_probabilities: (B, T) float32 of each token; 0 after the end.
        attention: (B, T, S) float32, where each token was read from among the S places of the memory; S is 0 where
            nobody asked.
    """

    tokens: list[list[int]]
    scores: list[float]
    emitted: Tensor
    log_probabilities: Tensor
    attention: Tensor


@torch.no_grad()
def generate(
    writer: Writer,
    memory: Mapping[str, Tensor],
    *,
    words: int,
    beam: int,
    max_tokens: int,
    search: Search = MEANS,
    never: Sequence[int] = (PAD, UNK, START),
    attend: bool = False,
) -> Written:
    """Beam search; a width of 1 is greedy.

    Unless ``search.any_token``, a caption has at least one word: its end may not come first, and tokens without a word
    are never written. Slots beyond the vocabulary never are, whatever the weights say.

    Args:
        writer: the caption head or an exported graph.
        memory: what it writes from, by name, B rows each.
        words: size of the vocabulary, special tokens included; there may be more slots V than that.
        beam: width W of the search, at least 1.
        max_tokens: greatest number of words, at least 1.
        search: how captions are compared and what they may hold.
        never: tokens without a word.
        attend: keep the attention of each token.

    Returns:
        The best caption of each of the B pictures.
    """
    rows = next(iter(memory.values()))
    batch = len(rows)
    beams = _Beams(batch, beam, rows.device, search)
    if batch == 0:
        return beams.best(max_tokens)
    cache = _begun(writer, memory, beam)
    last = torch.full((batch * beam,), START, device=rows.device)
    forbidden = torch.tensor([] if search.any_token else list(never), dtype=torch.int64, device=rows.device)
    for place in range(max_tokens):
        logits, grown, attention = writer.step(last, cache)
        logits = logits[:, :words].float().index_fill(1, forbidden, -torch.inf)
        if place == 0 and not search.any_token:
            logits[:, END] = -torch.inf
        chances = beams.without_repeats(logits.log_softmax(-1))
        origin, last = beams.extend(chances, attention if attend else attention[:, :0], first=place == 0)
        if beams.settled():
            break
        # What a step leaves as it was is the picture's, and the same for all of its beams.
        moved = [] if beam == 1 else [name for name, value in grown.items() if value is not cache.get(name)]
        cache = {**grown, **{name: grown[name].index_select(1, origin) for name in moved}}
    return beams.best(max_tokens)


@torch.no_grad()
def sample(
    writer: Writer,
    memory: Mapping[str, Tensor],
    *,
    words: int,
    count: int,
    max_tokens: int,
    never: Sequence[int] = (PAD, UNK, START),
) -> Tensor:
    """Draws captions word by word, each with the probability that the writer gives it.

    A caption has at least one word; tokens without a word, and slots beyond the vocabulary, are never drawn.

    Args:
        writer: the caption head.
        memory: what it writes from, by name, B rows each.
        words: size of the vocabulary, special tokens included.
        count: captions of each picture, K.
        max_tokens: greatest number of words, the end not included.
        never: tokens without a word.

    Returns:
        (B * K, T) int64, the captions of a picture one after the other; with the end where there was room, then
        padding.
    """
    rows = next(iter(memory.values()))
    cache = _begun(writer, memory, count)
    last = torch.full((len(rows) * count,), START, device=rows.device)
    forbidden = torch.tensor(list(never), dtype=torch.int64, device=rows.device)
    done = torch.zeros_like(last, dtype=torch.bool)
    drawn: list[Tensor] = []
    for place in range(max_tokens):
        logits, cache, _ = writer.step(last, cache)
        logits = logits[:, :words].float().index_fill(1, forbidden, -torch.inf)
        if place == 0:
            logits[:, END] = -torch.inf
        last = torch.multinomial(logits.softmax(-1), 1)[:, 0].masked_fill(done, PAD)
        drawn.append(last)
        done |= last == END
        if bool(done.all()):
            break
    return torch.stack(drawn, dim=1)


def _begun(writer: Writer, memory: Mapping[str, Tensor], count: int) -> Cache:
    """``count`` empty captions of each picture, what is known of the picture worked out once."""
    return {name: value.repeat_interleave(count, dim=1) for name, value in writer.start(memory).items()}


class _Beams:
    """The captions under consideration: B pictures, W beams each."""

    def __init__(self, batch: int, width: int, device: torch.device, search: Search) -> None:
        self.width = width
        self.search = search
        self.tokens = torch.empty(batch, width, 0, dtype=torch.int64, device=device)
        self.log_probabilities = torch.empty(batch, width, 0, device=device)
        self.attention = torch.empty(batch, width, 0, 0, device=device)
        self.scores = torch.zeros(batch, width, device=device)
        self.lengths = torch.zeros(batch, width, device=device)
        self.finished = torch.zeros(batch, width, dtype=torch.bool, device=device)

    def without_repeats(self, log_probabilities: Tensor) -> Tensor:
        """(B * W, V) without the tokens that would end a run of ``search.no_repeat`` that stands there already; the end
        may always come."""
        run = self.search.no_repeat
        if not 0 < run <= self.tokens.shape[2]:
            return log_probabilities
        runs = self.tokens.flatten(0, 1).unfold(1, run, 1)
        tail = self.tokens.flatten(0, 1)[:, None, self.tokens.shape[2] - run + 1 :]
        again = (runs[:, :, :-1] == tail).all(2) & (runs[:, :, -1] != END)
        # What is no repetition points at padding, which is put back as it was.
        banned = torch.where(again, runs[:, :, -1], PAD)
        kept = log_probabilities.scatter(1, banned, -torch.inf)
        kept[:, PAD] = log_probabilities[:, PAD]
        return kept

    def extend(self, log_probabilities: Tensor, attention: Tensor, *, first: bool) -> tuple[Tensor, Tensor]:
        """Keeps the W best continuations.

        Args:
            log_probabilities: (B * W, V).
            attention: (B * W, S) of the words that are continued with.
            first: all beams are still the same, so only one of them counts.

        Returns:
            (B * W,) rows that the kept beams came from, and (B * W,) their last words.
        """
        batch, width = self.scores.shape
        options = log_probabilities.unflatten(0, (batch, width))
        # A finished beam goes on as itself, through padding at no cost.
        stay = torch.full_like(options, self._after_end())
        stay[..., PAD] = self.scores
        sums = torch.where(self.finished[..., None], stay, self.scores[..., None] + options)
        lengths = self.lengths + ~self.finished
        ranks = self._ranks(sums, lengths[..., None])
        if first:
            ranks[:, 1:] = -torch.inf
            self.attention = attention.new_empty(batch, width, 0, attention.shape[1])
        words = options.shape[-1]
        picked = ranks.flatten(1).topk(width, dim=1).indices
        origin, last = picked // words, picked % words
        done = self.finished.gather(1, origin)
        new = options.flatten(1).gather(1, picked).masked_fill(done, 0.0)
        self.scores = sums.flatten(1).gather(1, picked)
        self.lengths = lengths.gather(1, origin)
        self.finished = done | (last == END)
        self.tokens = _grown(self.tokens, origin, last)
        self.log_probabilities = _grown(self.log_probabilities, origin, new)
        self.attention = _grown(self.attention, origin, _of_beams(attention.unflatten(0, (batch, width)), origin))
        offset = torch.arange(batch, device=origin.device)[:, None] * width
        return (origin + offset).flatten(), last.flatten()

    def _after_end(self) -> float:
        return -torch.inf if self.search.after_end is None else self.search.after_end

    def _ranks(self, sums: Tensor, lengths: Tensor) -> Tensor:
        return sums / lengths**self.search.length_penalty

    def settled(self) -> bool:
        """Whether no further step can change anything: all are finished, and staying so is worth more than going on."""
        worth = self.search.after_end is None or bool((self.scores > self.search.after_end).all())
        return worth and bool(self.finished.all())

    def best(self, steps: int) -> Written:
        """The best beam of each picture, padded to a number of steps."""
        lengths = self.lengths.clamp(min=1)
        choice = self._ranks(self.scores, lengths).argmax(dim=1, keepdim=True)
        emitted, chances, attention = (
            _filled(_of_beams(rows, choice)[:, 0], steps)
            for rows in (self.tokens, self.log_probabilities, self.attention)
        )
        mean = (self.scores / lengths).gather(1, choice)[:, 0].tolist()
        tokens = [[token for token in row if token not in (PAD, END)] for row in emitted.tolist()]
        return Written(tokens, mean, emitted, chances, attention)


def _of_beams(rows: Tensor, choice: Tensor) -> Tensor:
    """Of (B, W, ...) the beams ``choice`` (B, K) int64: (B, K, ...)."""
    where = choice.view(*choice.shape, *[1] * (rows.dim() - 2)).expand(-1, -1, *rows.shape[2:])
    return rows.gather(1, where)


def _filled(rows: Tensor, steps: int) -> Tensor:
    """Rows (B, T, ...) with zeros up to a number of steps. Older releases of torch pad nothing that is empty."""
    batch, done, *rest = rows.shape
    return torch.cat((rows, rows.new_zeros(batch, steps - done, *rest)), dim=1)


def _grown(kept: Tensor, origin: Tensor, new: Tensor) -> Tensor:
    """Rows (B, W, T, ...) of the beams that were kept, and what is new (B, W, ...), as (B, W, T + 1, ...)."""
    return torch.cat((_of_beams(kept, origin), new[:, :, None]), dim=2)
