"""Captions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from yolor_mtl.data.check.objects import unknown_image
from yolor_mtl.data.check.reading import Source
from yolor_mtl.data.coco_json import JsonCaption

LONGEST = 128
"""Words. Networks read fewer: 126 tokens in the longest of the shipped ones, and a word is one or more."""


class IdentifiedCaption(JsonCaption, gc=False):
    """A caption and its id, which COCO gives and nobody needs."""

    id: Any = None


def read_captions(source: Source, raw: list[msgspec.Raw]) -> Counter[int]:
    """Number of usable captions by image id."""
    usable: Counter[int] = Counter()
    for position, entry in source.entries("annotations", raw, IdentifiedCaption):
        if entry.image_id not in source.images:
            unknown_image(source, position, entry.image_id, _number(entry.id))
            continue
        words = len(entry.caption.split())
        if not words:
            message = f"the caption {entry.caption!r} has no words"
        elif words > LONGEST:
            message = f"{words} words, more than {LONGEST}: {entry.caption[:60]!r}..."
        if not words or words > LONGEST:
            source.found(
                "caption-long" if words else "caption-empty", message, "annotations", position,
                image_id=entry.image_id, annotation_id=_number(entry.id), shape=source.shape(entry.image_id),
            )  # fmt: skip
        usable[entry.image_id] += bool(words)
    return usable


def _number(value: Any) -> int | None:
    """An id, where it is one: nothing reads it but messages."""
    return value if isinstance(value, int) else None
