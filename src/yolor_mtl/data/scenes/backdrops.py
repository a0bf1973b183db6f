"""What lies behind and below everything outdoors: sky, hills, water, grounds and the marks on them."""

from __future__ import annotations

import numpy as np

from yolor_mtl.data.scenes.canvas import Floats
from yolor_mtl.data.scenes.ground import (
    Surface,
    below,
    paint_band,
    paint_ground,
    paint_mountains,
    paint_sky,
    ridge,
    smooth_noise,
    speckle,
    wave,
)
from yolor_mtl.data.scenes.palette import Rgb, mix, pick
from yolor_mtl.data.scenes.stage import Stage
from yolor_mtl.data.scenes.stuff import STUFF_IDS

WHITE: Rgb = (238, 238, 232)
FLOWERS: tuple[Rgb, ...] = ((246, 240, 232), (244, 208, 84), (232, 132, 160), (190, 140, 210))
MOUNTAINS: tuple[Rgb, ...] = ((104, 116, 140), (120, 112, 116), (96, 122, 120), (134, 120, 110))


def street(stage: Stage) -> None:
    """Two pavements with a road between them."""
    _sky(stage, mountains=0.15)
    _whole(stage, "pavement-merged")
    top = stage.row(float(stage.rng.uniform(0.24, 0.34)))
    end = stage.row(float(stage.rng.uniform(0.66, 0.84)))
    _straight_band(stage, "road", top, end, kerb=True)
    _dashes(stage, (top + end) / 2)


def country(stage: Stage) -> None:
    """A road through meadows."""
    _sky(stage, mountains=0.5)
    _meadow(stage, hills=0.7)
    top = float(stage.rng.uniform(0.2, 0.45))
    end = top + float(stage.rng.uniform(0.2, 0.34))
    if stage.rng.random() < 0.6:
        _straight_band(stage, "road", stage.row(top), stage.row(end), kerb=False)
        _dashes(stage, stage.row((top + end) / 2))
    else:
        _winding_band(stage, "road", top, end)


def park(stage: Stage) -> None:
    """A lawn with a path, now and then a pond."""
    _sky(stage, mountains=0.1)
    _meadow(stage, hills=0.3)
    if stage.rng.random() < 0.35:
        _winding_band(stage, "river", 0.08, float(stage.rng.uniform(0.2, 0.3)))
    start = float(stage.rng.uniform(0.36, 0.6))
    path = pick(stage.rng, ("pavement-merged", "gravel", "dirt-merged"))
    _winding_band(stage, path, start, start + float(stage.rng.uniform(0.14, 0.24)))
    _flowers(stage)


def beach(stage: Stage) -> None:
    """Sand before the sea."""
    _sky(stage, mountains=0.25)
    _flat(stage, "sea", 0.0)
    shore = wave(stage.rng, stage.canvas.width, stage.row(float(stage.rng.uniform(0.24, 0.42))), stage.depth * 0.03)
    foam = Surface((246, 248, 246), (240, 246, 246), "soft", 0.05)
    for lift in (0.045, 0.0):
        top = shore - np.float32(lift * stage.depth)
        thick = np.float32(2.2 if lift else 5.0)
        paint_band(stage.canvas, stage.rng, STUFF_IDS["sea"], foam, stage.horizon, (top - thick, top))
    paint_ground(stage.canvas, stage.rng, STUFF_IDS["sand"], stage.look("sand"), stage.horizon, shore)


def farm(stage: Stage) -> None:
    """Meadows with a strip of earth."""
    _sky(stage, mountains=0.35)
    _meadow(stage, hills=0.8)
    if stage.rng.random() < 0.7:
        start = float(stage.rng.uniform(0.3, 0.6))
        _winding_band(stage, "dirt-merged", start, start + float(stage.rng.uniform(0.14, 0.26)))
    _flowers(stage)


def winter(stage: Stage) -> None:
    """A snowfield below mountains."""
    _sky(stage, mountains=0.8)
    _hills(stage, "snow", float(stage.rng.uniform(0.05, 0.16)))
    _whole(stage, "snow")
    if stage.rng.random() < 0.4:
        start = float(stage.rng.uniform(0.3, 0.5))
        _straight_band(stage, "road", stage.row(start), stage.row(start + 0.24), kerb=False)
    speckle(stage.canvas, stage.rng, stage.segment("snow"), 60, stage.horizon, ((255, 255, 255), (206, 220, 240)))


def harbor(stage: Stage) -> None:
    """A quay before the sea."""
    _sky(stage, mountains=0.6)
    _flat(stage, "sea", 0.0)
    edge = float(stage.rng.uniform(0.5, 0.66))
    _flat(stage, "pavement-merged", edge)
    row = stage.row(edge)
    _tint_rows(stage, "pavement-merged", row, row + 0.03 * stage.depth, (228, 222, 210))
    _tint_rows(stage, "sea", row - 0.02 * stage.depth, row, (40, 70, 90))


def airport(stage: Stage) -> None:
    """A runway in the grass."""
    _sky(stage, mountains=0.3)
    _meadow(stage, hills=0.2)
    top, end = float(stage.rng.uniform(0.16, 0.26)), float(stage.rng.uniform(0.72, 0.9))
    _straight_band(stage, "road", stage.row(top), stage.row(end), kerb=False)
    for near in (top + 0.04, end - 0.05):
        row = stage.row(near)
        _tint_rows(stage, "road", row, row + 1 + 0.014 * near * stage.depth, WHITE)
    _dashes(stage, stage.row((top + end) / 2))


def railway(stage: Stage) -> None:
    """Tracks, and a platform in front of them."""
    _sky(stage, mountains=0.4)
    _meadow(stage, hills=0.5)
    top = stage.row(float(stage.rng.uniform(0.3, 0.38)))
    edge = float(stage.rng.uniform(0.6, 0.68))
    end = stage.row(edge - float(stage.rng.uniform(0.04, 0.1)))
    _straight_band(stage, "railroad", top, end, kerb=False)
    _tracks(stage, top, end)
    _flat(stage, "platform", edge)
    row = stage.row(edge)
    _tint_rows(stage, "platform", row + 0.02 * stage.depth, row + 0.045 * stage.depth, (236, 206, 84))


def playing_field(stage: Stage) -> None:
    """A mown field with white lines."""
    _sky(stage, mountains=0.2)
    _hills(stage, "grass-merged", float(stage.rng.uniform(0.03, 0.1)))
    _whole(stage, "grass-merged")
    edge = float(stage.rng.uniform(0.12, 0.22))
    _flat(stage, "playingfield", edge)
    near, dark = edge, False
    while near < 1:
        step = near * 1.28
        if dark:
            _scale_rows(stage, "playingfield", stage.row(near), stage.row(step), 0.93)
        near, dark = step, not dark
    for line in (edge + 0.04, float(stage.rng.uniform(0.45, 0.7))):
        row = stage.row(line)
        _tint_rows(stage, "playingfield", row, row + 1 + 0.016 * line * stage.depth, WHITE)


def lake(stage: Stage) -> None:
    """Water between two green banks."""
    _sky(stage, mountains=0.85)
    _meadow(stage, hills=0.6)
    _winding_band(stage, "river", float(stage.rng.uniform(0.07, 0.12)), float(stage.rng.uniform(0.46, 0.62)))
    _flowers(stage)


def _sky(stage: Stage, mountains: float) -> None:
    """The sky, and mountains as often as ``mountains`` says."""
    assert stage.sky is not None
    sky, canvas, rng = stage.sky, stage.canvas, stage.rng
    paint_sky(canvas, rng, STUFF_IDS["sky-other-merged"], sky.colors, stage.horizon, sky.clouds, sky.sun)
    if rng.random() < mountains:
        height = stage.horizon * float(rng.uniform(0.25, 0.6))
        color = pick(rng, MOUNTAINS)
        paint_mountains(canvas, rng, STUFF_IDS["mountain-merged"], color, stage.light.haze, stage.horizon + 1, height)


def _whole(stage: Stage, name: str) -> None:
    """A ground from the horizon down."""
    _flat(stage, name, 0.0)


def _flat(stage: Stage, name: str, near: float) -> None:
    """A ground from a straight edge down."""
    paint_ground(stage.canvas, stage.rng, STUFF_IDS[name], stage.look(name), stage.horizon, float(stage.row(near)))


def _hills(stage: Stage, name: str, height: float) -> None:
    """Soft hills at the horizon; ``height`` in picture heights."""
    look = stage.look(name)
    width = stage.canvas.width
    curve = ridge(stage.rng, width, stage.horizon, height * stage.canvas.height, 3, 0.0)
    top = max(0, int(curve.min()))
    rows = stage.horizon + 2 - top
    color = np.asarray(mix(look.far, stage.light.haze, 0.25), dtype=np.float32)
    rolling = 1 + smooth_noise(stage.rng, rows, width, (3, 9)) * np.float32(0.25 * look.contrast)
    stage.canvas.fill(top, color * rolling[..., None], below(curve, top, rows), stage.segment(name))


def _meadow(stage: Stage, hills: float) -> None:
    """Grass to the horizon, with hills as often as ``hills`` says."""
    if stage.rng.random() < hills:
        _hills(stage, "grass-merged", float(stage.rng.uniform(0.04, 0.14)))
    _whole(stage, "grass-merged")


def _flowers(stage: Stage) -> None:
    """Flowers strewn over half of the meadows."""
    if stage.rng.random() < 0.5:
        count = int(stage.rng.integers(20, 120))
        speckle(stage.canvas, stage.rng, stage.segment("grass-merged"), count, stage.horizon, FLOWERS)


def _straight_band(stage: Stage, name: str, top: float, end: float, *, kerb: bool) -> None:
    """A ground between two rows, with pale edges where it has a kerb."""
    ones = np.ones(stage.canvas.width, dtype=np.float32)
    span = (ones * np.float32(top), ones * np.float32(end))
    paint_band(stage.canvas, stage.rng, STUFF_IDS[name], stage.look(name), stage.horizon, span)
    if kerb:
        for row in (top, end):
            thick = 0.028 * (row - stage.horizon)
            _tint_rows(stage, "pavement-merged", row - thick, row + thick, (206, 202, 196))


def _winding_band(stage: Stage, name: str, top: float, end: float) -> None:
    """A ground between two gently winding edges, given by their nearness."""
    width = stage.canvas.width
    first = wave(stage.rng, width, stage.row(top), stage.depth * 0.12 * top)
    second = wave(stage.rng, width, stage.row(end), stage.depth * 0.12 * end)
    paint_band(stage.canvas, stage.rng, STUFF_IDS[name], stage.look(name), stage.horizon, (first, second))


def _owned(stage: Stage, name: str, top: float, end: float) -> tuple[slice, Floats] | None:
    """Rows between two, and which of their pixels belong to a ground, (rows, W, 1)."""
    rows = slice(max(0, round(top)), min(stage.canvas.height, max(round(top) + 1, round(end))))
    if rows.start >= rows.stop:
        return None
    mask = stage.canvas.owner[rows] == stage.segment(name)
    return rows, mask[..., None].astype(np.float32)


def _tint_rows(stage: Stage, name: str, top: float, end: float, color: Rgb) -> None:
    """Colour the part of a ground that lies between two rows."""
    if (found := _owned(stage, name, top, end)) is not None:
        rows, mask = found
        pixels = stage.canvas.rgb[rows]
        pixels += (np.asarray(color, dtype=np.float32) - pixels) * mask * np.float32(0.75)


def _scale_rows(stage: Stage, name: str, top: float, end: float, factor: float) -> None:
    """Darken or lighten the part of a ground that lies between two rows."""
    if (found := _owned(stage, name, top, end)) is not None:
        rows, mask = found
        stage.canvas.rgb[rows] *= 1 + (np.float32(factor) - 1) * mask


def _dashes(stage: Stage, row: float) -> None:
    """A broken white line along a road, in perspective."""
    size = (row - stage.horizon) / stage.camera
    thick, length = max(1, round(0.07 * size)), max(4, round(1.1 * size))
    shift = int(stage.rng.integers(length * 2))
    rows = slice(round(row), min(stage.canvas.height, round(row) + thick))
    for x in range(-shift, stage.canvas.width, length * 2):
        area = (rows, slice(max(0, x), max(0, x + length)))
        mask = (stage.canvas.owner[area] == stage.segment("road"))[..., None].astype(np.float32)
        stage.canvas.rgb[area] += (
            (np.asarray(WHITE, dtype=np.float32) - stage.canvas.rgb[area]) * mask * np.float32(0.8)
        )


def _tracks(stage: Stage, top: float, end: float) -> None:
    """Sleepers and two rails along a bed of ballast."""
    middle, half = (top + end) / 2, (end - top) * 0.34
    step = max(5.0, 0.35 * (middle - stage.horizon) / stage.camera)
    rgb = stage.canvas.rgb
    first, last = round(middle - half), round(middle + half)
    for x in np.arange(float(stage.rng.uniform(0, step)), stage.canvas.width, step).tolist():
        rgb[first:last, round(x) : round(x + step * 0.4)] *= np.float32(0.6)
    for row in (middle - half * 0.55, middle + half * 0.5):
        thick = max(1, round(0.02 * (row - stage.horizon)))
        rgb[round(row) : round(row) + thick] = (196, 194, 192)
        rgb[round(row) + thick : round(row) + thick + 1] *= np.float32(0.55)
