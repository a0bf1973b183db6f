"""People and the small things around them: furniture, toys, fruit, signs. y = 1 is the ground."""

from __future__ import annotations

import math

import numpy as np

from yolor_mtl.data.scenes.palette import Rgb, mix, pick, shade
from yolor_mtl.data.scenes.pen import Pen, Point

SKIN: tuple[Rgb, ...] = ((246, 208, 176), (228, 178, 138), (190, 134, 94), (140, 92, 62), (98, 64, 46))
HAIR: tuple[Rgb, ...] = ((44, 34, 30), (88, 56, 36), (150, 96, 50), (214, 172, 96), (150, 146, 142), (140, 60, 34))
TROUSERS: tuple[Rgb, ...] = ((52, 62, 92), (70, 66, 64), (104, 92, 74), (38, 40, 48), (92, 104, 124))
WOOD: Rgb = (140, 96, 58)
STEEL: Rgb = (92, 96, 104)


def person(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A standing or walking person: the top (or dress) has the main colour."""
    w = pen.width
    skin, hair, trousers = pick(rng, SKIN), pick(rng, HAIR), pick(rng, TROUSERS)
    x = w / 2
    stride = float(rng.uniform(0.0, 0.13))
    dress = rng.random() < 0.3
    pose = pick(rng, ("down", "down", "walk", "wave", "hips"))
    legs = skin if dress else trousers
    for side, dark in ((-1, 0.8), (1, 1.0)):
        foot = x + side * (0.055 + stride)
        knee = (x + side * (0.065 + stride * 0.45) + 0.015, 0.76)
        pen.limb((x + side * 0.055, 0.54), knee, 0.115, shade(legs, dark), 0.095)
        pen.limb(knee, (foot, 0.955), 0.095, shade(legs, dark), 0.07)
        pen.limb((foot - 0.01, 0.972), (foot + 0.05, 0.977), 0.05, (50, 42, 40))
    _arm(pen, x, -1, pose, shade(main, 0.78), shade(skin, 0.9))
    if dress:
        flare = [
            (x - 0.10, 0.22),
            (x + 0.10, 0.22),
            (x + 0.09, 0.42),
            (x + 0.19, 0.72),
            (x - 0.19, 0.72),
            (x - 0.09, 0.42),
        ]
        pen.polygon(flare, main)
        pen.line([(x - 0.09, 0.43), (x + 0.09, 0.43)], 0.025, shade(main, 0.65))
    else:
        pen.box(x - 0.105, 0.2, x + 0.105, 0.58, main, 0.06)
        pen.box(x - 0.1, 0.54, x + 0.1, 0.585, shade(main, 0.7))
        if rng.random() < 0.3:
            pen.box(x - 0.105, 0.36, x + 0.105, 0.41, shade(main, 1.4))
    _arm(pen, x, 1, pose, shade(main, 0.9), skin)
    pen.limb((x, 0.17), (x, 0.22), 0.07, shade(skin, 0.85))
    _face(pen, x, skin, hair, rng)


def _arm(pen: Pen, x: float, side: int, pose: str, sleeve: Rgb, skin: Rgb) -> None:
    """One arm: hanging, swung, waved (right arm only) or on the hip."""
    shoulder = (x + side * 0.105, 0.255)
    bends: dict[str, tuple[Point, Point]] = {
        "down": ((0.03, 0.15), (0.025, 0.29)),
        "walk": ((0.07 + 0.02 * side, 0.14), (0.10 + 0.07 * side, 0.25)),
        "wave": ((0.08, -0.06), (0.09, -0.21)) if side > 0 else ((0.03, 0.15), (0.03, 0.28)),
        "hips": ((0.095, 0.13), (0.0, 0.26)),
    }
    bend, hand = bends[pose]
    elbow = (shoulder[0] + side * bend[0], shoulder[1] + bend[1])
    wrist = (shoulder[0] + side * hand[0], shoulder[1] + hand[1])
    pen.limb(shoulder, elbow, 0.08, sleeve, 0.07)
    pen.limb(elbow, wrist, 0.066, sleeve, 0.055)
    pen.ellipse(*wrist, 0.037, color=skin)


def _face(pen: Pen, x: float, skin: Rgb, hair: Rgb, rng: np.random.Generator) -> None:
    """Head with long hair, short hair or a hat."""
    style = pick(rng, ("short", "long", "hat", "bald" if rng.random() < 0.3 else "short"))
    y = 0.105
    if style == "long":
        pen.blob([(x - 0.09, 0.06), (x, -0.01), (x + 0.09, 0.06), (x + 0.1, 0.21), (x, 0.2), (x - 0.1, 0.21)], hair)
    pen.ellipse(x, y, 0.08, 0.09, color=skin)
    if style in ("short", "long"):
        pen.blob([(x - 0.085, 0.1), (x - 0.07, 0.03), (x, 0.0), (x + 0.07, 0.03), (x + 0.085, 0.1), (x, 0.055)], hair)
    if style == "hat":
        cloth = pick(rng, ((196, 60, 52), (60, 90, 150), (226, 190, 110), (70, 70, 76)))
        pen.ellipse(x, 0.055, 0.085, 0.06, color=cloth)
        pen.box(x - 0.115, 0.055, x + 0.115, 0.078, shade(cloth, 0.8), 0.01)
    for side in (-1, 1):
        pen.ellipse(x + side * 0.032, y + 0.005, 0.011, color=(34, 28, 28))
    pen.arc(x, y + 0.025, 0.03, (20, 160), 0.011, mix(skin, (150, 40, 40), 0.6))


def umbrella(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """An open umbrella with striped gores on its pole."""
    w = pen.width
    x = w / 2
    pen.line([(x, 0.05), (x, 1.0)], 0.035, (120, 92, 66))
    gores = 6
    pale = mix(main, (255, 252, 244), 0.75) if sum(main) < 600 else shade(main, 0.8)
    stripes = rng.random() < 0.4
    rib = [x + (index / gores * 2 - 1) * w / 2 for index in range(gores + 1)]
    pen.blob([(0, 0.46), (w * 0.13, 0.22), (x, 0.03), (w * 0.87, 0.22), (w, 0.46), (x, 0.42)], main)
    for index in range(gores):
        left, right = rib[index], rib[index + 1]
        color = pale if stripes and index % 2 else shade(main, 1.12 - 0.09 * abs(index - 1.5))
        bulge = [(x, 0.04), (x + (right - x) * 0.72, 0.2), (right, 0.45), ((left + right) / 2, 0.40), (left, 0.45)]
        pen.polygon([*bulge, (x + (left - x) * 0.72, 0.2)], color)
    pen.line([(x, 0.0), (x, 0.06)], 0.03, (90, 70, 56))


def kite(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A diamond kite: four shaded panels and a tail with bows."""
    w = pen.width
    x, cross = w / 2, 0.24
    shades = (1.15, 0.95, 0.78, 1.0)
    corners = ((0.0, cross), (x, 0.0), (w, cross), (x, 0.62))
    for index, factor in enumerate(shades):
        pen.polygon([corners[index], corners[(index + 1) % 4], (x, cross)], shade(main, factor))
    pen.line([(0, cross), (w, cross)], 0.015, shade(main, 0.5))
    pen.line([(x, 0), (x, 0.62)], 0.015, shade(main, 0.5))
    bend = float(rng.uniform(-0.12, 0.12))
    tail = [(x, 0.62), (x + bend, 0.74), (x - bend, 0.87), (x + bend * 0.5, 1.0)]
    pen.line(tail, 0.022, shade(main, 0.7))
    for px, py in tail[1:]:
        pen.polygon(
            [(px - 0.06, py - 0.035), (px + 0.06, py + 0.035), (px + 0.06, py - 0.035), (px - 0.06, py + 0.035)], main
        )


def ball(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A ball: beach ball gores, a seam as on a tennis ball, or plain patches."""
    pen.ellipse(0.5, 0.5, 0.5, color=main)
    style = pick(rng, ("gores", "seam", "patches"))
    pale = mix(main, (255, 253, 246), 0.8) if sum(main) < 600 else shade(main, 0.35)
    if style == "gores":
        pen.blob([(0.36, 0.02), (0.62, 0.02), (0.72, 0.5), (0.62, 0.98), (0.36, 0.98), (0.46, 0.5)], pale)
        pen.blob([(0.12, 0.22), (0.22, 0.12), (0.26, 0.5), (0.2, 0.86), (0.1, 0.76), (0.08, 0.5)], pale)
    elif style == "seam":
        pen.arc(-0.12, 0.5, 0.5, (-50, 50), 0.06, pale)
        pen.arc(1.12, 0.5, 0.5, (130, 230), 0.06, pale)
    else:
        pen.polygon(_regular(0.5, 0.5, 0.17, 5, -90), pale)
        for index in range(5):
            angle = math.radians(-90 + 72 * index)
            pen.polygon(
                _regular(0.5 + 0.37 * math.cos(angle), 0.5 + 0.37 * math.sin(angle), 0.1, 5, 90 + 72 * index), pale
            )


def _regular(x: float, y: float, radius: float, corners: int, start: float) -> list[Point]:
    """Corners of a regular polygon, the first at ``start`` degrees."""
    turn = 360 / corners
    return [
        (x + radius * math.cos(math.radians(start + turn * k)), y + radius * math.sin(math.radians(start + turn * k)))
        for k in range(corners)
    ]


def bench(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A park bench from the front: slats in the main colour on iron legs."""
    w = pen.width
    for x in (0.12, w - 0.12):
        pen.box(x - 0.04, 0.05, x + 0.04, 1.0, (54, 56, 62))
    for y in (0.03, 0.2, 0.37):
        pen.box(0.0, y, w, y + 0.12, shade(main, 1.0 - 0.25 * y), 0.02)
    pen.polygon([(0.04, 0.54), (w - 0.04, 0.54), (w, 0.68), (0.0, 0.68)], shade(main, 1.12))
    pen.line([(0.03, 0.61), (w - 0.03, 0.61)], 0.02, shade(main, 0.7))
    pen.box(0.0, 0.67, w, 0.73, shade(main, 0.62))


def traffic_light(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A traffic light on its post; the lit lamp has the main colour."""
    w = pen.width
    x = w / 2
    pen.box(x - 0.025, 0.4, x + 0.025, 1.0, STEEL)
    pen.box(x - 0.07, 0.965, x + 0.07, 1.0, shade(STEEL, 0.7))
    pen.box(x - 0.105, 0.0, x + 0.105, 0.5, (226, 178, 54), 0.05)
    pen.box(x - 0.085, 0.02, x + 0.085, 0.48, (40, 42, 46), 0.04)
    lit = 0 if main[0] > 180 and main[1] < 120 else 1 if main[0] > 180 else 2
    for index, off in enumerate(((84, 30, 30), (88, 72, 26), (26, 70, 36))):
        y = 0.105 + 0.145 * index
        if index == lit:
            pen.ellipse(x, y, 0.066, color=shade(main, 1.1))
            pen.ellipse(x, y, 0.03, color=shade(main, 1.6))
        else:
            pen.ellipse(x, y, 0.06, color=off)


def stop_sign(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """An octagon with a white rim and white letters on a post."""
    w = pen.width
    x, y, r = w / 2, w / 2, w / 2 * 1.06
    pen.box(x - 0.028, y, x + 0.028, 1.0, (150, 152, 156))
    pen.polygon(_regular(x, y, r, 8, 22.5), (248, 246, 242))
    pen.polygon(_regular(x, y, r * 0.9, 8, 22.5), main)
    white: Rgb = (252, 250, 246)
    t, left, cell, top, low = 0.035, x - r * 0.68, r * 0.36, y - r * 0.27, y + r * 0.27
    middle = (top + low) / 2
    pen.line(
        [
            (left + cell * 0.75, top),
            (left, top),
            (left, middle),
            (left + cell * 0.7, middle),
            (left + cell * 0.7, low),
            (left, low),
        ],
        t,
        white,
    )
    a = left + cell
    pen.line([(a, top), (a + cell * 0.8, top)], t, white)
    pen.line([(a + cell * 0.4, top), (a + cell * 0.4, low)], t, white)
    a += cell
    pen.line(
        [(a + 0.02, top), (a + cell * 0.72, top), (a + cell * 0.72, low), (a + 0.02, low), (a + 0.02, top)], t, white
    )
    a += cell
    pen.line(
        [(a + 0.03, low), (a + 0.03, top), (a + cell * 0.7, top), (a + cell * 0.7, middle), (a + 0.03, middle)],
        t,
        white,
    )


def clock(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A round wall clock with a rim in the main colour."""
    pen.ellipse(0.5, 0.5, 0.5, color=main)
    pen.ellipse(0.5, 0.5, 0.4, color=(250, 247, 238))
    for index in range(12):
        angle = math.radians(30 * index)
        start, end = (0.3, 0.37) if index % 3 else (0.26, 0.37)
        ends = [(0.5 + r * math.cos(angle), 0.5 + r * math.sin(angle)) for r in (start, end)]
        pen.line(ends, 0.03, (60, 58, 62))
    for length, thick in ((0.2, 0.05), (0.31, 0.035)):
        angle = float(rng.uniform(0, 2 * math.pi))
        pen.line([(0.5, 0.5), (0.5 + length * math.cos(angle), 0.5 + length * math.sin(angle))], thick, (40, 38, 44))
    pen.ellipse(0.5, 0.5, 0.045, color=(40, 38, 44))


def chair(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A chair, three-quarter view: slatted or solid back, seat, four legs."""
    w = pen.width
    dark = shade(main, 0.72)
    for x, top in ((0.30 * w, 0.60), (0.98 * w - 0.05, 0.60)):
        pen.limb((x, top), (x + 0.02, 0.90), 0.06, shade(main, 0.6), 0.05)
    if rng.random() < 0.5:
        pen.box(0.08 * w, 0.0, 0.72 * w, 0.5, main, 0.06)
        pen.box(0.15 * w, 0.07, 0.65 * w, 0.42, shade(main, 1.18), 0.05)
    else:
        for x in (0.10, 0.30, 0.50, 0.70):
            pen.limb((x * w, 0.05), (x * w, 0.58), 0.055, main)
        pen.box(0.06 * w, 0.0, 0.75 * w, 0.11, main, 0.05)
        pen.box(0.08 * w, 0.27, 0.73 * w, 0.34, main)
    pen.polygon([(0.04 * w, 0.62), (0.26 * w, 0.5), (w, 0.5), (0.84 * w, 0.62)], shade(main, 1.1))
    pen.box(0.04 * w, 0.61, 0.84 * w, 0.69, dark, 0.02)
    for x in (0.09 * w, 0.79 * w):
        pen.limb((x, 0.68), (x, 0.975), 0.065, dark, 0.05)


def potted_plant(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """Leaves in the main colour out of a clay or glazed pot."""
    w = pen.width
    x = w / 2
    pot = pick(rng, ((190, 104, 66), (206, 196, 180), (92, 118, 148), (170, 132, 96)))
    for index in range(9):
        reach = -1 + index / 4
        tip = (
            x + reach * w * 0.46 + float(rng.uniform(-0.04, 0.04)),
            0.05 + 0.34 * reach * reach + float(rng.uniform(0, 0.1)),
        )
        half = ((x + tip[0]) / 2 + reach * 0.02, (0.68 + tip[1]) / 2)
        color = shade(main, float(rng.uniform(0.72, 1.2)))
        pen.blob([(x, 0.7), (half[0] - 0.07, half[1] - 0.03), tip, (half[0] + 0.06, half[1] + 0.05)], color)
    if rng.random() < 0.35:
        bloom = pick(rng, ((240, 120, 150), (246, 206, 70), (246, 244, 240)))
        for _ in range(5):
            pen.ellipse(x + float(rng.uniform(-0.3, 0.3)) * w, float(rng.uniform(0.1, 0.45)), 0.05, color=bloom)
    pen.polygon([(x - 0.2, 0.68), (x + 0.2, 0.68), (x + 0.15, 1.0), (x - 0.15, 1.0)], pot)
    pen.box(x - 0.225, 0.645, x + 0.225, 0.73, shade(pot, 1.15), 0.02)


def cup(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A mug with its handle on the right."""
    w = pen.width
    right = w * 0.74
    pen.ring(right, 0.52, 0.27, 0.09, shade(main, 0.82))
    pen.box(0.0, 0.1, right, 0.98, main, 0.1)
    pen.ellipse(right / 2, 0.11, right / 2, 0.11, color=shade(main, 1.25))
    drink = pick(rng, ((92, 56, 36), (150, 86, 40), (240, 232, 214)))
    pen.ellipse(right / 2, 0.125, right / 2 * 0.84, 0.075, color=drink)
    if rng.random() < 0.4:
        pen.box(0.0, 0.5, right, 0.64, shade(main, 1.6) if sum(main) < 600 else shade(main, 0.75))


def apple(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """An apple with stalk, leaf and a gleam."""
    around = [(0.5, 0.22), (0.76, 0.13), (0.98, 0.4), (0.88, 0.8), (0.64, 0.99), (0.5, 0.95), (0.36, 0.99)]
    pen.blob([*around, (0.12, 0.8), (0.02, 0.4), (0.24, 0.13)], main)
    pen.line([(0.5, 0.26), (0.54, 0.02)], 0.06, (92, 62, 40))
    pen.blob([(0.55, 0.13), (0.7, 0.0), (0.86, 0.03), (0.74, 0.15)], (86, 150, 66))
    pen.ellipse(0.28, 0.4, 0.1, 0.15, color=shade(main, 1.4))


def orange(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """An orange with pores and the star of its stalk."""
    pen.ellipse(0.5, 0.5, 0.5, color=main)
    for _ in range(12):
        x, y = rng.uniform(0.2, 0.8, 2).tolist()
        pen.ellipse(x, y, 0.022, color=shade(main, 0.84))
    pen.polygon(_regular(0.5, 0.16, 0.1, 5, float(rng.uniform(0, 72))), (110, 140, 62))
    pen.ellipse(0.3, 0.36, 0.1, color=shade(main, 1.35))


def banana(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """One banana, or two from the same stalk, curved upwards."""
    w = pen.width
    for lift in (0.0, 0.22) if rng.random() < 0.5 else (0.1,):
        low = [(w * 0.06, 0.22 + lift * 0.3), (w * 0.2, 0.6 + lift), (w * 0.5, 0.78 + lift), (w * 0.8, 0.66 + lift)]
        high = [(w * 0.97, 0.3 + lift), (w * 0.74, 0.42 + lift), (w * 0.5, 0.46 + lift), (w * 0.26, 0.32 + lift)]
        pen.blob([*low, *high], shade(main, 1.05 - lift))
        pen.line([(w * 0.18, 0.44 + lift), (w * 0.5, 0.62 + lift), (w * 0.86, 0.44 + lift)], 0.035, shade(main, 0.82))
        pen.ellipse(w * 0.955, 0.32 + lift, 0.05, color=(88, 66, 40))
    pen.limb((w * 0.04, 0.08), (w * 0.09, 0.3), 0.09, (150, 130, 50), 0.13)
