"""Standing scenery that is stuff: trees, bushes, houses, buildings, fences, rocks. Drawn like things, with a pen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from yolor_mtl.data.scenes.palette import Rgb, jitter, mix, pick, shade
from yolor_mtl.data.scenes.pen import Pen

TRUNK: Rgb = (104, 74, 50)
LEAVES: tuple[Rgb, ...] = ((84, 136, 62), (62, 116, 60), (112, 150, 58), (142, 158, 62), (196, 132, 48), (52, 102, 70))
WALLS: tuple[Rgb, ...] = (
    (222, 202, 168),
    (196, 150, 120),
    (176, 104, 84),
    (206, 210, 206),
    (150, 158, 170),
    (232, 220, 196),
)
ROOFS: tuple[Rgb, ...] = ((166, 72, 54), (120, 80, 62), (92, 92, 104), (186, 110, 66))


def leafy_tree(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A trunk under a crown of many leaf clumps, darker inside and below."""
    w = pen.width
    x = w / 2
    pen.limb((x, 0.98), (x, 0.5), 0.11, TRUNK, 0.07)
    pen.limb((x, 0.66), (x - 0.14, 0.46), 0.05, TRUNK)
    pen.limb((x, 0.62), (x + 0.15, 0.42), 0.05, TRUNK)
    _clumps(pen, main, rng, (x, 0.34), (w * 0.36, 0.26), 26, 0.13)


def _clumps(
    pen: Pen,
    main: Rgb,
    rng: np.random.Generator,
    middle: tuple[float, float],
    reach: tuple[float, float],
    count: int,
    size: float,
) -> None:
    """Leaf clumps in an oval, back ones first and dark, front ones lighter towards the top."""
    angles = rng.uniform(0, 2 * math.pi, count).tolist()
    radii = np.sqrt(rng.uniform(0, 1, count)).tolist()
    pen.ellipse(*middle, reach[0], reach[1], color=shade(main, 0.72))
    for index, (angle, radius) in enumerate(zip(angles, radii, strict=True)):
        x = middle[0] + math.cos(angle) * radius * reach[0]
        lift = math.sin(angle) * radius
        tone = 0.68 + 0.32 * index / count - 0.2 * lift
        pen.ellipse(x, middle[1] + lift * reach[1], size * (1.1 - 0.4 * index / count), color=shade(main, tone))


def pine(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A conifer in tiers."""
    w = pen.width
    x = w / 2
    pen.limb((x, 0.99), (x, 0.8), 0.08, TRUNK)
    tiers = int(rng.integers(4, 6))
    for index in range(tiers, 0, -1):
        low = 0.16 + 0.74 * index / tiers
        half = w * 0.5 * (0.25 + 0.75 * index / tiers)
        top = low - 0.36
        color = shade(main, 0.72 + 0.1 * (tiers - index))
        skirt = [(x + half * s, low - 0.045 * (n % 2)) for n, s in enumerate((1, 0.66, 0.33, 0, -0.33, -0.66, -1))]
        pen.polygon([(x, max(0.0, top)), *skirt], color)


def snowy_pine(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A conifer with snow on its tiers."""
    w = pen.width
    x = w / 2
    pen.limb((x, 0.99), (x, 0.8), 0.08, TRUNK)
    for index in range(4, 0, -1):
        low, half = 0.16 + 0.185 * index, w * 0.5 * (0.25 + 0.19 * index)
        top = max(0.0, low - 0.36)
        pen.polygon([(x, top), (x + half, low), (x - half, low)], shade(main, 0.75))
        ragged = [
            (x + half * 0.7, low - 0.1),
            (x + half * 0.3, low - 0.06),
            (x, low - 0.12),
            (x - half * 0.35, low - 0.05),
        ]
        pen.polygon([(x, top), *ragged, (x - half * 0.72, low - 0.1)], (240, 244, 250))


def palm(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A leaning palm with drooping fronds."""
    w = pen.width
    top = (w * 0.52, 0.24)
    pen.limb((w * 0.36, 1.0), (w * 0.42, 0.6), 0.075, (150, 116, 78), 0.06)
    pen.limb((w * 0.42, 0.6), top, 0.06, (160, 126, 86), 0.05)
    for angle in np.linspace(-200, 20, 9).tolist():
        a = math.radians(angle + float(rng.uniform(-8, 8)))
        tip = (top[0] + math.cos(a) * w * 0.46, top[1] + math.sin(a) * 0.17 + 0.13)
        half = (top[0] + math.cos(a) * w * 0.26, top[1] + math.sin(a) * 0.19 - 0.02)
        pen.blob(
            [top, (half[0], half[1] - 0.035), tip, (half[0], half[1] + 0.05)],
            shade(main, float(rng.uniform(0.75, 1.15))),
        )
    for x in (-0.04, 0.04):
        pen.ellipse(top[0] + x, top[1] + 0.03, 0.035, color=(110, 76, 48))


def bush(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A wide bush, now and then in bloom."""
    w = pen.width
    pen.box(w * 0.1, 0.6, w * 0.9, 0.99, shade(main, 0.66), 0.2)
    _clumps(pen, main, rng, (w / 2, 0.6), (w * 0.38, 0.3), 24, 0.2)
    if rng.random() < 0.4:
        bloom = pick(rng, ((240, 150, 180), (250, 240, 240), (240, 90, 80), (250, 220, 110)))
        for _ in range(9):
            pen.ellipse(w * float(rng.uniform(0.15, 0.85)), float(rng.uniform(0.3, 0.85)), 0.045, color=bloom)


def house(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A gabled house with door, windows and chimney."""
    w = pen.width
    roof = pick(rng, ROOFS)
    pen.box(w * 0.68, 0.06, w * 0.78, 0.34, shade(roof, 0.7))
    pen.box(w * 0.07, 0.42, w * 0.93, 1.0, main)
    pen.polygon([(0.0, 0.46), (w * 0.18, 0.1), (w * 0.82, 0.1), (w, 0.46)], roof)
    for step in range(1, 4):
        y = 0.1 + 0.09 * step
        pen.line([(w * (0.18 - 0.045 * step), y), (w * (0.82 + 0.045 * step), y)], 0.012, shade(roof, 0.8))
    pen.box(w * 0.07, 0.46, w * 0.93, 0.5, shade(main, 0.75))
    lamp = pick(rng, ((150, 190, 206), (150, 190, 206), (250, 222, 140)))
    pen.box(w * 0.43, 0.64, w * 0.57, 1.0, shade(roof, 0.62))
    pen.ellipse(w * 0.545, 0.83, 0.014, color=(230, 200, 110))
    for x in (0.17, 0.66):
        pen.box(w * x - 0.015, 0.585, w * (x + 0.17) + 0.015, 0.815, (246, 244, 238))
        pen.box(w * x, 0.6, w * (x + 0.17), 0.8, lamp)
        pen.line([(w * (x + 0.085), 0.6), (w * (x + 0.085), 0.8)], 0.014, (246, 244, 238))


def building(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A city block: floors of windows over shop fronts."""
    w = pen.width
    pen.box(0.0, 0.03, w, 1.0, main)
    pen.box(0.0, 0.0, w, 0.05, shade(main, 0.75))
    floors, bays = int(rng.integers(4, 8)), max(2, round(w * int(rng.integers(6, 10))))
    pane = pick(rng, ((120, 158, 180), (96, 126, 152), (150, 186, 200)))
    lit = float(rng.uniform(0, 0.3))
    tall, wide = 0.74 / floors, w / bays
    for floor in range(floors):
        for bay in range(bays):
            x, y = bay * wide + wide * 0.22, 0.08 + floor * tall
            color = (250, 224, 150) if rng.random() < lit else pane
            pen.box(x, y, x + wide * 0.56, y + tall * 0.62, color)
            pen.box(x, y + tall * 0.62, x + wide * 0.56, y + tall * 0.7, shade(main, 1.25))
    awning = pick(rng, ((180, 60, 54), (60, 110, 90), (60, 80, 140), (206, 160, 70)))
    pen.box(0.03, 0.88, w - 0.03, 1.0, shade(main, 0.5))
    for bay in range(bays):
        pen.box(bay * wide + wide * 0.12, 0.89, (bay + 1) * wide - wide * 0.12, 0.975, (186, 204, 206))
    pen.box(0.01, 0.845, w - 0.01, 0.885, awning)


def fence(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A run of wooden fence: pickets or rails, full width."""
    w = pen.width
    if rng.random() < 0.5:
        pen.box(0, 0.32, w, 0.42, shade(main, 0.8))
        pen.box(0, 0.7, w, 0.8, shade(main, 0.8))
        count = max(3, round(w * 3.2))
        for index in range(count):
            x = (index + 0.18) * w / count
            wide = w / count * 0.62
            tone = shade(main, float(rng.uniform(0.9, 1.08)))
            pen.polygon([(x, 0.16), (x + wide / 2, 0.03), (x + wide, 0.16), (x + wide, 1.0), (x, 1.0)], tone)
        return
    posts = max(2, round(w * 0.9))
    for y in (0.18, 0.48, 0.76):
        pen.box(0, y, w, y + 0.12, shade(main, float(rng.uniform(0.88, 1.05))))
    for index in range(posts + 1):
        x = min(w - 0.14, index * w / posts)
        pen.box(x, 0.04, x + 0.14, 1.0, shade(main, 0.78))


def rock(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A boulder with a lit top."""
    w = pen.width
    lumps = [(0.03, 0.95), (0.08, 0.5), (0.3, 0.12), (0.6, 0.05), (0.88, 0.4), (0.97, 0.95)]
    outline = [(w * x, y + float(rng.uniform(-0.05, 0.05))) for x, y in lumps]
    pen.polygon(outline, main)
    pen.polygon([outline[1], outline[2], outline[3], (w * 0.5, 0.45)], shade(main, 1.18))
    pen.polygon([outline[3], outline[4], outline[5], (w * 0.5, 0.45)], shade(main, 0.8))


@dataclass(frozen=True, slots=True)
class Prop:
    """A kind of scenery.

    Attributes:
        category: COCO's stuff category name.
        draw: draws it with a pen.
        height: how tall it stands, a person being 1.
        aspect: least and greatest width over height.
        colors: main colours to choose from.
    """

    category: str
    draw: Callable[[Pen, Rgb, np.random.Generator], None]
    height: tuple[float, float]
    aspect: tuple[float, float]
    colors: tuple[Rgb, ...]


def props() -> dict[str, Prop]:
    """Every kind of scenery by name."""
    conifer: tuple[Rgb, ...] = ((46, 98, 66), (60, 112, 62), (40, 86, 74))
    wood: tuple[Rgb, ...] = ((158, 116, 76), (236, 232, 222), (128, 98, 70))
    stone: tuple[Rgb, ...] = ((138, 134, 130), (120, 112, 104), (156, 146, 132))
    return {
        "tree": Prop("tree-merged", leafy_tree, (2.2, 3.4), (0.75, 1.0), LEAVES),
        "pine": Prop("tree-merged", pine, (2.2, 3.8), (0.5, 0.68), conifer),
        "snowy pine": Prop("tree-merged", snowy_pine, (2.0, 3.6), (0.5, 0.7), conifer),
        "palm": Prop("tree-merged", palm, (2.4, 3.4), (0.8, 1.0), ((72, 140, 72), (96, 150, 70))),
        "bush": Prop("tree-merged", bush, (0.5, 0.85), (1.3, 2.2), LEAVES[:4]),
        "house": Prop("house", house, (1.9, 2.5), (1.15, 1.6), WALLS),
        "building": Prop("building-other-merged", building, (3.0, 6.0), (0.6, 1.1), WALLS),
        "fence": Prop("fence-merged", fence, (0.5, 0.65), (2.5, 5.0), wood),
        "rock": Prop("rock-merged", rock, (0.3, 0.7), (1.2, 1.9), stone),
    }


def tone(rng: np.random.Generator, prop: Prop, warm: Rgb, share: float) -> Rgb:
    """A colour for one piece of scenery, drawn a little towards the scene's own tone."""
    return mix(jitter(rng, pick(rng, prop.colors), 0.1), warm, share)
