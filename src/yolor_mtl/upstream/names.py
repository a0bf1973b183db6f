"""Tables that rename tensors: the start of a key to the start of our name, and to the table for the rest.

``*`` stands for a number that is kept. No table for the rest means that the rest is the same in both. What no table
knows has no name of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Names = Mapping[str, Any]
"""Start of a key -> ``(start of our name, Names or None)``."""

CONV: Names = {"conv": ("conv", None), "bn": ("norm", None)}
"""A convolution with its batch norm."""


def our_name(key: str, names: Names) -> str | None:
    """Our name for a released tensor, or nothing where the table does not know it."""
    for start, (ours, inner) in names.items():
        pattern = re.escape(start).replace(r"\*", r"(\d+)")
        if not (found := re.match(rf"{pattern}(?:\.(.*))?$", key)):
            continue
        *numbers, rest = found.groups()
        for number in numbers:
            ours = ours.replace("*", number, 1)
        if rest is None:
            return str(ours)
        tail = our_name(rest, inner) if inner is not None else rest
        return None if tail is None else ".".join(part for part in (ours, tail) if part)
    return None
