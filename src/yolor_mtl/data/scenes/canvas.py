"""The picture while it is painted: colours, and for every pixel the number of the segment that owns it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from yolor_mtl.data.scenes.pen import Light, Sprite

Floats = NDArray[np.float32]


@dataclass(slots=True)
class Segment:
    """One owner of pixels.

    Attributes:
        category_id: COCO's id.
        color: name of the colour (things only).
        full: pixels of the picture it would own if nothing hid it (0 for stuff).
    """

    category_id: int
    color: str | None = None
    full: int = 0


class Canvas:
    """Painted back to front: each stroke takes the pixels it covers by half or more from whoever had them.

    Attributes:
        rgb: (H, W, 3) float32, 0..255.
        owner: (H, W) int16, index into ``segments``.
        segments: the owners so far; stuff of one category shares one.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.rgb: Floats = np.zeros((height, width, 3), dtype=np.float32)
        self.owner: NDArray[np.int16] = np.full((height, width), -1, dtype=np.int16)
        self.segments: list[Segment] = []
        self._stuff: dict[int, int] = {}

    def stuff(self, category_id: int) -> int:
        """The segment of a stuff category, made at its first use."""
        if category_id not in self._stuff:
            self._stuff[category_id] = self._add(Segment(category_id))
        return self._stuff[category_id]

    def thing(self, category_id: int, color: str) -> int:
        """A new segment for one object."""
        return self._add(Segment(category_id, color))

    def _add(self, segment: Segment) -> int:
        self.segments.append(segment)
        return len(self.segments) - 1

    def fill(self, top: int, texture: Floats, cover: Floats | None, segment: int) -> None:
        """Paint full-width rows from ``top`` down.

        Args:
            top: first row.
            texture: (rows, W, 3) colours.
            cover: (rows, W) share of each pixel covered, or all of it.
            segment: the owner.
        """
        rows = slice(top, top + len(texture))
        if cover is None:
            self.rgb[rows] = texture
            self.owner[rows] = segment
            return
        self.rgb[rows] += (texture - self.rgb[rows]) * cover[..., None]
        self.owner[rows][cover >= 0.5] = segment

    def stamp(self, sprite: Sprite, left: int, top: int, segment: int) -> None:
        """Paint a sprite with its upper left corner at (left, top), cut at the border."""
        height, width = sprite.alpha.shape
        inside = sprite.alpha >= 0.5
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(self.width, left + width), min(self.height, top + height)
        if x0 >= x1 or y0 >= y1:
            return
        part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        here = (slice(y0, y1), slice(x0, x1))
        self.rgb[here] += (sprite.rgb[part] - self.rgb[here]) * sprite.alpha[part][..., None]
        self.owner[here][inside[part]] = segment
        if self.segments[segment].color is not None:
            self.segments[segment].full += int(inside[part].sum())

    def shadow(self, sprite: Sprite, left: int, foot: int, light: Light) -> None:
        """Darken the ground in front of a sprite with its own silhouette, squashed and leaning from the light.

        Args:
            sprite: who throws it.
            left: the sprite's left edge.
            foot: the row its lower edge stands on.
            light: where the light comes from and how hard it is.
        """
        height, width = sprite.alpha.shape
        depth = max(3, round(height * 0.26))
        lean = -light.side * depth * 1.3
        reach = int(abs(lean)) + 4
        out = (width + 2 * reach, depth + 6)
        outline = Image.fromarray((sprite.alpha * 255).astype(np.uint8))
        # Output (x, y) reads the silhouette at a row y * height / depth above its foot.
        slope = -lean / depth
        turn = (1.0, slope, -reach - slope * 3, 0.0, -height / depth, height - 1 + 3 * height / depth)
        cast = outline.transform(out, Image.Transform.AFFINE, turn, Image.Resampling.BILINEAR)
        cast = cast.filter(ImageFilter.BoxBlur(1 + (1 - light.strength) * 3))
        dark = np.asarray(cast, dtype=np.float32) * np.float32((0.14 + 0.26 * light.strength) / 255)
        x, y = left - reach, foot - 4
        x0, y0 = max(0, x), max(0, y)
        x1, y1 = min(self.width, x + out[0]), min(self.height, y + out[1])
        if x0 < x1 and y0 < y1:
            self.rgb[y0:y1, x0:x1] *= 1 - dark[y0 - y : y1 - y, x0 - x : x1 - x, None]

    def photograph(self, light: Light, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The picture as the camera takes it, (H, W, 3): tinted, unevenly lit, with a little grain."""
        uneven = 1 + rng.uniform(-0.09, 0.09, (4, 4)).astype(np.float32)
        field = np.asarray(Image.fromarray(uneven).resize((self.width, self.height), Image.Resampling.BICUBIC))
        noise = np.frombuffer(rng.bytes(self.height * self.width), dtype=np.uint8).reshape(self.height, self.width)
        grain = (noise & 7).astype(np.float32) - np.float32(3.5)
        lit = self.rgb * (field[..., None] * np.asarray(light.tint, dtype=np.float32))
        lit += grain[..., None]
        np.clip(lit, 0, 255, out=lit)
        return np.asarray(lit.astype(np.uint8))
