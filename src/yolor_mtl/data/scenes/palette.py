"""Colours: the named ones that annotations and captions speak of, and the few operations on them."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TypeVar

import numpy as np

Rgb = tuple[int, int, int]
"""Red, green, blue in 0..255."""

Choice = TypeVar("Choice")

COLORS = MappingProxyType(
    {
        "red": (205, 46, 42),
        "orange": (234, 132, 36),
        "yellow": (243, 205, 60),
        "green": (66, 146, 72),
        "blue": (48, 98, 190),
        "purple": (126, 76, 164),
        "pink": (238, 142, 172),
        "white": (240, 238, 230),
        "black": (50, 48, 54),
        "gray": (142, 146, 152),
        "brown": (132, 86, 52),
    }
)
"""Name to RGB of every colour that a thing may have. Drawn colours lie close to these."""


def pick(rng: np.random.Generator, options: Sequence[Choice]) -> Choice:
    """One of the options, each equally likely (faster than ``rng.choice`` and keeps Python types)."""
    return options[int(rng.integers(len(options)))]


def jitter(rng: np.random.Generator, color: Rgb, amount: float = 0.07) -> Rgb:
    """The colour with each channel scaled by up to ``amount`` either way: near enough to keep its name."""
    factors = 1.0 + rng.uniform(-amount, amount, 3)
    return clamp(color[0] * factors[0], color[1] * factors[1], color[2] * factors[2])


def clamp(red: float, green: float, blue: float) -> Rgb:
    """Channels rounded and held in 0..255."""
    return (
        min(255, max(0, round(red))),
        min(255, max(0, round(green))),
        min(255, max(0, round(blue))),
    )


def shade(color: Rgb, factor: float) -> Rgb:
    """Darker below 1; above 1 the colour goes towards white, by ``factor - 1`` of the way."""
    if factor <= 1.0:
        return clamp(color[0] * factor, color[1] * factor, color[2] * factor)
    return mix(color, (255, 255, 255), factor - 1.0)


def mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """``share`` of the second colour, the rest of the first."""
    rest = 1.0 - share
    return clamp(
        first[0] * rest + second[0] * share,
        first[1] * rest + second[1] * share,
        first[2] * rest + second[2] * share,
    )
