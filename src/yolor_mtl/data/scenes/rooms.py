"""Indoors: walls, floors and the furniture that COCO counts as stuff."""

from __future__ import annotations

import numpy as np

from yolor_mtl.data.scenes.canvas import Floats
from yolor_mtl.data.scenes.ground import paint_ground, smooth_noise
from yolor_mtl.data.scenes.palette import COLORS, Rgb, jitter, mix, pick, shade
from yolor_mtl.data.scenes.pen import Pen
from yolor_mtl.data.scenes.scenery import Prop
from yolor_mtl.data.scenes.stage import Stage
from yolor_mtl.data.scenes.stuff import STUFF_IDS

PAINTS: tuple[Rgb, ...] = (
    (226, 214, 192),
    (186, 202, 206),
    (206, 186, 170),
    (192, 204, 178),
    (224, 224, 220),
    (214, 182, 172),
    (176, 184, 204),
)
BRICKS: tuple[Rgb, ...] = ((172, 104, 82), (150, 92, 76), (196, 168, 148))
TILES: tuple[Rgb, ...] = ((222, 230, 230), (180, 206, 206), (214, 204, 184), (196, 206, 222))


def living_room(stage: Stage) -> None:
    """A wall, a floor and now and then a rug."""
    corner = stage.row(float(stage.rng.uniform(0.34, 0.42)))
    _wall(stage, pick(stage.rng, ("wall-other-merged", "wall-other-merged", "wall-brick")), corner)
    floor = pick(stage.rng, ("floor-wood", "floor-wood", "floor-other-merged"))
    paint_ground(stage.canvas, stage.rng, STUFF_IDS[floor], stage.look(floor), stage.horizon, corner)
    _skirting(stage, corner)
    if stage.rng.random() < 0.6:
        _rug(stage)


def table_top(stage: Stage) -> None:
    """A table seen from close by, a wall behind it."""
    edge = stage.row(float(stage.rng.uniform(0.38, 0.46)))
    _wall(stage, pick(stage.rng, ("wall-other-merged", "wall-tile", "wall-brick")), edge)
    table = stage.look("table-merged")
    paint_ground(stage.canvas, stage.rng, STUFF_IDS["table-merged"], table, stage.horizon, edge)
    rim = slice(round(edge), round(edge) + 2)
    stage.canvas.rgb[rim] *= np.float32(0.8)
    stage.canvas.rgb[round(edge) - 5 : round(edge)] *= np.float32(0.86)


def _wall(stage: Stage, name: str, end: float) -> None:
    """A wall from the top down to a row."""
    rows, width = round(end) + 2, stage.canvas.width
    soft = smooth_noise(stage.rng, rows, width, (4, 5)) * np.float32(0.05)
    fade = np.linspace(0.05, -0.04, rows, dtype=np.float32)[:, None]
    factor: Floats = 1 + soft + fade
    if name == "wall-brick":
        color = jitter(stage.rng, pick(stage.rng, BRICKS), 0.05)
        factor = factor * _bricks(stage, rows, width)
    elif name == "wall-tile":
        color = jitter(stage.rng, pick(stage.rng, TILES), 0.04)
        size = int(stage.rng.integers(22, 38))
        factor[::size] *= np.float32(0.86)
        factor[:, ::size] *= np.float32(0.86)
    else:
        color = jitter(stage.rng, pick(stage.rng, PAINTS), 0.05)
        if stage.rng.random() < 0.35:
            stripe = int(stage.rng.integers(14, 34))
            factor[:, (np.arange(width) // stripe) % 2 == 0] *= np.float32(0.94)
    texture = np.asarray(color, dtype=np.float32) * factor[..., None]
    stage.canvas.fill(0, texture[: stage.canvas.height].astype(np.float32), None, stage.segment(name))


def _bricks(stage: Stage, rows: int, width: int) -> Floats:
    """Factors (rows, width) of a bond of bricks with pale joints."""
    tall = int(stage.rng.integers(12, 18))
    wide = tall * 3 - 4
    row, column = np.arange(rows) // tall, np.arange(width)
    shifted = column[None, :] + (row % 2)[:, None] * (wide // 2)
    tones = stage.rng.uniform(0.88, 1.1, (rows // tall + 1, (width + wide) // wide + 1)).astype(np.float32)
    factor = tones[row[:, None], shifted // wide]
    joint = (np.arange(rows) % tall < 2)[:, None] | (shifted % wide < 2)
    return np.where(joint, np.float32(1.2), factor)


def _skirting(stage: Stage, corner: float) -> None:
    """A pale board along the foot of the wall."""
    row = round(corner)
    tall = max(3, round(0.1 * stage.unit(corner)))
    board = stage.canvas.rgb[row - tall : row]
    board += (np.float32(238) - board) * np.float32(0.7)
    stage.canvas.rgb[row - tall] *= np.float32(0.8)
    stage.canvas.rgb[row : row + 2] *= np.float32(0.72)


def _rug(stage: Stage) -> None:
    """An oval or a rectangular rug on the floor, in two colours."""
    rng, canvas = stage.rng, stage.canvas
    main = COLORS[pick(rng, ("red", "blue", "green", "purple", "brown", "gray", "orange"))]
    main = jitter(rng, mix(main, (200, 190, 176), 0.35), 0.05)
    middle, row = float(rng.uniform(0.3, 0.7)) * canvas.width, stage.row(float(rng.uniform(0.62, 0.8)))
    wide, tall = canvas.width * float(rng.uniform(0.24, 0.36)), stage.depth * float(rng.uniform(0.12, 0.18))
    y = np.arange(canvas.height, dtype=np.float32)[:, None] - np.float32(row)
    # Parallel edges run to a point on the horizon: further up the rug is narrower.
    spread = np.clip((y + np.float32(row - stage.horizon)) / np.float32(row - stage.horizon), 0.1, 2)
    x = (np.arange(canvas.width, dtype=np.float32)[None, :] - np.float32(middle)) / (spread * np.float32(wide))
    y = y / np.float32(tall)
    away = np.hypot(x, y) if rng.random() < 0.5 else np.maximum(np.abs(x), np.abs(y))
    inside = (away < 1) & (canvas.owner >= 0) & (np.arange(canvas.height) > row - tall * 1.05)[:, None]
    colors = np.where(
        (np.abs(away - 0.84) < 0.05)[..., None],
        np.asarray(shade(main, 1.5), dtype=np.float32),
        np.asarray(main, dtype=np.float32),
    )
    weave = 1 + 0.05 * stage.rng.uniform(-1, 1, inside.shape).astype(np.float32)
    canvas.rgb[inside] = (colors * weave[..., None])[inside]
    canvas.owner[inside] = stage.segment("rug-merged")


def window(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A window with a cross bar, the sky and some green behind it."""
    w = pen.width
    frame = (242, 240, 234)
    pen.box(0, 0, w, 0.97, frame)
    pen.box(-0.02, 0.94, w + 0.02, 1.0, shade(frame, 0.86))
    pen.box(0.06, 0.06, w - 0.06, 0.91, main)
    green = pick(rng, ((116, 160, 92), (92, 140, 84), (150, 172, 110)))
    hill = float(rng.uniform(0.55, 0.72))
    pen.polygon([(0.06, 0.91), (0.06, hill), (w * 0.4, hill - 0.07), (w - 0.06, hill + 0.05), (w - 0.06, 0.91)], green)
    pen.box(w / 2 - 0.025, 0.06, w / 2 + 0.025, 0.91, frame)
    pen.box(0.06, 0.44, w - 0.06, 0.48, frame)


def table(pen: Pen, main: Rgb, rng: np.random.Generator) -> None:
    """A table: its top seen a little from above, an apron and four legs."""
    w = pen.width
    for x in (0.14 * w, 0.86 * w):
        pen.limb((x, 0.2), (x, 0.88), 0.07, shade(main, 0.55), 0.05)
    for x in (0.07 * w, 0.93 * w):
        pen.limb((x, 0.3), (x, 0.97), 0.085, shade(main, 0.75), 0.06)
    pen.box(0.06 * w, 0.26, 0.94 * w, 0.38, shade(main, 0.66))
    pen.polygon([(0.08 * w, 0.0), (0.92 * w, 0.0), (w, 0.25), (0.0, 0.25)], shade(main, 1.08))
    pen.box(0.0, 0.25, w, 0.31, shade(main, 0.86))


TABLE_TOP = (0.06, 0.22)
"""Rows of the table's top, in table heights, that things may stand on."""


def room_props() -> dict[str, Prop]:
    """Furniture by name."""
    woods: tuple[Rgb, ...] = ((168, 118, 74), (128, 84, 54), (206, 170, 124), (222, 214, 202))
    panes: tuple[Rgb, ...] = ((158, 200, 230), (176, 208, 226), (196, 214, 226))
    return {
        "window": Prop("window-other", window, (0.8, 1.0), (0.9, 1.4), panes),
        "table": Prop("table-merged", table, (0.62, 0.7), (2.2, 3.0), woods),
    }
