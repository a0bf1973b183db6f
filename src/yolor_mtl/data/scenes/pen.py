"""A pen that draws in an object's own units on its own little sheet, and the finish that gives the sheet volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from yolor_mtl.data.scenes.palette import Rgb

Point = tuple[float, float]

MARGIN = 0.06
"""Free room around the sheet, in heights: strokes may leave the unit box a little."""


class Pen:
    """Draws on a transparent sheet where the object's height is 1 and y points down.

    Args:
        aspect: width of the object over its height; x runs from 0 to ``aspect``.
        height: height of the object in pixels of the picture.
        oversample: how many sheet pixels make one picture pixel along an edge.
    """

    def __init__(self, aspect: float, height: float, oversample: int) -> None:
        self.width = aspect
        self.oversample = oversample
        self._scale = height * oversample
        self._offset = MARGIN * self._scale
        size = (
            math.ceil((aspect + 2 * MARGIN) * self._scale / oversample) * oversample,
            math.ceil((1 + 2 * MARGIN) * self._scale / oversample) * oversample,
        )
        self.sheet = Image.new("RGBA", size)
        self._draw = ImageDraw.Draw(self.sheet)

    def _at(self, point: Point) -> Point:
        return (point[0] * self._scale + self._offset, point[1] * self._scale + self._offset)

    def polygon(self, points: Sequence[Point], color: Rgb) -> None:
        """A filled polygon."""
        self._draw.polygon([self._at(point) for point in points], fill=color)

    def blob(self, points: Sequence[Point], color: Rgb) -> None:
        """A filled closed curve that runs smoothly through the points (Catmull-Rom, four steps a side)."""
        anchors = np.asarray(points, dtype=np.float64)
        before, after, beyond = np.roll(anchors, 1, 0), np.roll(anchors, -1, 0), np.roll(anchors, -2, 0)
        curve = np.empty((len(anchors), 4, 2))
        for step in range(4):
            t = step / 4
            curve[:, step] = 0.5 * (
                2 * anchors
                + (after - before) * t
                + (2 * before - 5 * anchors + 4 * after - beyond) * t * t
                + (3 * anchors - before - 3 * after + beyond) * t**3
            )
        flat = curve.reshape(-1, 2) * self._scale + self._offset
        self._draw.polygon(flat.ravel().tolist(), fill=color)

    def ellipse(self, x: float, y: float, rx: float, ry: float | None = None, *, color: Rgb) -> None:
        """A filled ellipse around (x, y); a circle without ``ry``."""
        ry = rx if ry is None else ry
        self._draw.ellipse([*self._at((x - rx, y - ry)), *self._at((x + rx, y + ry))], fill=color)

    def ring(self, x: float, y: float, radius: float, thick: float, color: Rgb) -> None:
        """A circle's outline, ``thick`` wide, inside the radius."""
        box = [*self._at((x - radius, y - radius)), *self._at((x + radius, y + radius))]
        self._draw.ellipse(box, outline=color, width=max(1, round(thick * self._scale)))

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Rgb, radius: float = 0.0) -> None:
        """A filled rectangle, its corners rounded by ``radius``."""
        corners = [*self._at((x0, y0)), *self._at((x1, y1))]
        if radius > 0:
            self._draw.rounded_rectangle(corners, radius=radius * self._scale, fill=color)
        else:
            self._draw.rectangle(corners, fill=color)

    def line(self, points: Sequence[Point], thick: float, color: Rgb) -> None:
        """An open line with rounded joints, at least one picture pixel wide."""
        width = max(round(self.oversample * 0.8), round(thick * self._scale))
        self._draw.line([self._at(point) for point in points], fill=color, width=width, joint="curve")

    def limb(self, start: Point, end: Point, thick: float, color: Rgb, end_thick: float | None = None) -> None:
        """A straight limb with round ends, tapering from ``thick`` to ``end_thick``."""
        last = thick if end_thick is None else end_thick
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / length / 2, dx / length / 2
        self.polygon(
            [
                (start[0] + nx * thick, start[1] + ny * thick),
                (end[0] + nx * last, end[1] + ny * last),
                (end[0] - nx * last, end[1] - ny * last),
                (start[0] - nx * thick, start[1] - ny * thick),
            ],
            color,
        )
        self.ellipse(*start, thick / 2, color=color)
        self.ellipse(*end, last / 2, color=color)

    def arc(self, x: float, y: float, radius: float, degrees: tuple[float, float], thick: float, color: Rgb) -> None:
        """Part of a circle's outline, from one angle to the other, clockwise from three o'clock."""
        box = [*self._at((x - radius, y - radius)), *self._at((x + radius, y + radius))]
        width = max(round(self.oversample * 0.8), round(thick * self._scale))
        self._draw.arc(box, degrees[0], degrees[1], fill=color, width=width)


@dataclass(frozen=True, slots=True)
class Light:
    """How the scene is lit.

    Attributes:
        side: where the light comes from, -1 left to 1 right.
        strength: 0 overcast, 1 full sun: how hard shadows and lit edges are.
        tint: factors on red, green and blue of the whole picture.
        haze: colour that far things fade into.
    """

    side: float
    strength: float
    tint: tuple[float, float, float]
    haze: Rgb


@dataclass(frozen=True, slots=True)
class Sprite:
    """A finished drawing, cut tight.

    Attributes:
        rgb: (h, w, 3) float32, 0..255.
        alpha: (h, w) float32, 0..1.
    """

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32]


def finish(
    pen: Pen,
    light: Light,
    rng: np.random.Generator,
    *,
    flip: bool = False,
    tilt: float = 0.0,
    haze: float = 0.0,
    volume: float = 1.0,
) -> Sprite:
    """Shrink a sheet to picture pixels and paint light on it: volume, darker rims, grain and distance haze.

    Args:
        pen: the pen with the drawn sheet.
        light: the scene's light.
        rng: for the grain.
        flip: mirror left and right.
        tilt: degrees counter-clockwise.
        haze: share of the haze colour, 0..1.
        volume: how strongly edges are lit and shaded.
    """
    sheet = pen.sheet
    if flip:
        sheet = sheet.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if tilt:
        sheet = sheet.rotate(tilt, Image.Resampling.NEAREST, expand=True)
    small = sheet.reduce(pen.oversample)
    box = small.getbbox() or (0, 0, 1, 1)
    # Two pixels of air keep the blur below from seeing the sheet's border as inside.
    small = small.crop((box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2))
    pixels = np.asarray(small, dtype=np.float32)
    alpha = pixels[..., 3] / np.float32(255)
    shading = _shading(small.getchannel("A"), light, volume)
    shading *= 1 + rng.uniform(-0.05, 0.05, shading.shape).astype(np.float32)
    rgb = pixels[..., :3] * shading[..., None]
    if haze > 0:
        rgb += (np.asarray(light.haze, dtype=np.float32) - rgb) * np.float32(haze)
    np.clip(rgb, 0, 255, out=rgb)
    return Sprite(rgb[2:-2, 2:-2], alpha[2:-2, 2:-2])


def _shading(alpha: Image.Image, light: Light, volume: float) -> NDArray[np.float32]:
    """Factors (h, w): the blurred silhouette read as a height map, lit from the light's side and from above."""
    width, height = alpha.size
    reach = max(1.0, 0.09 * min(width, height))
    soft = np.asarray(alpha.filter(ImageFilter.GaussianBlur(reach)), dtype=np.float32) / np.float32(255)
    slope_x = np.zeros_like(soft)
    slope_y = np.zeros_like(soft)
    slope_x[:, 1:-1] = soft[:, 2:] - soft[:, :-2]
    slope_y[1:-1] = soft[2:] - soft[:-2]
    gain = np.float32(reach * volume * (0.35 + 0.45 * light.strength))
    lit = gain * (slope_x * np.float32(-light.side) + slope_y * np.float32(0.8))
    # The silhouette's own edge sits at about one half of the blur: below that the rim darkens.
    rim = np.clip((soft - 0.42) * np.float32(4.0), 0, 1)
    return np.asarray((np.float32(1 - 0.3 * volume) + np.float32(0.3 * volume) * rim) * (1 + np.clip(lit, -0.45, 0.4)))
