"""Training for what captions are judged by: self-critical sequence training (Rennie et al., arXiv 1612.00563).

Captions are drawn from the decoder as it is, scored by CIDEr-D against the picture's references, and made likelier or
rarer by how much they score above or below the others of the same picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from yolor_mtl.records import LossOutput, Outputs
from yolor_mtl.tasks.captioning.generate import Writer, sample
from yolor_mtl.tasks.captioning.ptb import ptb_words
from yolor_mtl.tasks.captioning.scores import Rarity, Words, cider_d_each
from yolor_mtl.tasks.captioning.tokenizer import END, PAD, START, CaptionTokenizer

_STOP = "\n"
"""Stands for the end among a caption's words. Without it, captions that break off before "a", which most references
hold, would be worth as much as whole ones."""


class Speaker(Writer, Protocol):
    """A caption head that also says how likely given captions are, see :meth:`CaptionHead.say`."""

    def say(self, memory: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
        """Memories (R, ...) and captions' ``tokens`` (N, T) and ``image`` (N,) to logits (N, T - 1, V)."""
        ...


class SelfCriticalLoss:
    """Term ``reward``: minus the log-likelihood of drawn captions, weighted by their advantage; count: their words.

    The advantage is the caption's CIDEr-D less the mean of the picture's other ones, an unbiased baseline that needs no
    further decoding (Luo, arXiv 2003.09971).

    Args:
        head: draws and judges captions; referred to and not copied.
        tokenizer: tokens to text.
        samples: captions drawn of each picture, at least 2.
        limit: greatest number of words.
    """

    reads = "references"
    """Name of the references among the targets: not that of what the head speaks about, which would be for nothing."""

    def __init__(self, head: Speaker, tokenizer: CaptionTokenizer, samples: int, limit: int) -> None:
        self.head, self.tokenizer, self.samples, self.limit = head, tokenizer, samples, limit
        self.rarity: Rarity | None = None

    def study(self, groups: Iterable[Sequence[str]]) -> None:
        """Learns the n-grams' document frequencies from all captions of the training, image by image."""
        self.rarity = Rarity.of(map(self._reference, group) for group in groups)

    def __call__(
        self, out: Outputs, targets: Mapping[str, Tensor], used: Mapping[str, Mapping[str, Any]]
    ) -> LossOutput:
        """Memories of R pictures against the ``references`` (N, T), whose rows ``image`` (N,) names.

        Without :meth:`study`, document frequencies are the batch's.
        """
        memory = {name: out[name] for name in self.head.memories}
        rows = next(iter(memory.values()))
        drawn = self._draw(memory)  # (R * K, T)
        rewards = self._rewards(drawn, targets).to(rows.device).unflatten(0, (len(rows), self.samples))
        others = (rewards.sum(1, keepdim=True) - rewards) / (self.samples - 1)
        image = torch.arange(len(rows), device=rows.device).repeat_interleave(self.samples)
        logits = self.head.say(memory, {"tokens": drawn, "image": image})
        wanted = drawn[:, 1:]
        surprise = F.cross_entropy(
            logits.float().flatten(0, 1), wanted.flatten(), ignore_index=PAD, reduction="none"
        ).unflatten(0, wanted.shape)
        value = (surprise.sum(1) * (rewards - others).flatten()).sum()
        return LossOutput({"reward": (value, (wanted != PAD).sum().float())}, {"rewards": rewards.detach()})

    def _draw(self, memory: Mapping[str, Tensor]) -> Tensor:
        """``samples`` captions of each picture, (R * K, T) int64 from start to end, padded."""
        device = next(iter(memory.values())).device
        # Word by word the weights would be cast again at every call under autocast: full precision is faster.
        with torch.autocast(device.type, enabled=False):
            tokens = sample(
                self.head,
                {name: value.detach().float() for name, value in memory.items()},
                words=self.tokenizer.size,
                count=self.samples,
                max_tokens=self.limit,
                never=self.tokenizer.wordless,
            )
        return torch.cat((torch.full_like(tokens[:, :1], START), tokens), dim=1)

    def _rewards(self, drawn: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """CIDEr-D (R * K,) of drawn captions."""
        references: dict[int, list[Words]] = {}
        for row, ids in zip(targets["image"].tolist(), targets[self.reads].tolist(), strict=True):
            references.setdefault(row, []).append(self._reference(self.tokenizer.decode(_words(ids))))
        candidates = [ptb_words(self.tokenizer.decode(_words(ids))) + [_STOP] * (END in ids) for ids in drawn.tolist()]
        groups = [references[row // self.samples] for row in range(len(drawn))]
        rarity = Rarity.of(references.values()) if self.rarity is None else self.rarity
        return torch.tensor(cider_d_each(candidates, groups, rarity=rarity), dtype=torch.float32)

    @staticmethod
    def _reference(caption: str) -> Words:
        return [*ptb_words(caption), _STOP]


def _words(ids: Sequence[int]) -> list[int]:
    return [number for number in ids if number not in (PAD, START, END)]
