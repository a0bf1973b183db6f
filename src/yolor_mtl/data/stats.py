"""What a data set holds, in numbers that say whether it is rich enough to learn from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.data.coco_index import BOXES, CAPTIONS, MASKS, PANOPTIC, SplitIndex
from yolor_mtl.data.coco_json import read_json

SMALL_AREA = 32 * 32
"""COCO's bound of small objects, in square pixels."""

LONG_SIDE = 480
"""Areas are compared as if every picture's long side had so many pixels."""

HIDDEN = 0.25
"""An object counts as hidden from this share on."""

MOST_NAMED = 10
"""How many of the most frequent classes are named."""


_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


class _Occlusion(msgspec.Struct, gc=False):
    """Of an annotation only how much of it is hidden, where the file says so."""

    occluded: float | None = None


class _OcclusionFile(msgspec.Struct):
    """An instances file, of which nothing else is read."""

    annotations: list[_Occlusion]


@dataclass(frozen=True, slots=True)
class DataStats:
    """Numbers about a data set; shares are 0..1 and ``None`` where the data set does not say.

    Attributes:
        images: images of all opened splits.
        labelled: images labelled for ``boxes``, ``masks``, ``semantic`` and ``captions``.
        things: kinds of things.
        stuff: kinds of stuff.
        objects: annotated objects.
        objects_per_image: over the images labelled for boxes.
        small: share of objects under 32 x 32 pixels with the picture's long side at 480.
        hidden: share of objects hidden by a quarter or more, of those whose annotation says ``occluded``.
        captions_per_image: over the images labelled for captions.
        unique_first_captions: share of images whose first caption no other image has.
        vocabulary: distinct words of all captions, in small letters.
        frequent: the most frequent kinds of things with their number of objects.
    """

    images: int
    labelled: dict[str, int]
    things: int
    stuff: int
    objects: int
    objects_per_image: float | None
    small: float | None
    hidden: float | None
    captions_per_image: float | None
    unique_first_captions: float | None
    vocabulary: int
    frequent: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON writes them."""
        return asdict(self) | {"frequent": dict(self.frequent)}


def data_stats(dataset: CocoDataset) -> DataStats:
    """Numbers about all opened splits together.

    Raises:
        UserError: an annotation file cannot be read any more.
    """
    # The parts are the reader's own; its arrays answer at once what 118,000 decoded images would take minutes for.
    parts = dataset._parts
    indexes = [part.index for part in parts]
    semantic = sum(int((part.index.labelled(PANOPTIC) | part._stuff).sum()) for part in parts)
    files = [part._files.instances for part in parts if part._files.instances is not None]
    labelled = {
        "boxes": _labelled(indexes, BOXES),
        "masks": _labelled(indexes, MASKS),
        "semantic": semantic,
        "captions": _labelled(indexes, CAPTIONS),
    }
    objects = dataset.counts["objects"]
    vocabulary: set[str] = set()
    for caption in dataset.captions():
        vocabulary.update(_WORD.findall(caption.lower()))
    return DataStats(
        images=len(dataset),
        labelled=labelled,
        things=len(dataset.space.things),
        stuff=sum(not category.isthing for category in dataset.space.semantic),
        objects=objects,
        objects_per_image=_share(objects, labelled["boxes"]),
        small=_share(sum(_small(index) for index in indexes), objects),
        hidden=_hidden(files),
        captions_per_image=_share(dataset.counts["texts"], labelled["captions"]),
        unique_first_captions=_unique(_first_captions(indexes)),
        vocabulary=len(vocabulary),
        frequent=_frequent(dataset, indexes),
    )


def stats_rows(stats: DataStats) -> list[tuple[str, str]]:
    """What and how much, ready to be printed as a table."""
    return [
        ("images", f"{stats.images:,}"),
        *((f"labelled for {what}", f"{count:,}") for what, count in stats.labelled.items()),
        ("kinds of things", str(stats.things)),
        ("kinds of stuff", str(stats.stuff)),
        ("objects", f"{stats.objects:,}"),
        ("objects per image", _number(stats.objects_per_image)),
        ("small objects (under 32 x 32 at long side 480)", _percent(stats.small)),
        ("objects hidden by a quarter or more", _percent(stats.hidden)),
        ("captions per image", _number(stats.captions_per_image)),
        ("first captions that no other image has", _percent(stats.unique_first_captions)),
        ("vocabulary", f"{stats.vocabulary:,} words"),
        ("most frequent", ", ".join(f"{name} {count:,}" for name, count in stats.frequent) or "none"),
    ]


def _labelled(indexes: Iterable[SplitIndex], bit: int) -> int:
    return sum(int(index.labelled(bit).sum()) for index in indexes)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _small(index: SplitIndex) -> int:
    """Objects that would be small if the picture's long side were 480 pixels."""
    per_image = np.diff(index.arrays["object_at"])
    scales = (LONG_SIDE / index.arrays["sizes"].max(axis=1, initial=1)) ** 2
    return int((index.arrays["object_area"] * np.repeat(scales, per_image) < SMALL_AREA).sum())


def _hidden(files: Sequence[Path]) -> float | None:
    """Share of hidden objects among those that say how much of them is hidden."""
    # The reader keeps COCO's own keys only, so this one is looked up in the files.
    stated = [
        entry.occluded
        for path in files
        for entry in read_json(path, _OcclusionFile).annotations
        if entry.occluded is not None
    ]
    return _share(sum(share >= HIDDEN for share in stated), len(stated))


def _first_captions(indexes: Iterable[SplitIndex]) -> list[str]:
    firsts = []
    for index in indexes:
        for image in range(len(index)):
            rows = index.rows("caption", image)
            if len(rows):
                firsts.append(index.text("caption", rows.start).decode())
    return firsts


def _unique(texts: Sequence[str]) -> float | None:
    return _share(sum(count == 1 for count in Counter(texts).values()), len(texts))


def _frequent(dataset: CocoDataset, indexes: Iterable[SplitIndex]) -> tuple[tuple[str, int], ...]:
    names = {category.id: category.name for category in dataset.space.things}
    counts: Counter[int] = Counter()
    for index in indexes:
        ids, numbers = np.unique(index.arrays["object_category"], return_counts=True)
        counts.update(dict(zip(ids.tolist(), numbers.tolist(), strict=True)))
    return tuple((names[number], count) for number, count in counts.most_common(MOST_NAMED))


def _number(value: float | None) -> str:
    return "not stated" if value is None else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return "not stated" if value is None else f"{value:.1%}"
