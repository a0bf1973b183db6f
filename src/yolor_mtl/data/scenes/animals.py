"""Animals, seen from the side facing right; four-legged ones share one skeleton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yolor_mtl.data.scenes.palette import Rgb, mix, pick, shade
from yolor_mtl.data.scenes.pen import Pen, Point

EYE: Rgb = (22, 20, 24)


@dataclass(frozen=True, slots=True)
class Frame:
    """Proportions of a four-legged animal, in heights; x counts from the left end.

    Attributes:
        rump: x of the hind quarters' middle.
        chest: x of the shoulders' middle.
        spine: y of the trunk's middle.
        girth: half the thickness of the trunk.
        leg: thickness of a leg at its top.
        neck: thickness of the neck where it leaves the trunk.
        head: middle of the head.
        skull: radius of the head.
        muzzle: length of the muzzle in skull radii.
    """

    rump: float
    chest: float
    spine: float
    girth: float
    leg: float
    neck: float
    head: Point
    skull: float
    muzzle: float


def _legs(pen: Pen, frame: Frame, coat: Rgb, hoof: Rgb, stride: float) -> None:
    """Four legs, the far pair first and darker, swung by ``stride``."""
    knee = (frame.spine + 1) / 2 + 0.06
    for far, swing in ((True, -1.0), (False, 1.0)):
        color = shade(coat, 0.68) if far else shade(coat, 0.92)
        for hip, way in ((frame.rump, 1.0), (frame.chest, -1.0)):
            x = hip + (0.05 if far else -0.02)
            foot = x + swing * way * stride
            pen.limb((x, frame.spine + 0.04), ((x + foot) / 2 + 0.02, knee), frame.leg, color, frame.leg * 0.72)
            pen.limb(((x + foot) / 2 + 0.02, knee), (foot, 0.965), frame.leg * 0.72, color, frame.leg * 0.6)
            pen.box(foot - frame.leg * 0.34, 0.95, foot + frame.leg * 0.46, 1.0, hoof)


def _trunk(pen: Pen, frame: Frame, coat: Rgb) -> None:
    """Trunk, belly shade and neck."""
    top, low = frame.spine - frame.girth, frame.spine + frame.girth
    middle = (frame.rump + frame.chest) / 2
    around = [
        (frame.rump - frame.girth * 0.85, frame.spine),
        (frame.rump, top + 0.01),
        (middle, top + 0.03),
        (frame.chest, top),
        (frame.chest + frame.girth * 0.9, frame.spine),
        (frame.chest, low),
        (middle, low + 0.005),
        (frame.rump, low - 0.03),
    ]
    pen.blob(around, coat)
    belly = [(frame.rump, low - 0.07), (middle, low - 0.035), (frame.chest, low - 0.06), (frame.chest, low - 0.005)]
    pen.blob([*belly, (middle, low), (frame.rump, low - 0.035)], shade(coat, 0.82))
    pen.limb((frame.chest, frame.spine - 0.02), frame.head, frame.neck, coat, frame.skull * 1.5)


def _head(pen: Pen, frame: Frame, coat: Rgb, snout: Rgb, drop: float) -> None:
    """Skull, muzzle pointing right and ``drop`` radii down, nostril and eye."""
    x, y = frame.head
    r = frame.skull
    tip = (x + r * frame.muzzle, y + r * drop)
    pen.limb((x, y), tip, r * 1.7, coat, r * 1.1)
    pen.limb((x + (tip[0] - x) * 0.75, y + (tip[1] - y) * 0.75), tip, r * 1.15, snout, r * 1.05)
    pen.ellipse(x, y, r, color=coat)
    pen.ellipse(tip[0] + r * 0.3, tip[1] - r * 0.1, r * 0.17, color=EYE)
    pen.ellipse(x + r * 0.3, y - r * 0.15, max(0.014, r * 0.17), color=EYE)


def dog(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A dog with hanging or pricked ears, its tail up, and a red collar or none."""
    w = pen.width
    frame = Frame(w * 0.24, w * 0.62, 0.58, 0.16, 0.12, 0.20, (w * 0.80, 0.25), 0.145, 1.15)
    pen.line([(w * 0.16, 0.5), (w * 0.05, 0.36), (w * 0.03, 0.2)], 0.075, shade(main, 0.9))
    _legs(pen, frame, main, shade(main, 0.6), float(rng.uniform(0.0, 0.11)))
    _trunk(pen, frame, main)
    if rng.random() < 0.6:
        pen.limb((w * 0.66, 0.44), (w * 0.76, 0.36), 0.05, pick(rng, ((206, 40, 40), (40, 80, 180), (240, 200, 60))))
    pale = mix(main, (255, 250, 240), 0.45) if rng.random() < 0.5 else main
    _head(pen, frame, main, pale, 0.45)
    if rng.random() < 0.55:
        pen.blob([(w * 0.74, 0.13), (w * 0.79, 0.16), (w * 0.765, 0.42), (w * 0.69, 0.38)], shade(main, 0.62))
    else:
        pen.polygon([(w * 0.70, 0.18), (w * 0.725, 0.0), (w * 0.80, 0.13)], shade(main, 0.68))


def cat(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A cat, sitting with its tail around it or walking with its tail up."""
    w = pen.width
    dark = shade(main, 0.7) if sum(main) > 220 else shade(main, 1.3)
    if rng.random() < 0.55:
        pen.line([(w * 0.3, 0.93), (w * 0.07, 0.88), (w * 0.06, 0.66), (w * 0.15, 0.56)], 0.08, dark)
        pen.blob(
            [(w * 0.18, 0.97), (w * 0.2, 0.7), (w * 0.42, 0.42), (w * 0.66, 0.4), (w * 0.76, 0.7), (w * 0.76, 0.99)],
            main,
        )
        for x in (0.56, 0.7):
            pen.limb((w * x, 0.62), (w * x, 0.96), 0.1, shade(main, 0.93), 0.09)
            pen.ellipse(w * (x + 0.02), 0.965, 0.06, 0.035, color=shade(main, 1.15))
        head = (w * 0.64, 0.28)
    else:
        frame = Frame(w * 0.26, w * 0.62, 0.62, 0.13, 0.09, 0.16, (w * 0.76, 0.34), 0.15, 0.6)
        pen.line([(w * 0.18, 0.56), (w * 0.06, 0.36), (w * 0.10, 0.12)], 0.075, dark)
        _legs(pen, frame, main, shade(main, 0.8), float(rng.uniform(0.02, 0.1)))
        _trunk(pen, frame, main)
        for x in (0.28, 0.38, 0.48):
            pen.line([(w * x, 0.50), (w * (x - 0.02), 0.60)], 0.03, dark)
        head = frame.head
    x, y = head
    for side in (-1, 1):
        pen.polygon([(x + side * 0.17, y - 0.04), (x + side * 0.15, y - 0.28), (x + side * 0.02, y - 0.13)], main)
        pen.polygon(
            [(x + side * 0.13, y - 0.09), (x + side * 0.13, y - 0.22), (x + side * 0.06, y - 0.13)], (228, 160, 160)
        )
    pen.ellipse(x, y, 0.19, 0.165, color=main)
    pen.ellipse(x, y + 0.07, 0.09, 0.065, color=mix(main, (255, 252, 245), 0.5))
    for side in (-1, 1):
        pen.ellipse(x + side * 0.075, y - 0.02, 0.035, 0.04, color=(206, 214, 90))
        pen.ellipse(x + side * 0.075, y - 0.02, 0.014, 0.036, color=EYE)
    pen.polygon([(x - 0.025, y + 0.045), (x + 0.025, y + 0.045), (x, y + 0.075)], (214, 110, 120))


def horse(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A horse with mane and tail; grazing now and then."""
    w = pen.width
    mane = shade(main, 0.45) if sum(main) > 200 else shade(main, 1.35)
    grazing = rng.random() < 0.3
    head = (w * 0.93, 0.80) if grazing else (w * 0.87, 0.13)
    frame = Frame(w * 0.24, w * 0.64, 0.46, 0.155, 0.105, 0.23, head, 0.075, 2.1)
    pen.blob([(w * 0.13, 0.36), (w * 0.05, 0.46), (w * 0.03, 0.74), (w * 0.09, 0.72), (w * 0.15, 0.46)], mane)
    _legs(pen, frame, main, (52, 44, 40), float(rng.uniform(0.0, 0.13)))
    _trunk(pen, frame, main)
    neck = (w * 0.64, 0.40)
    pen.limb((neck[0] - 0.03, neck[1] - 0.09), (head[0] - 0.09, head[1] - 0.03), 0.09, mane, 0.06)
    _head(pen, frame, main, shade(main, 0.75), 1.6 if not grazing else 1.3)
    for shift in (-0.05, 0.01):
        pen.polygon(
            [
                (head[0] + shift, head[1] - 0.04),
                (head[0] + shift + 0.015, head[1] - 0.14),
                (head[0] + shift + 0.05, head[1] - 0.05),
            ],
            main,
        )


def cow(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A cow: horns, udder, and white patches on a coloured coat."""
    w = pen.width
    frame = Frame(w * 0.23, w * 0.68, 0.44, 0.235, 0.13, 0.3, (w * 0.87, 0.25), 0.105, 1.25)
    pen.line([(w * 0.11, 0.3), (w * 0.05, 0.42), (w * 0.05, 0.66)], 0.035, shade(main, 0.8))
    pen.ellipse(w * 0.05, 0.69, 0.045, 0.07, color=shade(main, 0.6))
    pen.ellipse(w * 0.33, 0.69, 0.085, 0.06, color=(236, 170, 170))
    _legs(pen, frame, main, (48, 42, 42), float(rng.uniform(0.0, 0.06)))
    _trunk(pen, frame, main)
    patch: Rgb = (246, 242, 234) if sum(main) < 560 else (70, 60, 58)
    for x, y, size in ((0.33, 0.36, 0.13), (0.56, 0.48, 0.10), (0.20, 0.52, 0.07)):
        if rng.random() < 0.8:
            px, py = w * x + float(rng.uniform(-0.05, 0.05)), y + float(rng.uniform(-0.03, 0.03))
            points = [
                (px + size * a, py + size * b) for a, b in ((-1, 0), (-0.4, -0.8), (0.6, -0.6), (1, 0.2), (0.1, 0.7))
            ]
            pen.blob(points, patch)
    x, y = frame.head
    for shift in (-0.08, 0.05):
        pen.line(
            [(x + shift, y - 0.07), (x + shift - 0.02, y - 0.17), (x + shift + 0.05, y - 0.22)], 0.045, (226, 214, 186)
        )
    pen.blob([(x - 0.07, y - 0.05), (x - 0.21, y - 0.05), (x - 0.17, y + 0.04)], shade(main, 0.75))
    _head(pen, frame, main, (232, 186, 176), 0.9)


def sheep(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A sheep: a cloud of wool on thin dark legs, with a dark or pale face."""
    w = pen.width
    face: Rgb = (58, 52, 52) if sum(main) > 300 else (40, 38, 40)
    frame = Frame(w * 0.30, w * 0.62, 0.46, 0.24, 0.095, 0.2, (w * 0.84, 0.32), 0.12, 1.2)
    _legs(pen, frame, face, (30, 28, 28), float(rng.uniform(0.0, 0.05)))
    curls = 13
    angles = np.linspace(0, 2 * np.pi, curls, endpoint=False) + rng.uniform(0, 1)
    for angle in angles.tolist():
        x = w * 0.46 + np.cos(angle) * w * 0.31
        y = 0.46 + np.sin(angle) * 0.25
        pen.ellipse(x, y, 0.15, color=shade(main, 0.86 if y > 0.5 else 1.0))
    pen.ellipse(w * 0.46, 0.46, w * 0.33, 0.28, color=main)
    for _ in range(7):
        x, y = w * float(rng.uniform(0.24, 0.66)), float(rng.uniform(0.3, 0.62))
        pen.arc(x, y, 0.08, (200, 340), 0.022, shade(main, 0.84))
    x, y = frame.head
    pen.blob([(x - 0.05, y - 0.06), (x - 0.2, y - 0.02), (x - 0.17, y + 0.07), (x - 0.03, y + 0.03)], face)
    _head(pen, frame, face, face, 0.9)
    pen.ellipse(x + 0.03, y - 0.02, 0.024, color=(240, 240, 236))
    pen.ellipse(x + 0.034, y - 0.02, 0.012, color=EYE)
    pen.ellipse(x - 0.02, y - 0.1, 0.1, 0.075, color=main)


def bird(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A standing bird."""
    w = pen.width
    dark = shade(main, 0.66) if sum(main) > 220 else shade(main, 1.25)
    for x in (0.45, 0.56):
        pen.line([(w * x, 0.7), (w * x, 0.96), (w * x + 0.09, 0.98)], 0.035, (226, 140, 50))
    pen.polygon([(0.0, 0.72), (w * 0.04, 0.62), (w * 0.34, 0.42), (w * 0.36, 0.66)], dark)
    pen.blob(
        [(w * 0.16, 0.55), (w * 0.4, 0.34), (w * 0.66, 0.3), (w * 0.78, 0.5), (w * 0.62, 0.74), (w * 0.34, 0.74)], main
    )
    pen.ellipse(w * 0.68, 0.24, 0.2, color=main)
    pen.blob([(w * 0.44, 0.6), (w * 0.7, 0.5), (w * 0.64, 0.7), (w * 0.5, 0.74)], mix(main, (255, 248, 230), 0.45))
    pen.polygon([(w * 0.68 + 0.16, 0.18), (w, 0.25), (w * 0.68 + 0.16, 0.31)], (240, 160, 44))
    pen.blob([(w * 0.14, 0.58), (w * 0.34, 0.42), (w * 0.58, 0.44), (w * 0.46, 0.64)], dark)
    pen.ellipse(w * 0.72, 0.2, 0.045, color=(250, 250, 248))
    pen.ellipse(w * 0.725, 0.2, 0.028, color=EYE)


def flying_bird(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A bird on the wing, the wings raised, spread or lowered."""
    w = pen.width
    beat = float(rng.uniform(0.55, 1.0)) * (1 if rng.random() < 0.6 else -0.8)
    dark = shade(main, 0.7) if sum(main) > 220 else shade(main, 1.25)
    y = 0.55
    pen.polygon(
        [
            (w * 0.50, y - 0.05),
            (w * 0.50, y + 0.06),
            (w * 0.22, y + beat * -0.1 - 0.38 * beat),
            (w * 0.32, y - 0.45 * beat),
        ],
        shade(dark, 0.85),
    )
    pen.polygon([(w * 0.02, y + 0.1), (w * 0.05, y - 0.08), (w * 0.34, y - 0.06), (w * 0.34, y + 0.08)], dark)
    pen.blob(
        [
            (w * 0.2, y + 0.02),
            (w * 0.42, y - 0.13),
            (w * 0.72, y - 0.12),
            (w * 0.86, y - 0.02),
            (w * 0.66, y + 0.13),
            (w * 0.4, y + 0.13),
        ],
        main,
    )
    pen.ellipse(w * 0.82, y - 0.06, 0.12, color=main)
    pen.polygon([(w * 0.88, y - 0.1), (w, y - 0.02), (w * 0.88, y + 0.03)], (240, 160, 44))
    tip = y - 0.5 * beat
    pen.polygon(
        [
            (w * 0.68, y - 0.05),
            (w * 0.38, y),
            (w * 0.28, tip + 0.03),
            (w * 0.40, tip - 0.03),
            (w * 0.52, tip * 0.6 + y * 0.4),
        ],
        dark,
    )
    pen.ellipse(w * 0.85, y - 0.08, 0.026, color=EYE)
