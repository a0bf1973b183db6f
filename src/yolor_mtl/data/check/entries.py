"""Entries of annotation files as JSON text: read as far as is needed, and changed without losing the rest."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

Entry = dict[str, Any]

encode = msgspec.json.Encoder().encode
T = TypeVar("T")


class Ids(msgspec.Struct, gc=False):
    """What of an entry says where it belongs."""

    image_id: int | None = None
    category_id: int | None = None
    id: Any = None


class Listed(msgspec.Struct, gc=False):
    """What of an image's entry is looked at."""

    id: int
    file_name: str
    width: int
    height: int


def decoded(text: msgspec.Raw, kind: type[T]) -> T | None:
    """An entry, or ``None`` where it is not of that kind."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def whole(text: msgspec.Raw) -> Entry:
    """All of an entry; numbers out of range become texts, as NaN is one already."""
    entry: Entry = json.loads(bytes(text), parse_float=_finite)
    return entry


def _finite(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) else "Infinity"


def changed(text: msgspec.Raw, changes: Entry) -> msgspec.Raw:
    """An entry with other values under some keys."""
    return msgspec.Raw(encode(msgspec.json.decode(text) | changes)) if changes else text


def listed(entries: Sequence[msgspec.Raw]) -> msgspec.Raw:
    """A list of entries."""
    return msgspec.Raw(encode(entries))
