"""Captioning: a sentence about the whole picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

from yolor_mtl.config import nearest
from yolor_mtl.data.augment import Meaning
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.base import Scoring, Task, TaskKind, view_named
from yolor_mtl.tasks.captioning.decode import CaptionDecode
from yolor_mtl.tasks.captioning.generate import Search
from yolor_mtl.tasks.captioning.head import CaptionHead
from yolor_mtl.tasks.captioning.labels import CaptionLabels
from yolor_mtl.tasks.captioning.loss import CaptionLoss
from yolor_mtl.tasks.captioning.metric import CaptionMetric
from yolor_mtl.tasks.captioning.objects import ObjectTokens
from yolor_mtl.tasks.captioning.pre_norm import SumLayer
from yolor_mtl.tasks.captioning.region_head import RegionCaptionHead
from yolor_mtl.tasks.captioning.results import read_captions
from yolor_mtl.tasks.captioning.self_critical import SelfCriticalLoss
from yolor_mtl.tasks.captioning.show import CaptionShow
from yolor_mtl.tasks.captioning.tokenizer import CaptionTokenizer
from yolor_mtl.tasks.captioning.truth import caption_truth


@dataclass
class RegionsConfig:
    """Keys of ``head=regions``, see :class:`RegionCaptionHead`; the defaults are the released Generalist YOLO's.

    Attributes:
        levels: features that detection's points lie on, in its order.
        grid: feature whose cells are read.
        classes: feature at the size of the semantic logits.
        branch: detection's branch that chooses points.
        count: points read at most.
        width: d of the decoder.
        layers: decoder layers.
        grid_layers: encoder layers over the cells.
        heads: attention heads.
        feed_forward: channels inside a feed-forward part.
        dropout: share dropped in training.
    """

    levels: list[str] = field(default_factory=lambda: ["p3", "p4", "p5"])
    grid: str = "c5"
    classes: str = "u2"
    branch: str = "main"
    count: int = 300
    width: int = 256
    layers: int = 1
    grid_layers: int = 1
    heads: int = 8
    feed_forward: int = 512
    dropout: float = 0.2


@dataclass
class ObjectsConfig:
    """The objects that ``head=cells`` reads beside the cells, see :class:`ObjectTokens`.

    Attributes:
        count: greatest number of objects; 0 for none. A model without detection reads none.
        levels: features that detection's points lie on, in its order.
        features: features looked up at the middle of each object.
        branch: detection's branch that points.
        layers: encoder layers over the objects, as wide as the decoder's.
    """

    count: int = 0
    levels: list[str] = field(default_factory=lambda: ["p3", "p4", "p5"])
    features: list[str] = field(default_factory=lambda: ["p3", "p4", "p5"])
    branch: str = "main"
    layers: int = 1


@dataclass
class SearchConfig:
    """How captions are written; width and steps of the search are arguments of a call.

    Attributes:
        steps: greatest number of words, whatever the call says; 0 for as many as there are positions.
        length_penalty: captions are compared by the sum of log-probabilities over their length to this power.
        any_token: special tokens may be written and the end may come first, as the weights have it.
        after_end: sum of a finished caption that goes on with a word; by default it never does.
    """

    steps: int = 0
    length_penalty: float = 1.0
    any_token: bool = False
    after_end: float | None = None


@dataclass
class CaptioningConfig:
    """The block ``tasks.captioning`` of a network.

    Attributes:
        head: ``cells``, a decoder over features, or ``regions``, one over cells, objects and classes.
        regions: keys of ``head=regions``; of ``head=cells`` are ``features``, ``width``, ``layers``, ``heads``,
            ``feed_forward``, ``dropout``, ``output``, ``tied``, ``implicit`` and ``objects``.
        search: how captions are written.
        features: what the decoder reads.
        objects: the objects it reads as well.
        vocabulary: greatest number of words learnt from the data; a smaller vocabulary has fewer slots.
        slots: fixed number of word slots, the unused ones never written; 0 takes as many as there are words.
        width: d of the decoder.
        layers: decoder layers.
        heads: attention heads.
        feed_forward: channels inside a feed-forward part.
        dropout: share dropped in training.
        max_tokens: greatest length, start and end included.
        output: channels of layers between the decoder and the words; usually none.
        tied: the output uses the embedding's weights.
        smoothing: label smoothing.
        reward: ``none`` learns the references word by word; ``cider`` makes captions that score well likelier, which
            is meant for a decoder that can write already, see :class:`SelfCriticalLoss`.
        samples: captions that are drawn of each picture for ``reward``.
        implicit: implicit knowledge before and after the output.
        weights: factors of the loss terms.
        view: the augmentation it trains on; the paper's rule is the weak one.
    """

    head: str = "cells"
    regions: RegionsConfig = field(default_factory=RegionsConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    features: list[str] = field(default_factory=lambda: ["p5"])
    objects: ObjectsConfig = field(default_factory=ObjectsConfig)
    vocabulary: int = 10000
    slots: int = 0
    width: int = 256
    layers: int = 6
    heads: int = 8
    feed_forward: int = 2048
    dropout: float = 0.1
    max_tokens: int = 48
    output: list[int] = field(default_factory=list)
    tied: bool = False
    smoothing: float = 0.0
    reward: str = "none"
    samples: int = 5
    implicit: bool = True
    weights: dict[str, float] = field(default_factory=lambda: {"words": 1.0})
    view: str = "language"


REWARDS = ("none", "cider")

WEAK = "train the captions on the weak view with captioning.view=language"


def _scoring(space: LabelSpace) -> Scoring:
    return Scoring(
        CaptionMetric,
        caption_truth,
        lambda folder: read_captions(folder),
        lambda options: "greedy" if options.beam == 1 else f"beam {options.beam}",
        "annotations/captions_<split>.json",
    )


def _cells(config: CaptioningConfig, infos: Mapping[str, FeatureInfo], slots: int, classes: int) -> CaptionHead:
    if config.width % math.lcm(4, config.heads):
        raise UserError(f"captioning.width={config.width} must be a multiple of 4 and of heads={config.heads}")
    if config.tied and config.output and config.output[-1] != config.width:
        raise UserError(f"captioning.output={config.output} must end with width={config.width} where tied=true")
    return CaptionHead(
        config.features,
        infos,
        slots,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        feed_forward=config.feed_forward,
        dropout=config.dropout,
        max_tokens=config.max_tokens,
        output=config.output,
        tied=config.tied,
        implicit=config.implicit,
        objects=_objects(config, infos, classes),
    )


def _objects(config: CaptioningConfig, infos: Mapping[str, FeatureInfo], classes: int) -> ObjectTokens | None:
    sizes = config.objects
    if sizes.count < 0:
        raise UserError(f"captioning.objects.count={sizes.count}; 0 is the least, and means none")
    if sizes.layers < 0:
        raise UserError(f"captioning.objects.layers={sizes.layers}; 0 is the least")
    if not sizes.count or not classes:
        return None
    for key in ("levels", "features"):
        if not getattr(sizes, key):
            raise UserError(f"captioning.objects.{key} is empty; name features such as p3, or set objects.count=0")
    return ObjectTokens(
        infos,
        levels=sizes.levels,
        features=sizes.features,
        classes=classes,
        count=sizes.count,
        width=config.width,
        branch=sizes.branch,
        encoder=[
            SumLayer(config.width, config.heads, config.feed_forward, config.dropout) for _ in range(sizes.layers)
        ],
    )


def _regions(config: CaptioningConfig, infos: Mapping[str, FeatureInfo], slots: int, classes: int) -> RegionCaptionHead:
    sizes = config.regions
    for key in ("count", "layers", "heads", "feed_forward", "width"):
        if getattr(sizes, key) < 1:
            raise UserError(f"captioning.regions.{key}={getattr(sizes, key)}; 1 is the least")
    if sizes.width % sizes.heads:
        raise UserError(f"captioning.regions.width={sizes.width} must be a multiple of heads={sizes.heads}")
    return RegionCaptionHead(infos, slots, max_tokens=config.max_tokens, **asdict(sizes))


@dataclass(frozen=True)
class _HeadKind:
    """One value of ``captioning.head``.

    Attributes:
        make: the block, the features, the number of word slots and that of object classes to the head.
        features: features it reads.
        reads: the block and the classes to the tasks whose outputs it reads.
        keys: keys of the block that other heads do not have.
    """

    make: Callable[[CaptioningConfig, Mapping[str, FeatureInfo], int, int], CaptionHead | RegionCaptionHead]
    features: Callable[[CaptioningConfig], Iterable[str]]
    reads: Callable[[CaptioningConfig, LabelSpace], tuple[str, ...]]
    keys: tuple[str, ...]


HEADS: Mapping[str, _HeadKind] = {
    "cells": _HeadKind(
        _cells,
        lambda config: (
            *config.features,
            *((*config.objects.levels, *config.objects.features) if config.objects.count else ()),
        ),
        lambda config, space: ("detection",) if config.objects.count and space.things else (),
        ("features", "width", "layers", "heads", "feed_forward", "dropout", "output", "tied", "implicit", "objects"),
    ),
    "regions": _HeadKind(
        _regions,
        lambda config: (*config.regions.levels, config.regions.grid, config.regions.classes),
        lambda config, space: ("detection", "semantic"),
        ("regions",),
    ),
}


def _kind(config: CaptioningConfig) -> _HeadKind:
    """The head that is asked for; refuses keys that only another one understands, which would change nothing."""
    if config.head not in HEADS:
        known = f"{nearest(config.head, HEADS)}; there are: {', '.join(HEADS)}"
        raise UserError(f"unknown captioning.head={config.head!r}{known}")
    plain = CaptioningConfig()
    for name, kind in HEADS.items():
        for key in kind.keys:
            if name != config.head and getattr(config, key) != getattr(plain, key):
                raise UserError(f"captioning.{key} is a key of captioning.head={name}, not of head={config.head}")
    return HEADS[config.head]


def _features(config: CaptioningConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_kind(config).features(config)))


def _build(config: CaptioningConfig, space: LabelSpace, infos: Mapping[str, FeatureInfo]) -> Task:
    if space.vocabulary is None:
        raise UserError("the data has no captions; leave captioning out with tasks=[detection,instance,semantic]")
    tokenizer = CaptionTokenizer.from_json(space.vocabulary)
    if tokenizer.size <= len(tokenizer.wordless) + 1:
        raise UserError("the captions have no words; leave captioning out with tasks=[detection,instance,semantic]")
    slots = config.slots or tokenizer.size
    if slots < tokenizer.size:
        raise UserError(f"captioning.slots={slots} is less than the vocabulary's {tokenizer.size} words")
    if config.max_tokens < 3:
        raise UserError(f"captioning.max_tokens={config.max_tokens}; 3 is the least (start, a word, end)")
    kind, search = _kind(config), config.search
    head = kind.make(config, infos, slots, len(space.things))
    limit = config.max_tokens - 1
    loss = _loss(config, head, tokenizer)
    view = view_named(config.view, "captioning.view")
    return Task(
        name="captioning",
        features=_features(config),
        reads=kind.reads(config, space),
        head=head,
        labels=CaptionLabels(tokenizer, config.max_tokens, view, loss.reads),
        loss=loss,
        study=loss.study if isinstance(loss, SelfCriticalLoss) else None,
        weights=dict(config.weights),
        decode=CaptionDecode(
            head,
            tokenizer,
            min(limit, search.steps) if search.steps else limit,
            Search(search.length_penalty, search.any_token, search.after_end),
        ),
        scoring=_scoring(space),
        show=CaptionShow(),
        relies=dict.fromkeys((Meaning.WHOLE, Meaning.COLOURS), WEAK),
    )


def _loss(
    config: CaptioningConfig, head: CaptionHead | RegionCaptionHead, tokenizer: CaptionTokenizer
) -> CaptionLoss | SelfCriticalLoss:
    if config.reward not in REWARDS:
        known = f"{nearest(config.reward, REWARDS)}; there are: {', '.join(REWARDS)}"
        raise UserError(f"unknown captioning.reward={config.reward!r}{known}")
    if config.reward == "none":
        return CaptionLoss(config.smoothing)
    if config.samples < 2:
        raise UserError(f"captioning.samples={config.samples}; 2 is the least, since one is judged by the others")
    return SelfCriticalLoss(head, tokenizer, config.samples, config.max_tokens - 1)


def _among(config: CaptioningConfig, names: Collection[str]) -> CaptioningConfig:
    """Without detection among the tasks, captions know of no objects."""
    return config if "detection" in names else replace(config, objects=replace(config.objects, count=0))


def _learn(config: CaptioningConfig, space: LabelSpace, captions: Iterable[str]) -> LabelSpace:
    return space.with_vocabulary(CaptionTokenizer.train(captions, config.slots or config.vocabulary).to_json())


KIND = TaskKind(
    CaptioningConfig,
    _features,
    _build,
    _scoring,
    needs=("vocabulary",),
    learn=_learn,
    reads=lambda config, space: _kind(config).reads(config, space),
    among=_among,
    implicit=lambda config: "implicit" in _kind(config).keys,
    show=lambda space: CaptionShow(),
    results=("captions.json",),
)
