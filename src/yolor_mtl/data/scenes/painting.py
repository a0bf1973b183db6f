"""Draws one scene: chooses setting and weather, places everything, paints it back to front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolor_mtl.data.scenes.canvas import Canvas
from yolor_mtl.data.scenes.palette import pick
from yolor_mtl.data.scenes.placing import Item, Placer
from yolor_mtl.data.scenes.settings import Setting, settings
from yolor_mtl.data.scenes.stage import Stage
from yolor_mtl.data.scenes.things import Kind
from yolor_mtl.data.scenes.weather import Sky, choose_sky, daylight, lamplight

SHAPES = (
    (360, 480),
    (360, 480),
    (480, 360),
    (320, 480),
    (480, 320),
    (272, 480),
    (400, 480),
    (440, 440),
    (384, 448),
)
"""(height, width) of the pictures."""

LEAST_PIXELS, LEAST_SHARE = 28, 0.2
"""A thing of which less is to be seen is not drawn at all, so that everything drawn is labelled."""

LEAST_SUBJECT = 0.008
"""Share of the picture that the largest thing takes at least."""


@dataclass(frozen=True, slots=True)
class SeenObject:
    """A thing in a finished scene.

    Attributes:
        kind: its kind.
        color: name of its colour.
        place: the surface it is on.
        segment: its number in ``Scene.owner``.
        box: x0, y0, x1, y1 of its visible pixels; x1 and y1 are one past the last.
        area: visible pixels.
        occluded: share of its pixels in the picture that other things or scenery hide; the border hides nothing.
        depth: greater is nearer.
    """

    kind: Kind
    color: str
    place: str
    segment: int
    box: tuple[int, int, int, int]
    area: int
    occluded: float
    depth: float


@dataclass(frozen=True, slots=True)
class SeenProp:
    """A piece of scenery that is to be seen: name of its kind, and its depth."""

    name: str
    depth: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A finished scene.

    Attributes:
        rgb: (H, W, 3) the picture.
        owner: (H, W) for each pixel the segment's number.
        categories: COCO's id of each segment.
        areas: pixels of each segment.
        objects: the things.
        props: the scenery.
        setting: where it is.
        sky: the sky; ``None`` in a room.
    """

    rgb: NDArray[np.uint8]
    owner: NDArray[np.int16]
    categories: tuple[int, ...]
    areas: tuple[int, ...]
    objects: tuple[SeenObject, ...]
    props: tuple[SeenProp, ...]
    setting: Setting
    sky: Sky | None

    def area_of(self, category_id: int) -> int:
        """Pixels of a kind of stuff."""
        return sum(area for area, number in zip(self.areas, self.categories, strict=True) if number == category_id)


def draw_scene(rng: np.random.Generator) -> Scene:
    """One scene with three things or more, at least one of them large enough to look at."""
    setting = _choose(rng, settings())
    while True:
        stage = _set_stage(rng, setting)
        placer = Placer(stage, setting)
        placer.furnish()
        placer.cast()
        kept, props = _to_be_seen(placer.items, stage.canvas)
        sizes = [seen for item, seen in kept if item.kind is not None]
        if len(sizes) >= 3 and max(sizes) >= LEAST_SUBJECT * stage.canvas.owner.size:
            return _paint(stage, [item for item, _ in kept], props, setting)


def _choose(rng: np.random.Generator, options: tuple[Setting, ...]) -> Setting:
    weights = np.array([setting.weight for setting in options])
    return options[int(rng.choice(len(options), p=weights / weights.sum()))]


def _set_stage(rng: np.random.Generator, setting: Setting) -> Stage:
    """The empty stage with its surfaces painted."""
    height, width = pick(rng, SHAPES)
    canvas = Canvas(height, width)
    sky = None if setting.indoors else choose_sky(rng)
    light = lamplight(rng) if sky is None else daylight(rng, sky)
    horizon = round(float(rng.uniform(*setting.horizon)) * height)
    stage = Stage(canvas, rng, light, sky, horizon, float(rng.uniform(*setting.camera)))
    setting.paint(stage)
    stage.grounds = canvas.owner.copy()
    return stage


def _to_be_seen(items: list[Item], canvas: Canvas) -> tuple[list[tuple[Item, int]], list[SeenProp]]:
    """What can be seen, back to front, with its visible pixels; without things that are almost wholly hidden.

    From front to back, since a thing that is left out hides nothing behind it.
    """
    covered = np.zeros((canvas.height, canvas.width), dtype=bool)
    kept: list[tuple[Item, int]] = []
    props: list[SeenProp] = []
    for item in sorted(items, key=lambda item: item.depth, reverse=True):
        y0, x0 = max(0, item.top), max(0, item.left)
        y1, x1 = min(canvas.height, item.foot), min(canvas.width, item.left + item.width)
        if y0 >= y1 or x0 >= x1:
            continue
        inside = item.sprite.alpha[y0 - item.top : y1 - item.top, x0 - item.left : x1 - item.left] >= 0.5
        here = covered[y0:y1, x0:x1]
        seen, full = int((inside & ~here).sum()), int(inside.sum())
        if item.kind is not None and (seen < LEAST_PIXELS or seen < LEAST_SHARE * full):
            continue
        here |= inside
        kept.append((item, seen))
        if item.prop is not None and seen >= 40 and seen >= 0.15 * full:
            props.append(SeenProp(item.name, item.depth))
    return kept[::-1], props


def _paint(stage: Stage, items: list[Item], props: list[SeenProp], setting: Setting) -> Scene:
    """Paint the items, which come back to front, and note what is to be seen in the end."""
    canvas = stage.canvas
    segments: list[tuple[int, Item]] = []
    for item in items:
        if item.grounded:
            canvas.shadow(item.sprite, item.left, item.foot, stage.light)
        if item.kind is None or item.color is None:
            assert item.prop is not None
            segment = stage.segment(item.prop.category)
        else:
            segment = canvas.thing(item.kind.id, item.color)
            segments.append((segment, item))
        canvas.stamp(item.sprite, item.left, item.top, segment)
    areas = np.bincount(canvas.owner.ravel(), minlength=len(canvas.segments)).tolist()
    objects = tuple(_seen(canvas, segment, item, areas[segment]) for segment, item in segments)
    return Scene(
        rgb=canvas.photograph(stage.light, stage.rng),
        owner=canvas.owner,
        categories=tuple(segment.category_id for segment in canvas.segments),
        areas=tuple(areas),
        objects=objects,
        props=tuple(props),
        setting=setting,
        sky=stage.sky,
    )


def _seen(canvas: Canvas, segment: int, item: Item, area: int) -> SeenObject:
    """What is to be seen of a thing."""
    assert item.kind is not None
    assert item.color is not None
    y0, x0 = max(0, item.top), max(0, item.left)
    mask = canvas.owner[y0 : max(0, item.foot), x0 : max(0, item.left + item.width)] == segment
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (x0 + int(columns[0]), y0 + int(rows[0]), x0 + int(columns[-1]) + 1, y0 + int(rows[-1]) + 1)
    hidden = 1 - area / canvas.segments[segment].full
    return SeenObject(item.kind, item.color, item.place, segment, box, area, round(hidden, 4), item.depth)
