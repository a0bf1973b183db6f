"""Places things and scenery on a stage: where they may stand, how large they look there, who hides whom."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from yolor_mtl.data.scenes import animals, vehicles
from yolor_mtl.data.scenes.palette import COLORS, Rgb, jitter, pick
from yolor_mtl.data.scenes.pen import Pen, Sprite, finish
from yolor_mtl.data.scenes.rooms import TABLE_TOP, room_props
from yolor_mtl.data.scenes.scenery import Prop, props, tone
from yolor_mtl.data.scenes.settings import SKY, TABLE, WALL, PropRole, Role, Setting
from yolor_mtl.data.scenes.stage import Stage
from yolor_mtl.data.scenes.stuff import STUFF_IDS
from yolor_mtl.data.scenes.things import Draw, Kind, kinds_by_name

WALLS = ("wall-other-merged", "wall-brick", "wall-tile")
TRIES = 24
PARKED = 1.9
"""Airliners on the ground: their height says how they fly, small in the distance."""
CLUSTERED = 0.55
"""Share of things that are placed beside or behind something else, so that they overlap."""


@dataclass(slots=True)
class Item:
    """Something placed: a thing, or a piece of scenery (``kind`` is ``None``).

    Attributes:
        kind: its kind.
        color: name of its colour.
        prop: its kind of scenery, for things ``None``.
        name: name of the kind of thing or scenery.
        place: the surface it is on.
        sprite: the drawing.
        left: column of the drawing's left edge.
        top: row of its upper edge.
        depth: greater is nearer.
        grounded: stands on a ground and throws a shadow there.
    """

    kind: Kind | None
    color: str | None
    prop: Prop | None
    name: str
    place: str
    sprite: Sprite
    left: int
    top: int
    depth: float
    grounded: bool

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.sprite.alpha.shape[0])

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.sprite.alpha.shape[1])

    @property
    def foot(self) -> int:
        """The row below its lowest."""
        return self.top + self.height


@dataclass(frozen=True, slots=True)
class Spot:
    """A place for something: the middle of its foot, its height in pixels, its depth and the surface."""

    x: float
    foot: float
    height: float
    depth: float
    place: str


class Placer:
    """Fills a stage.

    Args:
        stage: the stage, its surfaces painted.
        setting: says what belongs there.
    """

    def __init__(self, stage: Stage, setting: Setting) -> None:
        self.items: list[Item] = []
        self._stage = stage
        self._setting = setting
        self._rng = stage.rng
        self._kinds = kinds_by_name()
        self._names = {stage.canvas.stuff(number): name for name, number in self._present().items()}
        self._table_is_ground = TABLE in self._names.values()

    def _present(self) -> dict[str, int]:
        used = {segment.category_id for segment in self._stage.canvas.segments}
        return {name: number for name, number in STUFF_IDS.items() if number in used}

    def furnish(self) -> None:
        """Place the scenery."""
        known = props() | room_props()
        for role in self._setting.props:
            if self._rng.random() >= role.chance:
                continue
            prop = known[role.prop]
            if role.row:
                self._row_of(role, prop)
                continue
            for _ in range(int(self._rng.integers(role.count[0], role.count[1] + 1))):
                self._one_prop(role, prop)

    def _row_of(self, role: PropRole, prop: Prop) -> None:
        """Scenery side by side, from border to border or to a gap."""
        stage, rng = self._stage, self._rng
        foot = stage.row(float(rng.uniform(*role.near)))
        x, end = -0.1 * stage.canvas.width, stage.canvas.width * 1.05
        if prop.category == "fence-merged" and rng.random() < 0.5:
            x, end = (x, end * float(rng.uniform(0.4, 0.7))) if rng.random() < 0.5 else (end * 0.4, end)
        color = tone(rng, prop, stage.light.haze, 0.1)
        steady = float(rng.uniform(*prop.height))
        fence, style = prop.category == "fence-merged", int(rng.integers(2**32))
        while x < end:
            height = stage.unit(foot) * (steady if fence else float(rng.uniform(*prop.height)))
            aspect = float(rng.uniform(*prop.aspect))
            width = height * aspect
            spot = Spot(x + width / 2, foot, height, foot, role.on[0])
            # A run of fence stops where the ground is another: nobody fences a road.
            if not fence or self._surface(x + width / 2, foot) in role.on:
                self._draw_prop(role.prop, prop, spot, aspect, (color, np.random.default_rng(style)) if fence else None)
            x += width * (1.0 if fence else float(rng.uniform(0.98, 1.12)))

    def _one_prop(self, role: PropRole, prop: Prop) -> None:
        for _ in range(TRIES):
            spot = self._free_spot(role.on, role.near, float(self._rng.uniform(*prop.height)))
            aspect = float(self._rng.uniform(*prop.aspect))
            if spot is None or not self._fits(spot, spot.height * aspect, role.on):
                continue
            self._draw_prop(role.prop, prop, spot, aspect, None)
            return

    def _draw_prop(
        self, name: str, prop: Prop, spot: Spot, aspect: float, steady: tuple[Rgb, np.random.Generator] | None
    ) -> None:
        """Draw a piece of scenery; ``steady`` is a run's colour and the chance that each of its pieces begins with."""
        main, rng = steady or (tone(self._rng, prop, self._stage.light.haze, 0.06), self._rng)
        sprite = self._sprite(prop.draw, main, spot, aspect, 0.0, mirrored=steady is None, rng=rng)
        self._add(name, None, None, prop, spot, sprite)

    def cast(self) -> None:
        """Choose roles and place their things."""
        roles = [role for role in self._setting.roles if self._playable(role)]
        chosen = min(len(roles), int(self._rng.integers(3, 6)))
        weights = np.array([role.weight for role in roles])
        order = self._rng.choice(len(roles), chosen, replace=False, p=weights / weights.sum())
        for place in order.tolist():
            self._group(roles[place])

    def _playable(self, role: Role) -> bool:
        """Whether a surface for it is in the picture."""
        here = set(self._names.values()) | ({WALL} if self._setting.indoors else set())
        if any(item.prop is not None and item.prop.category == TABLE for item in self.items):
            here.add(TABLE)
        return not here.isdisjoint(role.on)

    def _group(self, role: Role) -> None:
        kind = self._kinds[role.kind]
        same = pick(self._rng, kind.colors) if self._rng.random() < 0.6 else None
        for _ in range(int(self._rng.integers(role.count[0], role.count[1] + 1))):
            color = same or pick(self._rng, kind.colors)
            for _ in range(TRIES):
                if self._place(kind, role, color):
                    break

    def _place(self, kind: Kind, role: Role, color: str) -> bool:
        """Try one spot for a thing."""
        rng = self._rng
        size = kind.height * float(rng.uniform(0.9, 1.1))
        if kind.name == "person" and rng.random() < 0.2:
            size *= 0.65
        if kind.name == "airplane" and SKY not in role.on:
            size *= PARKED
        aspect = float(rng.uniform(*kind.aspect))
        beside = [item for item in self.items if item.grounded and not self._raised(item.place)]
        if beside and role.on[0] not in (SKY, WALL) and not self._raised(role.on[0]) and rng.random() < CLUSTERED:
            spot: Spot | None = self._spot_beside(pick(rng, beside), role, size, aspect)
        else:
            spot = self._free_spot(role.on, role.near, size)
        if spot is None or not self._fits(spot, spot.height * aspect, role.on):
            return False
        if spot.place not in (SKY, WALL) and not self._raised(spot.place):
            spot = replace(spot, place=self._surface(spot.x, spot.foot))
        draw, tilt = _pose(kind, spot.place)
        tilt *= float(rng.uniform(-1, 1))
        # Whites and blacks stay white and black; other colours vary within their name.
        main = jitter(rng, COLORS[color], 0.05)
        sprite = self._sprite(draw, main, spot, aspect, tilt, mirrored=kind.mirrored, rng=rng)
        self._add(kind.name, kind, color, None, spot, sprite)
        return True

    def _add(
        self, name: str, kind: Kind | None, color: str | None, prop: Prop | None, spot: Spot, sprite: Sprite
    ) -> None:
        height, width = sprite.alpha.shape
        left, top = round(spot.x - width / 2), round(spot.foot) - height
        grounded = spot.place not in (SKY, WALL)
        self.items.append(Item(kind, color, prop, name, spot.place, sprite, left, top, spot.depth, grounded))

    def _sprite(
        self,
        draw: Draw,
        main: Rgb,
        spot: Spot,
        aspect: float,
        tilt: float,
        *,
        mirrored: bool,
        rng: np.random.Generator,
    ) -> Sprite:
        stage = self._stage
        height = max(5.0, spot.height)
        pen = Pen(aspect, height, 4 if height < 24 else 3 if height < 110 else 2)
        draw(pen, main, rng)
        near = (spot.depth - stage.horizon) / stage.depth
        far = 0.0 if stage.sky is None else max(0.0, 0.32 - 0.8 * near)
        far = 0.1 if spot.place == SKY else far
        return finish(pen, stage.light, self._rng, flip=mirrored and self._rng.random() < 0.5, tilt=tilt, haze=far)

    def _free_spot(self, on: tuple[str, ...], near: tuple[float, float], size: float) -> Spot | None:
        """A spot anywhere on the surfaces for something ``size`` persons tall; ``None`` where there is no table."""
        stage, rng = self._stage, self._rng
        if on[0] == SKY:
            height = size * stage.canvas.height * float(rng.uniform(0.09, 0.25))
            foot = float(rng.uniform(0.12, 0.8)) * stage.horizon + height / 2
            x = float(rng.uniform(0.05, 0.95)) * stage.canvas.width
            return Spot(x, foot, height, stage.horizon - 1 + foot / stage.canvas.height, SKY)
        if on[0] == WALL:
            return self._wall_spot(size)
        if self._raised(on[0]):
            return self._table_spot(size)
        foot = stage.row(float(rng.uniform(*near)))
        x = float(rng.uniform(0.02, 0.98)) * stage.canvas.width
        return Spot(x, foot, stage.unit(foot) * size, foot, on[0])

    def _wall_spot(self, size: float) -> Spot:
        """On the wall, well above the floor."""
        stage = self._stage
        inside = [number for number, name in self._names.items() if name in WALLS]
        rows = np.flatnonzero((stage.grounds[:, stage.canvas.width // 2, None] == inside).any(axis=1))
        corner = float(rows.max())
        height = size * stage.unit(corner)
        foot = max(height + 4, corner - stage.unit(corner) * float(self._rng.uniform(0.5, 0.8)))
        x = float(self._rng.uniform(0.1, 0.9)) * stage.canvas.width
        return Spot(x, foot, height, stage.horizon - 2 + (size < 0.6), WALL)

    def _table_spot(self, size: float) -> Spot | None:
        """On top of a table that stands in the room."""
        tables = [item for item in self.items if item.prop is not None and item.prop.category == TABLE]
        if not tables:
            return None
        table = tables[0]
        back = float(self._rng.uniform(*TABLE_TOP))
        x = table.left + table.width * float(self._rng.uniform(0.1, 0.9))
        unit = self._stage.unit(table.depth)
        # Nearer on the table's top is nearer to the eye, but nothing on it is behind the table.
        return Spot(x, table.top + back * table.height, unit * size, table.depth + 0.1 + back, TABLE)

    def _spot_beside(self, other: Item, role: Role, size: float, aspect: float) -> Spot:
        """A spot a little behind, before or beside something."""
        stage, rng = self._stage, self._rng
        step = float(rng.uniform(0.1, 0.45)) * other.height * (0.6 if other.height > 120 else 1.0)
        foot = other.foot + (step if rng.random() < 0.4 else -step)
        height = stage.unit(foot) * size
        reach = (other.width + height * aspect) / 2
        x = other.left + other.width / 2 + float(rng.uniform(-1, 1)) * reach
        return Spot(x, foot, height, foot, role.on[0])

    def _surface(self, x: float, foot: float) -> str:
        """Name of the ground at a place."""
        grounds = self._stage.grounds
        row = min(grounds.shape[0] - 1, max(0, round(foot) - 1))
        column = min(grounds.shape[1] - 1, max(0, round(x)))
        return self._names.get(int(grounds[row, column]), "")

    def _fits(self, spot: Spot, width: float, on: tuple[str, ...]) -> bool:
        """Whether something that wide may be there."""
        canvas = self._stage.canvas
        left, right = spot.x - width / 2, spot.x + width / 2
        inside = min(right, canvas.width) - max(left, 0)
        if inside < 0.7 * width or spot.height < 6 or spot.height > 0.78 * canvas.height or width > 0.9 * canvas.width:
            return False
        if spot.foot - spot.height < -0.15 * spot.height or spot.foot > canvas.height + 0.12 * spot.height:
            return False
        if spot.place in (SKY, WALL):
            return self._clear(spot, width)
        stands = self._raised(spot.place) or all(self._surface(x, spot.foot) in on for x in (left, spot.x, right))
        return stands and self._apart(spot, width)

    def _raised(self, place: str) -> bool:
        """Whether a place is the top of a table that stands in the room."""
        return place == TABLE and not self._table_is_ground

    def _apart(self, spot: Spot, width: float) -> bool:
        """Whether no two stand in each other: what overlaps sideways keeps its distance in depth."""
        for item in self.items:
            if not item.grounded or self._raised(item.place) != self._raised(spot.place):
                continue
            shared = min(spot.x + width / 2, item.left + item.width) - max(spot.x - width / 2, item.left)
            gap = abs(item.foot - spot.foot) / min(item.height, spot.height)
            if shared > 0.12 * min(width, item.width) and gap < 0.09:
                return False
        return True

    def _clear(self, spot: Spot, width: float) -> bool:
        """Whether the air or the wall is free there."""
        left, right, top = spot.x - width / 2 - 3, spot.x + width / 2 + 3, spot.foot - spot.height - 3
        return not any(
            item.place == spot.place
            and item.left < right
            and item.left + item.width > left
            and item.top < spot.foot + 3
            and item.foot > top
            for item in self.items
        )


def _pose(kind: Kind, place: str) -> tuple[Draw, float]:
    """How a kind is drawn there, and the greatest angle it may be turned by."""
    if kind.name == "bird" and place == SKY:
        return animals.flying_bird, kind.tilt
    if kind.name == "airplane" and place != SKY:
        return vehicles.parked_airplane, 0.0
    return kind.draw, kind.tilt
