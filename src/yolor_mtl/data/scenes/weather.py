"""Skies: their colours, the light that falls from them, and what captions call them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yolor_mtl.data.scenes.palette import Rgb, jitter, mix, pick
from yolor_mtl.data.scenes.pen import Light


@dataclass(frozen=True, slots=True)
class Weather:
    """One kind of sky and light.

    Attributes:
        top: colours at the zenith to choose from.
        low: colours at the horizon to choose from.
        clouds: least and greatest number.
        sun: colour of the sun's glow; black for none.
        strength: least and greatest hardness of the light, 0..1.
        tint: factors on red, green and blue.
        skies: what captions call the sky, without article.
        times: how captions say when it is; none for an ordinary day.
    """

    top: tuple[Rgb, ...]
    low: tuple[Rgb, ...]
    clouds: tuple[int, int]
    sun: Rgb
    strength: tuple[float, float]
    tint: tuple[float, float, float]
    skies: tuple[str, ...]
    times: tuple[str, ...]


NO_SUN: Rgb = (0, 0, 0)

WEATHERS: tuple[tuple[float, Weather], ...] = (
    (
        0.24,
        Weather(
            ((84, 146, 220), (64, 132, 214), (104, 160, 216)),
            ((190, 220, 242), (206, 228, 240)),
            (0, 0),
            (255, 246, 206),
            (0.8, 1.0),
            (1.02, 1.0, 0.97),
            ("clear blue sky", "clear sky", "bright blue sky"),
            ("on a sunny day", "in bright sunlight"),
        ),
    ),
    (
        0.3,
        Weather(
            ((98, 152, 212), (84, 140, 206)),
            ((200, 220, 236), (212, 226, 236)),
            (4, 8),
            NO_SUN,
            (0.5, 0.85),
            (1.0, 1.0, 1.0),
            ("cloudy sky", "blue sky with white clouds", "sky full of clouds"),
            ("on a cloudy day",),
        ),
    ),
    (
        0.18,
        Weather(
            ((158, 168, 180), (148, 156, 166)),
            ((204, 208, 212), (214, 216, 216)),
            (0, 0),
            NO_SUN,
            (0.05, 0.2),
            (0.95, 0.97, 1.0),
            ("gray sky", "dull gray sky"),
            ("on a gray day", "on a dull day"),
        ),
    ),
    (
        0.15,
        Weather(
            ((104, 98, 152), (126, 104, 142), (86, 96, 156)),
            ((250, 178, 108), (246, 158, 98)),
            (0, 3),
            (255, 218, 150),
            (0.55, 0.8),
            (1.05, 0.96, 0.87),
            ("orange evening sky", "glowing evening sky"),
            ("at sunset", "in the evening"),
        ),
    ),
    (
        0.08,
        Weather(
            ((152, 168, 214), (162, 166, 206)),
            ((248, 206, 200), (246, 214, 196)),
            (0, 2),
            NO_SUN,
            (0.3, 0.5),
            (1.02, 0.97, 0.98),
            ("pink morning sky", "pale pink sky"),
            ("early in the morning", "at dawn"),
        ),
    ),
    (
        0.05,
        Weather(
            ((24, 32, 78), (30, 30, 70)),
            ((70, 84, 138), (82, 84, 132)),
            (0, 0),
            (236, 236, 214),
            (0.25, 0.4),
            (0.68, 0.72, 0.86),
            ("dark night sky", "dark blue sky"),
            ("at night",),
        ),
    ),
)
"""Every weather with its share of the pictures."""


@dataclass(frozen=True, slots=True)
class Sky:
    """The sky of one picture.

    Attributes:
        weather: its kind.
        colors: at the top and at the horizon.
        clouds: how many.
        sun: colour of the glow; black for none.
    """

    weather: Weather
    colors: tuple[Rgb, Rgb]
    clouds: int
    sun: Rgb


def choose_sky(rng: np.random.Generator) -> Sky:
    """A sky, each weather as often as its share says."""
    place, weather = float(rng.random()), WEATHERS[-1][1]
    for share, candidate in WEATHERS:
        place -= share
        if place < 0:
            weather = candidate
            break
    colors = (jitter(rng, pick(rng, weather.top), 0.05), jitter(rng, pick(rng, weather.low), 0.03))
    sun = weather.sun if rng.random() < 0.6 else NO_SUN
    return Sky(weather, colors, int(rng.integers(weather.clouds[0], weather.clouds[1] + 1)), sun)


def daylight(rng: np.random.Generator, sky: Sky) -> Light:
    """The light under a sky."""
    weather = sky.weather
    return Light(
        side=float(rng.uniform(0.3, 1.0)) * (1 if rng.random() < 0.5 else -1),
        strength=float(rng.uniform(*weather.strength)),
        tint=weather.tint,
        haze=mix(sky.colors[1], (200, 206, 212), 0.3),
    )


def lamplight(rng: np.random.Generator) -> Light:
    """The light in a room: soft, from warm to cool."""
    warmth = float(rng.uniform(-1, 1))
    return Light(
        side=float(rng.uniform(-0.8, 0.8)),
        strength=float(rng.uniform(0.2, 0.5)),
        tint=(1.0 + 0.03 * warmth, 1.0, 1.0 - 0.06 * warmth),
        haze=(210, 204, 196),
    )
