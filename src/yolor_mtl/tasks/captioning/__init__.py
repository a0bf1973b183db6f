"""Captioning: a sentence about the whole picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.base import Scoring, Task, TaskKind, view_named
from yolor_mtl.tasks.captioning.decode import CaptionDecode
from yolor_mtl.tasks.captioning.head import CaptionHead
from yolor_mtl.tasks.captioning.labels import CaptionLabels
from yolor_mtl.tasks.captioning.loss import CaptionLoss
from yolor_mtl.tasks.captioning.metric import CaptionMetric
from yolor_mtl.tasks.captioning.results import read_captions
from yolor_mtl.tasks.captioning.show import CaptionShow
from yolor_mtl.tasks.captioning.tokenizer import SPECIALS, CaptionTokenizer
from yolor_mtl.tasks.captioning.truth import caption_truth


@dataclass
class CaptioningConfig:
    """The block ``tasks.captioning`` of a network.

    Attributes:
        features: what the decoder reads.
        vocabulary: greatest number of words learnt from the data; a smaller vocabulary has fewer slots.
        slots: fixed number of word slots, the unused ones never written; 0 takes as many as there are words.
        width: d of the decoder.
        layers: decoder layers.
        heads: attention heads.
        feed_forward: channels inside a feed-forward part.
        dropout: share dropped in training.
        max_tokens: greatest length, start and end included.
        tied: the output uses the embedding's weights.
        smoothing: label smoothing.
        implicit: implicit knowledge before and after the output.
        weights: factors of the loss terms.
        view: the augmentation it trains on; the paper's rule is the weak one.
    """

    features: list[str] = field(default_factory=lambda: ["p5"])
    vocabulary: int = 10000
    slots: int = 0
    width: int = 256
    layers: int = 6
    heads: int = 8
    feed_forward: int = 2048
    dropout: float = 0.1
    max_tokens: int = 48
    tied: bool = False
    smoothing: float = 0.0
    implicit: bool = True
    weights: dict[str, float] = field(default_factory=lambda: {"words": 1.0})
    view: str = "language"


UNTRUE = "a caption does not say what the changed picture shows; train it on the weak view: captioning.view=language"


def _scoring(space: LabelSpace) -> Scoring:
    return Scoring(CaptionMetric, caption_truth, lambda folder: read_captions(folder))


def _build(config: CaptioningConfig, space: LabelSpace, infos: Mapping[str, FeatureInfo]) -> Task:
    if space.vocabulary is None:
        raise UserError("the data has no captions; leave captioning out with tasks=[detection,instance,semantic]")
    tokenizer = CaptionTokenizer.from_json(space.vocabulary)
    if tokenizer.size <= len(SPECIALS):
        raise UserError("the captions have no words; leave captioning out with tasks=[detection,instance,semantic]")
    slots = config.slots or tokenizer.size
    if slots < tokenizer.size:
        raise UserError(f"captioning.slots={slots} is less than the vocabulary's {tokenizer.size} words")
    if config.width % math.lcm(4, config.heads) or config.max_tokens < 3:
        raise UserError(
            f"captioning: width={config.width} must be a multiple of 4 and of heads={config.heads}, and "
            f"max_tokens={config.max_tokens} at least 3 (start, a word, end)"
        )
    head = CaptionHead(
        config.features,
        infos,
        slots,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        feed_forward=config.feed_forward,
        dropout=config.dropout,
        max_tokens=config.max_tokens,
        tied=config.tied,
        implicit=config.implicit,
    )
    return Task(
        name="captioning",
        features=tuple(config.features),
        head=head,
        labels=CaptionLabels(tokenizer, config.max_tokens, view_named(config.view, "captioning.view")),
        loss=CaptionLoss(config.smoothing),
        weights=dict(config.weights),
        decode=CaptionDecode(head, tokenizer, config.max_tokens - 1),
        scoring=_scoring(space),
        show=CaptionShow(),
        breaks=dict.fromkeys(("mosaic", "mixup", "flip"), UNTRUE) if config.view == "vision" else {},
    )


def _learn(config: CaptioningConfig, space: LabelSpace, captions: Iterable[str]) -> LabelSpace:
    return space.with_vocabulary(CaptionTokenizer.train(captions, config.slots or config.vocabulary).to_json())


KIND = TaskKind(
    CaptioningConfig, lambda config: tuple(config.features), _build, _scoring, needs=("vocabulary",), learn=_learn
)
