"""Drawing over photographs: colours, boxes with labels, translucent masks."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

GOLDEN = 0.618033988749895

UNLABELLED: Colour = (90, 90, 90)
"""Colour of pixels without a class."""


def colour(index: int) -> Colour:
    """A colour for a class or segment; neighbours differ (hues a golden section apart)."""
    hue = (index * GOLDEN + 0.08) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.6, 0.95)[index % 3], (0.95, 0.85, 0.75)[index // 3 % 3])
    return round(red * 255), round(green * 255), round(blue * 255)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever reads better (relative luminance)."""
    luminance = 0.299 * background[0] + 0.587 * background[1] + 0.114 * background[2]
    return (0, 0, 0) if luminance > 140 else (255, 255, 255)


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The scalable font that Pillow ships."""
    return ImageFont.load_default(size=max(9.0, size))


def paint(image: np.ndarray, window: tuple[slice, slice], mask: np.ndarray, tint: Colour, opacity: float) -> None:
    """Tints a picture in place where a mask holds, with the mask's edge in full colour.

    Args:
        image: (H, W, 3) uint8.
        window: rows and columns that the mask covers.
        mask: (h, w) bool.
        tint: the colour.
        opacity: 0 leaves the picture, 1 covers it.
    """
    region = image[window]
    mixed = region[mask].astype(np.float32) * (1 - opacity) + np.asarray(tint, dtype=np.float32) * opacity
    region[mask] = mixed.round().astype(np.uint8)
    region[_edge(mask)] = tint


def _edge(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask that touch a pixel outside it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def boxes(image: np.ndarray, xyxy: np.ndarray, labels: Sequence[str], tints: Sequence[Colour]) -> np.ndarray:
    """Draws labelled boxes, the first one on top.

    Args:
        image: (H, W, 3) uint8.
        xyxy: (N, 4) pixels.
        labels: N texts.
        tints: N colours.

    Returns:
        A new (H, W, 3) uint8 picture.
    """
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    side = max(picture.size)
    line, letters = max(1, round(side / 320)), font(side / 42)
    # Labels and result files may say anything; what lies further outside than the line is wide is not seen.
    limits = np.array([*picture.size, *picture.size]) + line
    inside = np.clip(np.nan_to_num(xyxy), -line, limits)
    for box, label, tint in reversed(list(zip(inside.tolist(), labels, tints, strict=True))):
        left, top, right, bottom = box
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=tint, width=line)
        _label(pen, label, (left, top), letters, tint, picture.size)
    return np.asarray(picture)


def _label(
    pen: ImageDraw.ImageDraw,
    label: str,
    corner: tuple[float, float],
    letters: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    tint: Colour,
    size: tuple[int, int],
) -> None:
    """A text on a filled plate above a box, or inside it where there is no room above."""
    left, top, right, bottom = pen.textbbox((0, 0), label, font=letters)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(0.0, corner[0]), max(0.0, size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    pen.rectangle((x, y, x + width, y + height), fill=tint)
    pen.text((x + 2 - left, y + 2 - top), label, fill=text_colour(tint), font=letters)


def legend(image: np.ndarray, entries: Sequence[tuple[str, Colour]]) -> np.ndarray:
    """A picture with names and colours in its lower left corner; as many as fit."""
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    letters = font(max(picture.size) / 46)
    step = letters.getbbox("Ag")[3] + 4
    y = picture.height - step * min(len(entries), int(picture.height // step))
    for name, tint in entries[: int(picture.height // step)]:
        _label(pen, name, (2, y), letters, tint, picture.size)
        y += step
    return np.asarray(picture)


def subtitle(image: np.ndarray, line: str) -> np.ndarray:
    """A picture with a line of text on a dark plate at its foot, in as many rows as it takes."""
    if not line:
        return image
    picture = Image.fromarray(image)
    letters = font(max(picture.size) / 40)
    rows = _wrap(line, letters, picture.width - 12)
    step = letters.getbbox("Ag")[3] + 4
    top = max(0, picture.height - round(step * len(rows)) - 8)
    plate = Image.new("RGB", (picture.width, picture.height - top), (20, 20, 20))
    picture.paste(Image.blend(picture.crop((0, top, *picture.size)), plate, 0.7), (0, top))
    pen = ImageDraw.Draw(picture)
    for number, row in enumerate(rows):
        pen.text((6, top + 4 + number * step), row, fill=(255, 255, 255), font=letters)
    return np.asarray(picture)


def heat(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A picture, darkened but where a coarse map is high.

    Args:
        image: (H, W, 3) uint8.
        values: (h, w) float in 0..1 over the same extent.
    """
    height, width = image.shape[:2]
    levels = Image.fromarray((values * 255).round().astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    share = np.asarray(levels, dtype=np.float32)[..., None] / 255
    glow = np.array((255, 170, 40), dtype=np.float32)
    mixed = image * (0.3 + 0.55 * share) + glow * 0.15 * share
    return np.asarray(mixed.clip(0, 255).round().astype(np.uint8))


def mosaic(panels: Sequence[np.ndarray], titles: Sequence[str], lines: Sequence[str]) -> Image.Image:
    """Panels in a grid, each under its title, and lines of text below.

    Args:
        panels: (H, W, 3) uint8 pictures of one size.
        titles: a title each.
        lines: text, wrapped to the width.

    Returns:
        The picture; each panel has at least 320 pixels of width, so that text stays readable.
    """
    # By the longer side: enlarging a strip one pixel wide until it is readable would take gigabytes.
    factor = max(1.0, 320 / max(panels[0].shape[:2]))
    pictures = [Image.fromarray(panel) for panel in panels]
    if factor > 1:
        pictures = [p.resize((round(p.width * factor), round(p.height * factor))) for p in pictures]
    columns = min(2, len(pictures))
    width, height = max(320, pictures[0].width), pictures[0].height
    letters, gap = font(width * columns / 45), 6
    bar = int(letters.getbbox("Ag")[3]) + 8
    wrapped = [part for line in lines for part in _wrap(line, letters, width * columns)]
    rows = -(-len(pictures) // columns)
    sheet = Image.new(
        "RGB",
        (width * columns + gap * (columns + 1), rows * (height + bar + gap) + gap + len(wrapped) * bar),
        (250, 250, 248),
    )
    pen = ImageDraw.Draw(sheet)
    for index, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        x = gap + index % columns * (width + gap)
        y = gap + index // columns * (height + bar + gap)
        pen.text((x + 2, y), title, fill=(70, 70, 70), font=letters)
        sheet.paste(picture, (x, y + bar))
    for index, line in enumerate(wrapped):
        y = rows * (height + bar + gap) + gap + index * bar
        pen.text((gap + 2, y), line, fill=(20, 20, 20), font=letters)
    return sheet


def _wrap(line: str, letters: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    """Words of a line in as many lines as the width asks for."""
    lines = [""]
    for word in line.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and letters.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
