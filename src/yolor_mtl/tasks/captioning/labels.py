"""Captions as tokens; one pass of the trunk serves all captions of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from yolor_mtl.data.labels import Columns
from yolor_mtl.records import Annotations, Sample, View
from yolor_mtl.tasks.captioning.tokenizer import CaptionTokenizer


class CaptionLabels:
    """The reference captions of pictures that have some.

    Args:
        tokenizer: text to tokens.
        max_tokens: greatest length, start and end included.
        view: the view that trains it; the weak one, since strong augmentation makes captions untrue.
        name: of the captions among the targets: of ``tokens`` the head says how likely each word is.
    """

    view: View

    def __init__(
        self, tokenizer: CaptionTokenizer, max_tokens: int, view: View = "language", name: str = "tokens"
    ) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.view = view
        self.name = name

    def labelled(self, annotations: Annotations) -> bool:
        """Whether the image has captions."""
        return bool(annotations.captions)

    def columns(self, annotations: Annotations) -> Columns:
        """``captions``, the texts."""
        return Columns(texts={"captions": annotations.captions or ()})

    def usable(self, sample: Sample) -> bool:
        """Language views with captions."""
        return sample.view == self.view and bool(sample.texts.get("captions"))

    def targets(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """``tokens``, or what they are named, (N, T) int64, padded, and ``image`` (N,) int64, the row of each."""
        texts = [text for sample in samples for text in sample.texts["captions"]]
        image = [row for row, sample in enumerate(samples) for _ in sample.texts["captions"]]
        tokens = self.tokenizer.encode_batch(texts, self.max_tokens)
        return {self.name: tokens, "image": torch.tensor(image, dtype=torch.int64)}

    def part(self, targets: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
        """The captions of some of the samples."""
        number, caption = (targets["image"][None, :] == rows[:, None]).nonzero(as_tuple=True)
        return {self.name: targets[self.name].index_select(0, caption), "image": number}
