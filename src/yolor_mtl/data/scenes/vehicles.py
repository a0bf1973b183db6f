"""Vehicles, seen from the side facing right: each fills the unit height from the ground (y = 1) up."""

from __future__ import annotations

import numpy as np

from yolor_mtl.data.scenes.palette import Rgb, mix, pick, shade
from yolor_mtl.data.scenes.pen import Pen

GLASS: Rgb = (158, 200, 218)
TYRE: Rgb = (38, 38, 42)
LAMP: Rgb = (255, 240, 180)
REAR: Rgb = (190, 30, 30)


def _wheel(pen: Pen, x: float, radius: float) -> None:
    pen.ellipse(x, 1 - radius, radius, color=TYRE)
    pen.ellipse(x, 1 - radius, radius * 0.58, color=(176, 178, 184))
    pen.ellipse(x, 1 - radius, radius * 0.22, color=(96, 98, 104))


def _glass(pen: Pen, corners: list[tuple[float, float]]) -> None:
    """A window with a brighter slanting reflection in its upper left."""
    pen.polygon(corners, GLASS)
    (x0, y0), (x1, _), (x2, _), (x3, y3) = corners
    pen.polygon([(x0, y0), (x0 + (x1 - x0) * 0.5, y0), (x3 + (x2 - x3) * 0.15, y3), (x3, y3)], shade(GLASS, 1.4))


def car(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A car: saloon, hatchback or estate, by where the roof ends."""
    w = pen.width
    body = pick(rng, ("saloon", "hatchback", "estate"))
    roof = {"saloon": (0.30, 0.64), "hatchback": (0.16, 0.62), "estate": (0.08, 0.64)}[body]
    tail = {"saloon": 0.16, "hatchback": 0.05, "estate": 0.03}[body]
    wheel = 0.19
    pen.box(0.0, 0.44, w, 0.86, main, 0.13)
    pen.polygon([(0.02 * w, 0.52), (tail * w, 0.46), (roof[0] * w, 0.02), (roof[1] * w, 0.02), (0.80 * w, 0.46)], main)
    pen.box(0.02 * w, 0.74, 0.99 * w, 0.88, shade(main, 0.72), 0.05)
    middle = (roof[0] + roof[1]) / 2 * w
    _glass(pen, [(roof[0] * w + 0.04, 0.10), (middle - 0.03, 0.10), (middle - 0.03, 0.42), ((tail + 0.07) * w, 0.42)])
    _glass(pen, [(middle + 0.03, 0.10), (roof[1] * w - 0.03, 0.10), (0.745 * w, 0.42), (middle + 0.03, 0.42)])
    pen.line([(middle, 0.46), (middle, 0.76)], 0.02, shade(main, 0.7))
    pen.line([(0.04 * w, 0.50), (0.96 * w, 0.50)], 0.025, shade(main, 1.25))
    pen.box(middle - 0.20, 0.54, middle - 0.09, 0.575, shade(main, 0.6))
    pen.ellipse(0.965 * w, 0.57, 0.055, 0.075, color=LAMP)
    pen.box(0.0, 0.52, 0.05, 0.63, REAR, 0.02)
    for x in (0.21 * w, 0.79 * w):
        pen.ellipse(x, 1 - wheel, wheel * 1.2, color=shade(main, 0.5))
        _wheel(pen, x, wheel)


def bus(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A city bus with a row of windows, a pale stripe and a front door."""
    w = pen.width
    stripe = shade(main, 1.7) if main != (240, 238, 230) else shade(main, 0.8)
    pen.box(0.0, 0.03, w, 0.88, main, 0.10)
    pen.box(0.06, 0.0, w - 0.10, 0.08, shade(main, 0.8), 0.04)
    pen.box(0.0, 0.56, w, 0.62, stripe)
    pen.box(0.0, 0.80, w, 0.88, shade(main, 0.65), 0.03)
    windows = int(rng.integers(4, 7))
    room = (w - 0.62) / windows
    for index in range(windows):
        x = 0.08 + index * room
        _glass(pen, [(x, 0.18), (x + room * 0.82, 0.18), (x + room * 0.82, 0.48), (x, 0.48)])
    pen.box(w - 0.50, 0.17, w - 0.24, 0.82, shade(main, 0.6))
    pen.box(w - 0.48, 0.20, w - 0.38, 0.78, GLASS)
    pen.box(w - 0.36, 0.20, w - 0.26, 0.78, GLASS)
    _glass(pen, [(w - 0.18, 0.16), (w - 0.02, 0.16), (w - 0.0, 0.54), (w - 0.18, 0.54)])
    pen.ellipse(w - 0.05, 0.71, 0.045, color=LAMP)
    pen.box(0.0, 0.66, 0.04, 0.76, REAR)
    for x in (0.18 * w, 0.74 * w):
        pen.ellipse(x, 0.85, 0.17, color=shade(main, 0.45))
        _wheel(pen, x, 0.14)


def truck(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A lorry: a load box or an open bed in the main colour behind a darker cab."""
    w = pen.width
    cab = shade(main, 0.82)
    split = w * 0.68
    pen.box(0.04, 0.76, w - 0.05, 0.86, (70, 70, 76))
    if rng.random() < 0.7:
        pen.box(0.0, 0.0, split, 0.78, main, 0.02)
        ribs = int(rng.integers(3, 7))
        for index in range(1, ribs):
            pen.line([(split * index / ribs, 0.05), (split * index / ribs, 0.74)], 0.015, shade(main, 0.82))
        pen.box(0.0, 0.0, split, 0.05, shade(main, 1.3), 0.02)
    else:
        load = pick(rng, ((150, 110, 70), (120, 122, 128), (196, 170, 110)))
        pen.blob([(0.05, 0.5), (split * 0.3, 0.2), (split * 0.7, 0.24), (split - 0.05, 0.5)], load)
        pen.box(0.0, 0.44, split, 0.78, main, 0.02)
        pen.line([(0.04, 0.6), (split - 0.04, 0.6)], 0.02, shade(main, 0.75))
    pen.polygon([(split + 0.04, 0.22), (w * 0.88, 0.22), (w * 0.985, 0.54), (w, 0.86), (split + 0.04, 0.86)], cab)
    pen.polygon([(w * 0.88, 0.29), (w * 0.975, 0.54), (w * 0.86, 0.54), (w * 0.83, 0.29)], GLASS)
    _glass(pen, [(split + 0.12, 0.29), (w * 0.81, 0.29), (w * 0.83, 0.54), (split + 0.12, 0.54)])
    pen.ellipse(w * 0.975, 0.71, 0.045, color=LAMP)
    for x in (0.15 * w, 0.36 * w, 0.84 * w):
        pen.ellipse(x, 0.87, 0.165, color=(58, 58, 64))
        _wheel(pen, x, 0.14)


def train(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """Two or three carriages with a slanted nose on the right."""
    w = pen.width
    coaches = 3 if w > 4.6 else 2
    length = w / coaches
    band = shade(main, 1.75) if sum(main) < 600 else shade(main, 0.75)
    for index in range(coaches):
        x0, x1 = index * length + 0.02, (index + 1) * length - 0.02
        if index == coaches - 1:
            nose = [(x0, 0.04), (x1 - 0.55, 0.04), (x1 - 0.28, 0.16), (x1 - 0.04, 0.52), (x1, 0.84), (x0, 0.84)]
            pen.polygon(nose, main)
            x1 -= 0.45
        else:
            pen.box(x0, 0.04, x1, 0.84, main, 0.06)
            pen.box(x1 - 0.02, 0.2, x1 + 0.08, 0.76, (60, 60, 66))
        pen.box(x0, 0.55, x1, 0.62, band)
        pen.box(x0 + 0.03, 0.02, x1 - 0.05, 0.09, shade(main, 0.7), 0.03)
        room = (x1 - x0 - 0.36) / 3
        for window in range(3):
            x = x0 + 0.30 + window * room
            _glass(pen, [(x, 0.2), (x + room * 0.8, 0.2), (x + room * 0.8, 0.46), (x, 0.46)])
        pen.box(x0 + 0.06, 0.18, x0 + 0.22, 0.80, shade(main, 0.75))
        pen.box(x0 + 0.09, 0.22, x0 + 0.19, 0.44, GLASS)
        for wheel in (0.22, 0.40, 0.70, 0.88):
            pen.ellipse(index * length + wheel * length, 0.91, 0.085, color=TYRE)
            pen.ellipse(index * length + wheel * length, 0.91, 0.045, color=(150, 152, 158))
    pen.polygon([(w - 0.44, 0.14), (w - 0.30, 0.19), (w - 0.13, 0.46), (w - 0.44, 0.46)], GLASS)
    pen.box(0.04, 0.82, w - 0.03, 0.88, (62, 62, 70))
    pen.ellipse(w - 0.06, 0.70, 0.04, color=LAMP)


def boat(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A sailing boat, a motor boat or a rowing boat: the hull has the main colour."""
    w = pen.width
    kind = pick(rng, ("sail", "sail", "cabin"))
    cloth: Rgb = pick(rng, ((250, 246, 234), (252, 236, 200), (232, 240, 246)))
    deck = 0.76
    if kind == "sail":
        mast = w * 0.46
        pen.line([(mast, 0.02), (mast, deck)], 0.022, (110, 78, 50))
        pen.blob([(mast + 0.03, 0.04), (mast + 0.22 * w, 0.34), (w * 0.93, 0.66), (mast + 0.03, 0.68)], cloth)
        pen.polygon([(mast - 0.03, 0.10), (mast - 0.03, 0.68), (0.08 * w, 0.68)], shade(cloth, 0.88))
        pen.line([(mast + 0.03, 0.45), (w * 0.74, 0.52)], 0.012, shade(cloth, 0.8))
        pen.polygon([(mast, 0.0), (mast + 0.12, 0.03), (mast, 0.06)], mix(main, (255, 255, 255), 0.1))
    else:
        deck = 0.62
        pen.box(w * 0.22, 0.30, w * 0.66, 0.66, (244, 242, 236), 0.05)
        pen.box(w * 0.19, 0.26, w * 0.70, 0.34, shade(main, 0.8), 0.03)
        for x in (0.28, 0.42, 0.55):
            pen.box(w * x, 0.40, w * (x + 0.085), 0.53, (96, 150, 180), 0.02)
        pen.box(w * 0.34, 0.06, w * 0.43, 0.28, shade(main, 0.7))
        pen.box(w * 0.33, 0.03, w * 0.44, 0.10, (60, 60, 66))
    hull = [
        (0.0, deck),
        (w, deck - 0.04),
        (w * 0.95, deck + 0.08),
        (w * 0.84, 1.0),
        (w * 0.14, 1.0),
        (0.04 * w, deck + 0.1),
    ]
    pen.polygon(hull, main)
    pen.polygon([(0.0, deck), (w, deck - 0.04), (w * 0.98, deck + 0.03), (0.02 * w, deck + 0.05)], shade(main, 1.45))
    pen.polygon([(0.10 * w, 0.94), (w * 0.885, 0.93), (w * 0.84, 1.0), (w * 0.14, 1.0)], shade(main, 0.6))


def airplane(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """An airliner from the side: tail, nose, near wing with its engine and a far wing behind."""
    w = pen.width
    trim = shade(main, 0.72)
    pen.polygon([(w * 0.48, 0.46), (w * 0.40, 0.12), (w * 0.47, 0.12), (w * 0.62, 0.46)], shade(main, 0.7))
    pen.polygon([(0.0, 0.05), (w * 0.10, 0.05), (w * 0.24, 0.46), (w * 0.07, 0.48)], trim)
    body = [(0.03 * w, 0.44), (w * 0.3, 0.37), (w * 0.8, 0.37), (w * 0.93, 0.43), (w, 0.55), (w * 0.92, 0.64)]
    pen.blob([*body, (w * 0.6, 0.69), (w * 0.3, 0.66)], main)
    pen.polygon([(0.12 * w, 0.58), (w * 0.97, 0.60), (w * 0.9, 0.65), (w * 0.6, 0.685), (w * 0.3, 0.655)], trim)
    for index in range(8):
        x = w * (0.27 + 0.065 * index)
        pen.box(x, 0.455, x + 0.032 * w, 0.51, (70, 110, 140), 0.015)
    pen.polygon([(w * 0.87, 0.42), (w * 0.93, 0.43), (w * 0.955, 0.49), (w * 0.88, 0.48)], (70, 110, 140))
    pen.polygon([(w * 0.01, 0.36), (w * 0.09, 0.36), (w * 0.17, 0.48), (w * 0.09, 0.49)], shade(main, 0.85))
    pen.polygon([(w * 0.44, 0.57), (w * 0.66, 0.57), (w * 0.42, 0.98), (w * 0.33, 0.98)], shade(main, 0.84))
    pen.box(w * 0.52, 0.70, w * 0.65, 0.80, (128, 132, 140), 0.05)


def parked_airplane(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """An airliner on its wheels."""
    w = pen.width
    for x, top in ((0.86, 0.6), (0.50, 0.62), (0.44, 0.62)):
        pen.line([(w * x, top), (w * x, 0.95)], 0.03, (120, 124, 130))
        pen.ellipse(w * x, 0.95, 0.05, color=TYRE)
        pen.ellipse(w * x, 0.95, 0.022, color=(176, 178, 184))
    airplane(pen, main, rng)
