"""BLEU, ROUGE-L and CIDEr-D over tokenised captions, with the constants of COCO's caption evaluation.

Written from the papers: Papineni et al. 2002 (BLEU), Lin 2004 (ROUGE-L), Vedantam et al. 2015 (CIDEr), and
Chen et al. 2015 (the COCO caption server). A caption is a list of words; ``candidates[i]`` is scored against
``references[i]``, which holds at least one caption.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Words = Sequence[str]
Ngrams = Counter[tuple[str, ...]]

ORDERS = 4
"""Longest n-gram that counts."""

_TINY, _SMALL = 1e-15, 1e-9  # keep BLEU's quotients defined where nothing matches or a candidate is empty


def ngrams(words: Words) -> tuple[Ngrams, ...]:
    """Counts of the caption's n-grams, for n = 1 to 4."""
    return tuple(
        Counter(zip(*(words[start:] for start in range(order)), strict=False)) for order in range(1, ORDERS + 1)
    )


def bleu(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> tuple[float, float, float, float]:
    """Corpus BLEU-1 to BLEU-4 in 0..1, brevity against the reference closest in length (the shorter of two)."""
    matched, total = [0] * ORDERS, [0] * ORDERS
    length = wanted = 0
    for candidate, group in zip(candidates, references, strict=True):
        length += len(candidate)
        wanted += min((abs(len(words) - len(candidate)), len(words)) for words in group)[1]
        grams = [ngrams(words) for words in group]
        for order, counts in enumerate(ngrams(candidate)):
            total[order] += max(0, len(candidate) - order)
            matched[order] += sum(min(count, max(gram[order][key] for gram in grams)) for key, count in counts.items())
    ratio = (length + _TINY) / (wanted + _SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    scores, product = [], 1.0
    for order in range(ORDERS):
        product *= (matched[order] + _TINY) / (total[order] + _SMALL)
        scores.append(brevity * product ** (1 / (order + 1)))
    return scores[0], scores[1], scores[2], scores[3]


def rouge_l(candidates: Sequence[Words], references: Sequence[Sequence[Words]], beta: float = 1.2) -> float:
    """Mean ROUGE-L in 0..1: F of the best precision and the best recall over the references; 0 without captions."""
    scores = [_rouge(candidate, group, beta) for candidate, group in zip(candidates, references, strict=True)]
    return math.fsum(scores) / len(scores) if scores else 0.0


def _rouge(candidate: Words, group: Sequence[Words], beta: float) -> float:
    candidate = candidate or ("",)  # as the reference implementation does: an empty caption is one empty word
    filled = [words or ("",) for words in group]
    common = [_common(candidate, words) for words in filled]
    precision = max(common) / len(candidate)
    recall = max(count / len(words) for count, words in zip(common, filled, strict=True))
    if not precision or not recall:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def _common(first: Words, second: Words) -> int:
    """Length of the longest common subsequence.

    Bits of an integer stand for the words of ``first`` (Hyyrö 2004): one addition a word of ``second`` instead of a
    row of the usual table.
    """
    full = (1 << len(first)) - 1
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    state = full
    for word in second:
        hit = state & places.get(word, 0)
        state = (state + hit | state - hit) & full
    return len(first) - state.bit_count()


def cider_d(candidates: Sequence[Words], references: Sequence[Sequence[Words]], sigma: float = 6.0) -> float:
    """Mean of :func:`cider_d_each`; 0 without captions."""
    scores = cider_d_each(candidates, references, sigma)
    return math.fsum(scores) / len(scores) if scores else 0.0


@dataclass(frozen=True)
class Rarity:
    """How rare n-grams are among images: the logarithm of all images over those that have one in a reference.

    Attributes:
        weights: n-gram -> its rarity.
        unseen: that of all others, which is that of an n-gram of a single image.
    """

    weights: Mapping[tuple[str, ...], float]
    unseen: float

    @classmethod
    def of(cls, references: Iterable[Iterable[Words]]) -> Rarity:
        """The rarities among images with these references; n-grams of a single image are not kept."""
        frequency: Counter[tuple[str, ...]] = Counter()
        images = 0
        for group in references:
            images += 1
            frequency.update({key for words in group for order in ngrams(words) for key in order})
        unseen = math.log(max(images, 1))
        return cls({key: unseen - math.log(count) for key, count in frequency.items() if count > 1}, unseen)


def cider_d_each(
    candidates: Sequence[Words],
    references: Sequence[Sequence[Words]],
    sigma: float = 6.0,
    rarity: Rarity | None = None,
) -> list[float]:
    """CIDEr-D of every caption with its factor 10.

    Of a single image it is 0: every n-gram occurs in every image, so none has a weight.

    Args:
        candidates: the captions.
        references: of each caption.
        sigma: of the penalty for another length.
        rarity: document frequencies; those of ``references`` by default.
    """
    rarity = Rarity.of(references) if rarity is None else rarity
    scores = []
    vectors: dict[int, list[_Vector]] = {}  # several captions may share their references
    for candidate, group in zip(candidates, references, strict=True):
        if id(group) not in vectors:
            vectors[id(group)] = [_Vector(ngrams(words), rarity) for words in group]
        own = _Vector(ngrams(candidate), rarity)
        similar = [own.similarity(other, sigma) for other in vectors[id(group)]]
        scores.append(10 * math.fsum(similar) / len(similar))
    return scores


class _Vector:
    """A caption's n-grams weighted by how rare they are among the images."""

    def __init__(self, counts: tuple[Ngrams, ...], rarity: Rarity) -> None:
        self.weights = [
            {key: n * rarity.weights.get(key, rarity.unseen) for key, n in order.items()} for order in counts
        ]
        self.norms = [math.sqrt(sum(weight * weight for weight in order.values())) for order in self.weights]
        self.length = counts[1].total()  # in bigrams, as COCO's evaluation measures it

    def similarity(self, other: _Vector, sigma: float) -> float:
        """Clipped cosine, mean over the four orders, damped by the difference in length."""
        total = 0.0
        for mine, theirs, norm, norms in zip(self.weights, other.weights, self.norms, other.norms, strict=True):
            if norm and norms:
                shared = sum(min(w, theirs[key]) * theirs[key] for key, w in mine.items() if key in theirs)
                total += shared / (norm * norms)
        return total / ORDERS * math.exp(-((self.length - other.length) ** 2) / (2 * sigma**2))
