"""The settings of scenes: the backdrop, the scenery and the things that belong to each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from yolor_mtl.data.scenes import backdrops, rooms
from yolor_mtl.data.scenes.stage import Stage

SKY, WALL, TABLE = "sky-other-merged", "wall", "table-merged"
GRASS, PAVEMENT, ROAD, SNOW = "grass-merged", "pavement-merged", "road", "snow"
FLOOR = ("floor-wood", "floor-other-merged", "rug-merged")


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of thing that may appear.

    Attributes:
        kind: COCO's name.
        on: the surfaces it may be on; ``wall`` stands for every kind of wall.
        count: least and greatest number in one group.
        weight: how often it is chosen among the roles.
        near: least and greatest nearness (0 horizon, 1 the picture's lower border).
    """

    kind: str
    on: tuple[str, ...]
    count: tuple[int, int]
    weight: float = 1.0
    near: tuple[float, float] = (0.03, 1.06)


@dataclass(frozen=True, slots=True)
class PropRole:
    """A kind of scenery that may appear.

    Attributes:
        prop: its name in :func:`scenery.props` or :func:`rooms.room_props`.
        on: the surfaces it may stand on.
        count: least and greatest number.
        near: least and greatest nearness.
        row: stand side by side from border to border instead, each run at one nearness.
        chance: how often the role is used at all.
    """

    prop: str
    on: tuple[str, ...]
    count: tuple[int, int]
    near: tuple[float, float]
    row: bool = False
    chance: float = 1.0


@dataclass(frozen=True, slots=True)
class Setting:
    """A place where scenes happen.

    Attributes:
        name: its name.
        paint: paints the surfaces.
        roles: things, of which a few are chosen.
        props: scenery.
        phrases: how captions say where it is.
        scenes: how captions call the whole, with article.
        camera: least and greatest height of the eye, a person being 1.
        horizon: least and greatest height of the horizon in picture heights, from the top.
        indoors: no sky.
        weight: how often it is chosen.
    """

    name: str
    paint: Callable[[Stage], None]
    roles: tuple[Role, ...]
    props: tuple[PropRole, ...]
    phrases: tuple[str, ...]
    scenes: tuple[str, ...]
    camera: tuple[float, float] = (1.0, 1.9)
    horizon: tuple[float, float] = (0.32, 0.5)
    indoors: bool = False
    weight: float = 1.0


FLYING_BIRD = Role("bird", (SKY,), (1, 5), 0.7)
FLYING_PLANE = Role("airplane", (SKY,), (1, 2), 0.25)
FLYING_KITE = Role("kite", (SKY,), (1, 3), 0.3)


def _street() -> Setting:
    return Setting(
        "street",
        backdrops.street,
        (
            Role("car", (ROAD,), (1, 5), 4.0),
            Role("person", (PAVEMENT,), (1, 6), 4.0),
            Role("bus", (ROAD,), (1, 2), 1.6),
            Role("truck", (ROAD,), (1, 2), 1.4),
            Role("traffic light", (PAVEMENT,), (1, 4), 1.6),
            Role("stop sign", (PAVEMENT,), (1, 2), 1.0),
            Role("bench", (PAVEMENT,), (1, 3), 1.0),
            Role("potted plant", (PAVEMENT,), (1, 4), 0.9),
            Role("dog", (PAVEMENT,), (1, 2), 1.0),
            Role("cat", (PAVEMENT,), (1, 1), 0.5),
            Role("bird", (PAVEMENT,), (1, 5), 0.6),
            Role("umbrella", (PAVEMENT,), (1, 2), 0.3),
            FLYING_PLANE,
        ),
        (
            PropRole("building", (PAVEMENT,), (0, 0), (0.09, 0.14), row=True),
            PropRole("tree", (PAVEMENT,), (1, 4), (0.16, 0.3), chance=0.6),
            PropRole("bush", (PAVEMENT,), (1, 3), (0.8, 1.0), chance=0.35),
        ),
        ("in the city", "in town", "on a city street"),
        ("a city street", "a street in town"),
        weight=1.5,
    )


def _country() -> Setting:
    return Setting(
        "country",
        backdrops.country,
        (
            Role("car", (ROAD,), (1, 4), 3.0),
            Role("truck", (ROAD,), (1, 2), 1.6),
            Role("bus", (ROAD,), (1, 1), 1.2),
            Role("cow", (GRASS,), (2, 5), 1.6),
            Role("horse", (GRASS,), (1, 3), 1.2),
            Role("sheep", (GRASS,), (2, 6), 1.2),
            Role("person", (GRASS, ROAD), (1, 4), 2.0),
            Role("stop sign", (GRASS,), (1, 1), 0.7),
            Role("dog", (GRASS,), (1, 2), 0.7),
            FLYING_BIRD,
        ),
        (
            PropRole("house", (GRASS,), (1, 3), (0.08, 0.22), chance=0.6),
            PropRole("tree", (GRASS,), (2, 7), (0.06, 0.5), chance=0.85),
            PropRole("fence", (GRASS,), (0, 0), (0.7, 0.86), row=True, chance=0.3),
            PropRole("bush", (GRASS,), (1, 4), (0.3, 0.95), chance=0.6),
            PropRole("rock", (GRASS,), (1, 3), (0.4, 0.95), chance=0.3),
        ),
        ("in the countryside", "in the country"),
        ("a country road", "a road in the countryside"),
    )


def _park() -> Setting:
    return Setting(
        "park",
        backdrops.park,
        (
            Role("person", (GRASS, PAVEMENT, "gravel", "dirt-merged"), (1, 6), 4.0),
            Role("dog", (GRASS,), (1, 3), 2.0),
            Role("bench", (GRASS,), (1, 3), 1.8),
            Role("sports ball", (GRASS,), (1, 3), 1.5),
            Role("cat", (GRASS,), (1, 2), 0.8),
            Role("bird", (GRASS,), (2, 6), 1.2),
            Role("umbrella", (GRASS,), (1, 2), 0.8),
            Role("chair", (GRASS,), (1, 4), 0.6),
            Role("kite", (SKY,), (1, 4), 1.2),
            FLYING_BIRD,
        ),
        (
            PropRole("tree", (GRASS,), (3, 9), (0.05, 0.55)),
            PropRole("bush", (GRASS,), (1, 5), (0.2, 0.95), chance=0.8),
            PropRole("building", (GRASS,), (0, 0), (0.03, 0.05), row=True, chance=0.25),
            PropRole("fence", (GRASS,), (0, 0), (0.08, 0.3), row=True, chance=0.25),
        ),
        ("in a park", "in the park"),
        ("a park", "a green park"),
        weight=1.2,
    )


def _beach() -> Setting:
    return Setting(
        "beach",
        backdrops.beach,
        (
            Role("person", ("sand",), (1, 6), 4.0),
            Role("umbrella", ("sand",), (1, 5), 3.0),
            Role("chair", ("sand",), (1, 4), 1.4),
            Role("sports ball", ("sand",), (1, 3), 1.5),
            Role("boat", ("sea",), (1, 5), 2.4),
            Role("dog", ("sand",), (1, 2), 1.2),
            Role("bird", ("sand",), (1, 5), 0.8),
            FLYING_KITE,
            FLYING_BIRD,
            FLYING_PLANE,
        ),
        (
            PropRole("palm", ("sand",), (1, 4), (0.3, 0.7), chance=0.65),
            PropRole("rock", ("sand",), (1, 4), (0.35, 0.98), chance=0.5),
        ),
        ("at the beach", "on a beach", "by the sea"),
        ("a beach", "a sandy beach"),
        weight=1.3,
    )


def _farm() -> Setting:
    return Setting(
        "farm",
        backdrops.farm,
        (
            Role("cow", (GRASS,), (2, 7), 3.0),
            Role("sheep", (GRASS,), (2, 8), 3.0),
            Role("horse", (GRASS,), (1, 4), 2.4),
            Role("person", (GRASS, "dirt-merged"), (1, 3), 1.6),
            Role("dog", (GRASS, "dirt-merged"), (1, 2), 1.2),
            Role("cat", (GRASS, "dirt-merged"), (1, 1), 0.5),
            Role("truck", ("dirt-merged",), (1, 1), 0.9),
            Role("bird", (GRASS, "dirt-merged"), (2, 5), 0.8),
            FLYING_BIRD,
        ),
        (
            PropRole("house", (GRASS,), (1, 2), (0.1, 0.26), chance=0.7),
            PropRole("tree", (GRASS,), (1, 6), (0.05, 0.4), chance=0.8),
            PropRole("fence", (GRASS,), (0, 0), (0.16, 0.86), row=True, chance=0.7),
            PropRole("bush", (GRASS,), (1, 3), (0.2, 0.95), chance=0.4),
        ),
        ("on a farm", "in a meadow"),
        ("a farm", "a green meadow"),
        weight=1.2,
    )


def _winter() -> Setting:
    return Setting(
        "winter",
        backdrops.winter,
        (
            Role("person", (SNOW,), (1, 6), 4.0),
            Role("dog", (SNOW,), (1, 4), 2.0),
            Role("horse", (SNOW,), (1, 3), 1.2),
            Role("bird", (SNOW,), (1, 5), 1.2),
            Role("bench", (SNOW,), (1, 2), 1.0),
            Role("car", (ROAD,), (1, 4), 1.6),
            Role("bus", (ROAD,), (1, 1), 0.7),
            FLYING_BIRD,
        ),
        (
            PropRole("snowy pine", (SNOW,), (3, 10), (0.05, 0.6)),
            PropRole("house", (SNOW,), (1, 3), (0.08, 0.22), chance=0.45),
            PropRole("rock", (SNOW,), (1, 3), (0.3, 0.95), chance=0.4),
            PropRole("fence", (SNOW,), (0, 0), (0.6, 0.85), row=True, chance=0.25),
        ),
        ("in winter", "on a winter day"),
        ("a snowy landscape", "a winter landscape"),
    )


def _harbor() -> Setting:
    return Setting(
        "harbor",
        backdrops.harbor,
        (
            Role("boat", ("sea",), (2, 7), 5.0),
            Role("person", (PAVEMENT,), (1, 5), 3.0),
            Role("bird", (PAVEMENT,), (1, 5), 1.5),
            Role("bench", (PAVEMENT,), (1, 2), 1.2),
            Role("cat", (PAVEMENT,), (1, 2), 1.0),
            Role("dog", (PAVEMENT,), (1, 2), 1.0),
            Role("umbrella", (PAVEMENT,), (1, 2), 0.5),
            Role("chair", (PAVEMENT,), (1, 4), 0.6),
            FLYING_BIRD,
        ),
        (PropRole("rock", ("sea",), (1, 3), (0.05, 0.4), chance=0.4),),
        ("in a harbor", "by the sea", "at the harbor"),
        ("a harbor", "a small harbor"),
        camera=(1.4, 2.4),
    )


def _lake() -> Setting:
    return Setting(
        "lake",
        backdrops.lake,
        (
            Role("boat", ("river",), (1, 5), 3.5),
            Role("person", (GRASS,), (1, 4), 3.0),
            Role("bird", (GRASS,), (1, 5), 1.4),
            Role("bench", (GRASS,), (1, 2), 1.0),
            Role("dog", (GRASS,), (1, 2), 1.2),
            Role("horse", (GRASS,), (1, 2), 0.6),
            Role("chair", (GRASS,), (1, 3), 0.6),
            FLYING_BIRD,
        ),
        (
            PropRole("pine", (GRASS,), (4, 12), (0.03, 0.11)),
            PropRole("tree", (GRASS,), (1, 3), (0.55, 0.75), chance=0.4),
            PropRole("rock", (GRASS, "river"), (1, 4), (0.2, 0.95), chance=0.6),
            PropRole("bush", (GRASS,), (1, 4), (0.6, 1.0), chance=0.6),
        ),
        ("by a lake", "at a lake"),
        ("a lake", "a calm lake"),
        camera=(1.4, 2.4),
    )


def _playing_field() -> Setting:
    return Setting(
        "field",
        backdrops.playing_field,
        (
            Role("person", ("playingfield",), (2, 8), 5.0),
            Role("sports ball", ("playingfield",), (1, 4), 3.0),
            Role("dog", ("playingfield",), (1, 2), 0.8),
            Role("bench", (GRASS,), (1, 3), 0.8),
            Role("bird", ("playingfield",), (1, 4), 0.7),
            FLYING_BIRD,
            FLYING_KITE,
        ),
        (
            PropRole("tree", (GRASS,), (3, 9), (0.03, 0.11)),
            PropRole("building", (GRASS,), (0, 0), (0.03, 0.05), row=True, chance=0.3),
            PropRole("fence", (GRASS,), (0, 0), (0.1, 0.13), row=True, chance=0.6),
        ),
        ("on a playing field", "on a sports field"),
        ("a playing field", "a sports field"),
    )


def _airport() -> Setting:
    return Setting(
        "airport",
        backdrops.airport,
        (
            Role("airplane", (ROAD,), (1, 3), 5.0, (0.2, 0.9)),
            Role("truck", (ROAD,), (1, 3), 1.6),
            Role("bus", (ROAD,), (1, 2), 1.4),
            Role("person", (GRASS, ROAD), (1, 4), 2.0),
            Role("car", (ROAD,), (1, 3), 1.4),
            FLYING_PLANE,
            FLYING_BIRD,
        ),
        (
            PropRole("building", (GRASS,), (1, 4), (0.08, 0.14), chance=0.8),
            PropRole("tree", (GRASS,), (2, 7), (0.05, 0.12), chance=0.6),
            PropRole("fence", (GRASS,), (0, 0), (0.12, 0.15), row=True, chance=0.3),
            PropRole("bush", (GRASS,), (1, 3), (0.9, 1.0), chance=0.3),
        ),
        ("at an airport", "on an airfield"),
        ("an airport", "an airfield"),
        camera=(1.6, 2.8),
        weight=0.8,
    )


def _railway() -> Setting:
    return Setting(
        "railway",
        backdrops.railway,
        (
            Role("train", ("railroad",), (1, 1), 5.0),
            Role("person", ("platform",), (1, 5), 3.0),
            Role("bench", ("platform",), (1, 2), 1.6),
            Role("dog", ("platform",), (1, 2), 1.0),
            Role("bird", ("platform",), (1, 4), 1.0),
            Role("potted plant", ("platform",), (1, 3), 0.9),
            Role("traffic light", (GRASS,), (1, 2), 0.8),
            Role("sheep", (GRASS,), (2, 4), 0.6),
            Role("cow", (GRASS,), (1, 4), 0.6),
            Role("cat", ("platform",), (1, 1), 0.6),
            FLYING_BIRD,
        ),
        (
            PropRole("house", (GRASS,), (1, 4), (0.08, 0.26), chance=0.6),
            PropRole("tree", (GRASS,), (2, 8), (0.05, 0.28), chance=0.85),
            PropRole("fence", (GRASS,), (0, 0), (0.24, 0.29), row=True, chance=0.4),
        ),
        ("at a railway station", "by the railroad"),
        ("a railway station", "a small railway station"),
        camera=(1.3, 2.0),
    )


def _living_room() -> Setting:
    return Setting(
        "room",
        rooms.living_room,
        (
            Role("person", FLOOR, (1, 3), 2.6),
            Role("chair", FLOOR, (1, 5), 3.0),
            Role("cat", FLOOR, (1, 3), 2.0),
            Role("dog", FLOOR, (1, 2), 1.6),
            Role("potted plant", FLOOR, (1, 4), 2.0),
            Role("sports ball", FLOOR, (1, 4), 1.2),
            Role("clock", (WALL,), (1, 1), 1.6),
            Role("cup", (TABLE,), (1, 4), 2.0),
            Role("apple", (TABLE,), (1, 5), 1.5),
            Role("orange", (TABLE,), (1, 4), 1.2),
            Role("banana", (TABLE,), (1, 3), 1.2),
        ),
        (
            PropRole("window", (WALL,), (1, 2), (0.0, 0.0), chance=0.7),
            PropRole("table", FLOOR, (1, 1), (0.5, 0.86), chance=0.85),
        ),
        ("in a room", "in a living room", "indoors"),
        ("a room", "a living room"),
        camera=(1.05, 1.4),
        horizon=(0.3, 0.36),
        indoors=True,
        weight=1.5,
    )


def _table_top() -> Setting:
    return Setting(
        "table",
        rooms.table_top,
        (
            Role("cup", (TABLE,), (1, 6), 3.0),
            Role("apple", (TABLE,), (1, 7), 3.0),
            Role("orange", (TABLE,), (1, 6), 2.6),
            Role("banana", (TABLE,), (1, 4), 2.4),
            Role("potted plant", (TABLE,), (1, 2), 1.4),
            Role("clock", (WALL,), (1, 1), 1.2),
            Role("sports ball", (TABLE,), (1, 2), 0.5),
            Role("cat", (TABLE,), (1, 1), 0.6),
        ),
        (PropRole("window", (WALL,), (1, 1), (0.0, 0.0), chance=0.35),),
        ("in a kitchen", "in a room"),
        ("a table",),
        camera=(0.75, 1.3),
        horizon=(0.06, 0.16),
        indoors=True,
        weight=1.2,
    )


def settings() -> tuple[Setting, ...]:
    """Every setting."""
    makers = (
        _street,
        _country,
        _park,
        _beach,
        _farm,
        _winter,
        _harbor,
        _lake,
        _playing_field,
        _airport,
        _railway,
        _living_room,
        _table_top,
    )
    return tuple(make() for make in makers)
