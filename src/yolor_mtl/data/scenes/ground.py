"""Large surfaces: skies, hills, water and the textured grounds, painted as bands below curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from yolor_mtl.data.scenes.canvas import Canvas, Floats
from yolor_mtl.data.scenes.palette import Rgb, mix, pick

TILE = 256
"""Edge of a texture tile in pixels, a power of two."""


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: tuple[int, int]) -> Floats:
    """Values of about -1..1 that vary smoothly over a grid of ``cells`` (rows, columns)."""
    coarse = rng.uniform(-1, 1, cells).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def texture(rng: np.random.Generator, weave: str) -> Floats:
    """A tile (256, 256) of about -1..1.

    Args:
        rng: draws the pattern.
        weave: ``grass``, ``grain``, ``soft``, ``water``, ``planks`` or ``slabs``.
    """
    large = smooth_noise(rng, TILE, TILE, (7, 7))
    if weave == "soft":
        return np.asarray(large * 0.6 + smooth_noise(rng, TILE, TILE, (24, 18)) * 0.4)
    if weave == "water":
        streaks = smooth_noise(rng, TILE, TILE, (110, 14))
        return np.asarray(large * 0.3 + streaks * np.abs(streaks) * 1.4)
    fine = rng.uniform(-1, 1, (TILE, TILE)).astype(np.float32)
    if weave == "grass":
        return np.asarray(large * 0.45 + smooth_noise(rng, TILE, TILE, (40, 128)) * 0.5 + fine * 0.2)
    if weave == "grain":
        return np.asarray(large * 0.35 + smooth_noise(rng, TILE, TILE, (60, 60)) * 0.3 + fine * 0.35)
    tile = np.asarray(large * 0.2 + fine * 0.12)
    if weave == "planks":
        tile += smooth_noise(rng, TILE, TILE, (10, 128)) * 0.25
        tile += np.repeat(rng.uniform(-0.4, 0.4, 8), TILE // 8).astype(np.float32)[None, :]
        tile[:, :: TILE // 8] -= 1.1
        return tile
    tile[:: TILE // 8] -= 0.8
    tile[:, :: TILE // 8] -= 0.8
    return tile


@dataclass(frozen=True, slots=True)
class Surface:
    """How a ground looks.

    Attributes:
        near: colour at the picture's lower edge.
        far: colour at the horizon.
        weave: name of its texture.
        contrast: how strongly the texture shows, 0..1.
    """

    near: Rgb
    far: Rgb
    weave: str
    contrast: float


def ground(rng: np.random.Generator, surface: Surface, height: int, width: int, horizon: int, top: int) -> Floats:
    """Rows ``top`` .. ``height`` of a flat ground in perspective, (height - top, width, 3)."""
    depth = (np.arange(top, height, dtype=np.float32) - horizon + 1) / np.float32(height - horizon)
    nearness = np.clip(depth, 0.02, 1)
    stretch = 1 / (nearness + np.float32(0.1))
    across = (np.arange(width, dtype=np.float32) - width / 2 + TILE * 40) * np.float32(0.9)
    columns = ((across[None, :] - TILE * 40) * stretch[:, None] + TILE * 40).astype(np.int32)
    rows = (stretch * 150).astype(np.int32)[:, None]
    values = texture(rng, surface.weave)[_mirror(rows), _mirror(columns)]
    values *= (np.float32(surface.contrast) * (0.35 + 0.65 * nearness))[:, None]
    far, near = np.asarray(surface.far, dtype=np.float32), np.asarray(surface.near, dtype=np.float32)
    base = far + (near - far) * np.sqrt(nearness)[:, None]
    return np.asarray(base[:, None, :] * (1 + values[..., None]), dtype=np.float32)


def _mirror(index: np.ndarray) -> np.ndarray:
    """Indices folded into the tile, every second copy mirrored so that no seam shows."""
    folded = index & (2 * TILE - 1)
    return np.where(folded < TILE, folded, 2 * TILE - 1 - folded)


def below(curve: Floats, top: int, rows: int) -> Floats:
    """Share of each pixel that lies below a curve: (rows, W) for rows ``top`` .. ``top + rows``.

    Args:
        curve: (W,) the y where the surface begins.
        top: first row.
        rows: how many.
    """
    y = np.arange(top, top + rows, dtype=np.float32)[:, None]
    return np.asarray(np.clip(y + np.float32(0.5) - curve[None, :], 0, 1))


def paint_ground(
    canvas: Canvas, rng: np.random.Generator, category: int, surface: Surface, horizon: int, edge: Floats | float
) -> None:
    """Lay a ground from an edge (a row, or (W,) a curve) down to the picture's lower border."""
    curve = np.full(canvas.width, edge, dtype=np.float32) if isinstance(edge, float) else edge
    top = max(0, int(curve.min()))
    if top >= canvas.height:
        return
    rows = ground(rng, surface, canvas.height, canvas.width, horizon, top)
    canvas.fill(top, rows, below(curve, top, len(rows)), canvas.stuff(category))


def paint_band(
    canvas: Canvas,
    rng: np.random.Generator,
    category: int,
    surface: Surface,
    horizon: int,
    span: tuple[Floats, Floats],
) -> None:
    """Lay a ground between two curves (W,), as a road or a river that crosses the picture."""
    top, end = max(0, int(span[0].min())), min(canvas.height, int(span[1].max()) + 1)
    if top >= end:
        return
    rows = ground(rng, surface, canvas.height, canvas.width, horizon, top)[: end - top]
    cover = below(span[0], top, end - top) - below(span[1], top, end - top)
    canvas.fill(top, rows, np.clip(cover, 0, 1), canvas.stuff(category))


def ridge(rng: np.random.Generator, width: int, base: float, height: float, peaks: int, rough: float) -> Floats:
    """A skyline (W,): ``peaks`` humps of up to ``height`` above ``base``; ``rough`` adds crags."""
    anchors = rng.uniform(0.15, 1.0, peaks + 2)
    anchors[::2] *= 0.55
    places = np.linspace(-0.1, 1.1, peaks + 2) + rng.uniform(-0.04, 0.04, peaks + 2)
    x = np.linspace(0, 1, width)
    line = np.interp(x, np.sort(places), anchors)
    if rough < 0.5:
        kernel = np.hanning(max(9, width // (peaks + 3)))
        padded = np.pad(line, len(kernel) // 2, mode="edge")
        line = np.convolve(padded, kernel / kernel.sum(), mode="same")[len(kernel) // 2 :][:width]
    else:
        for cells in (peaks * 4, peaks * 12):
            line = line + np.interp(x, np.linspace(0, 1, cells), rng.uniform(-1, 1, cells)) * 0.5 * rough / cells * 4
    return np.asarray(base - np.clip(line, 0.02, 1.1) * height, dtype=np.float32)


def wave(rng: np.random.Generator, width: int, base: float, amount: float) -> Floats:
    """A gently winding edge (W,) around a row."""
    x = np.linspace(0, 2 * np.pi, width, dtype=np.float32)
    phase = rng.uniform(0, 2 * np.pi, 3)
    curve = np.sin(x * 0.6 + phase[0]) + 0.5 * np.sin(x * 1.3 + phase[1]) + 0.2 * np.sin(x * 3.1 + phase[2])
    return np.asarray(base + curve * amount, dtype=np.float32)


def paint_mountains(
    canvas: Canvas, rng: np.random.Generator, category: int, color: Rgb, haze: Rgb, base: int, height: float
) -> None:
    """One or two ranges that end at row ``base``: crags with lit faces, some with snow caps."""
    rough = 0.9 if rng.random() < 0.6 else 0.0
    snowy = rough > 0 and rng.random() < 0.6
    for layer in range(2):
        tall = height * (1.0, 0.6)[layer]
        curve = ridge(rng, canvas.width, base + 2, tall, int(rng.integers(2, 5)), rough)
        top = max(0, int(curve.min()))
        rows = base + 1 - top
        if rows <= 1:
            continue
        tone = np.asarray(mix(color, haze, 0.6 - 0.35 * layer), dtype=np.float32)
        # A face looks lit where the skyline rises towards the light; smoothing keeps the facets broad.
        slope = np.convolve(np.gradient(curve), np.ones(9) / 9, mode="same").astype(np.float32)
        facets = smooth_noise(rng, rows, canvas.width, (6, 14)) * np.float32(0.12)
        face = 1 + np.clip(slope * 0.12, -0.22, 0.22)[None, :] + facets
        drawn = tone[None, None, :] * face[..., None]
        depth = np.arange(top, base + 1, dtype=np.float32)[:, None] - curve[None, :]
        if snowy and layer == 0:
            # Lower peaks have less snow and low ones none.
            high = np.clip((base - tall * 0.4 - curve) / (tall * 0.3), 0, 1)
            line = (tall * 0.3 + smooth_noise(rng, 1, canvas.width, (1, 24))[0] * tall * 0.14) * high
            cap = np.clip((line[None, :] - depth) * 0.5, 0, 1)
            drawn += (np.float32(244) * face[..., None] - drawn) * cap[..., None]
        drawn += (np.asarray(haze, dtype=np.float32) - drawn) * np.clip(depth / (tall + 1) * 0.5, 0, 0.5)[..., None]
        canvas.fill(top, drawn.astype(np.float32), below(curve, top, rows), canvas.stuff(category))


def paint_sky(
    canvas: Canvas,
    rng: np.random.Generator,
    category: int,
    colors: tuple[Rgb, Rgb],
    horizon: int,
    clouds: int,
    sun: Rgb,
) -> None:
    """A graded sky down to the horizon with a glow around a sun and some clouds.

    Args:
        canvas: where to paint.
        rng: places sun and clouds.
        category: COCO's id of the sky.
        colors: at the top and at the horizon.
        horizon: last row.
        clouds: how many.
        sun: colour of the glow; black for none.
    """
    rows, width = horizon + 2, canvas.width
    top, low = np.asarray(colors[0], dtype=np.float32), np.asarray(colors[1], dtype=np.float32)
    fall = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] ** np.float32(0.9)
    sky = np.broadcast_to(top + (low - top) * fall, (rows, width, 3)).copy()
    if any(sun):
        x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.15, 0.8) * horizon
        gap = np.hypot(*np.ogrid[-y : rows - y - 0.5, -x : width - x - 0.5][::-1]).astype(np.float32)
        gap = gap[:rows, :width]
        radius = np.float32(rng.uniform(0.028, 0.05) * width)
        glow = np.clip(radius + np.float32(0.5) - gap, 0, 1) + np.float32(0.55) * np.exp(-gap / (radius * 2.5))
        sky += (np.asarray(sun, dtype=np.float32) - sky) * np.clip(glow, 0, 1)[..., None]
    if clouds:
        _clouds(sky, rng, clouds, colors)
    canvas.fill(0, sky[: canvas.height], None, canvas.stuff(category))


def _clouds(sky: Floats, rng: np.random.Generator, count: int, colors: tuple[Rgb, Rgb]) -> None:
    """Heaps of puffs with flat, shaded undersides, painted into the sky in place."""
    rows, width = sky.shape[:2]
    sheet = Image.new("L", (width, rows))
    for _ in range(count):
        x, y = rng.uniform(-0.05, 1.05) * width, rng.uniform(0.05, 0.8) * rows
        size = rng.uniform(0.05, 0.13) * width * (1.15 - 0.75 * y / rows)
        # A sheet of its own, so that the cut below its flat underside does not cut its neighbours.
        own = Image.new("L", (max(1, round(size * 4.6)), max(1, round(size * 1.5))))
        puffs = ImageDraw.Draw(own)
        base = size * 1.3
        for puff in np.linspace(-1, 1, int(rng.integers(5, 9))).tolist():
            r = size * (0.30 + 0.32 * (1 - puff * puff)) * rng.uniform(0.75, 1.15)
            px, py = own.width / 2 + puff * size * 1.3, base - r * 0.45
            puffs.ellipse([px - r, py - r * 0.8, px + r, py + r * 0.8], fill=int(rng.integers(220, 250)))
        puffs.rectangle([0, base + size * 0.1, own.width, own.height], fill=0)
        sheet.paste(own, (round(x - own.width / 2), round(y - base)), own)
    soft = sheet.filter(ImageFilter.BoxBlur(2))
    cover = np.asarray(soft, dtype=np.float32) / np.float32(255)
    wide = np.asarray(soft.filter(ImageFilter.BoxBlur(7)), dtype=np.float32) / np.float32(255)
    light = np.asarray(mix((255, 255, 255), colors[1], 0.22), dtype=np.float32)
    # Where the cloud is thick below, its underside is in shade: compare with the row a little higher.
    shaded = np.clip(wide - np.roll(wide, 5, axis=0), -0.25, 0.25)
    tone = light * (0.95 + shaded * 0.55)[..., None]
    sky += (tone - sky) * cover[..., None]


def speckle(
    canvas: Canvas, rng: np.random.Generator, segment: int, count: int, horizon: int, colors: tuple[Rgb, ...]
) -> None:
    """Small marks strewn over a segment's ground (flowers, pebbles, sparkles), larger when nearer."""
    ys = horizon + (canvas.height - horizon) * np.sqrt(rng.uniform(0.03, 1, count))
    xs = rng.uniform(0, canvas.width - 3, count)
    for x, y in zip(xs.astype(int).tolist(), ys.astype(int).tolist(), strict=True):
        size = 1 + int(2.2 * (y - horizon) / (canvas.height - horizon))
        area = (slice(y, y + size), slice(x, x + size))
        owned = canvas.owner[area] == segment
        if owned.size and owned.all():
            canvas.rgb[area] = canvas.rgb[area] * 0.3 + np.asarray(pick(rng, colors), dtype=np.float32) * 0.7
