"""The kinds of things: COCO's id and name, how one is drawn, how tall it stands and which colours it may have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from yolor_mtl.data.scenes import animals, figures, vehicles
from yolor_mtl.data.scenes.palette import Rgb
from yolor_mtl.data.scenes.pen import Pen

Draw = Callable[[Pen, Rgb, np.random.Generator], None]

VIVID = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
COATS = ("white", "black", "gray", "brown")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing.

    Attributes:
        id: COCO's category id.
        name: COCO's category name.
        supercategory: COCO's group.
        draw: draws it with a pen, in the given main colour.
        height: how tall it stands, a person being 1.
        aspect: least and greatest width over height.
        colors: names of the colours it may have.
        noun: what captions call one of them.
        plural: what captions call several.
        colored: whether captions may name the colour (not where every one has the same).
        tilt: greatest angle it may be turned by, in degrees.
        mirrored: whether it may be drawn facing left (letters may not).
    """

    id: int
    name: str
    supercategory: str
    draw: Draw
    height: float
    aspect: tuple[float, float]
    colors: tuple[str, ...]
    noun: str
    plural: str
    colored: bool = True
    tilt: float = 0.0
    mirrored: bool = True


THINGS: tuple[Kind, ...] = (
    Kind(1, "person", "person", figures.person, 1.0, (0.44, 0.48), (*VIVID, "black", "gray"), "person", "people"),
    Kind(3, "car", "vehicle", vehicles.car, 0.80, (1.95, 2.35), (*VIVID[:5], "white", "black", "gray"), "car", "cars"),
    Kind(
        5,
        "airplane",
        "vehicle",
        vehicles.airplane,
        1.0,
        (2.1, 2.5),
        ("white", "red", "blue", "yellow", "gray"),
        "airplane",
        "airplanes",
        tilt=12,
    ),
    Kind(
        6,
        "bus",
        "vehicle",
        vehicles.bus,
        1.35,
        (2.1, 2.7),
        ("red", "yellow", "blue", "green", "orange", "white"),
        "bus",
        "buses",
    ),
    Kind(
        7,
        "train",
        "vehicle",
        vehicles.train,
        1.45,
        (3.8, 5.2),
        ("red", "blue", "green", "yellow", "white", "orange"),
        "train",
        "trains",
    ),
    Kind(
        8,
        "truck",
        "vehicle",
        vehicles.truck,
        1.25,
        (1.9, 2.3),
        ("red", "blue", "green", "yellow", "white", "orange"),
        "truck",
        "trucks",
    ),
    Kind(
        9,
        "boat",
        "vehicle",
        vehicles.boat,
        1.2,
        (1.0, 1.3),
        ("red", "blue", "green", "white", "yellow", "brown"),
        "boat",
        "boats",
    ),
    Kind(
        10,
        "traffic light",
        "outdoor",
        figures.traffic_light,
        1.55,
        (0.25, 0.25),
        ("red", "yellow", "green"),
        "traffic light",
        "traffic lights",
        colored=False,
    ),
    Kind(
        13,
        "stop sign",
        "outdoor",
        figures.stop_sign,
        1.2,
        (0.42, 0.46),
        ("red",),
        "stop sign",
        "stop signs",
        colored=False,
        mirrored=False,
    ),
    Kind(
        15,
        "bench",
        "outdoor",
        figures.bench,
        0.55,
        (2.0, 2.6),
        ("brown", "green", "gray", "red", "blue"),
        "bench",
        "benches",
    ),
    Kind(
        16,
        "bird",
        "animal",
        animals.bird,
        0.26,
        (1.1, 1.3),
        ("white", "black", "red", "blue", "yellow", "gray", "brown"),
        "bird",
        "birds",
    ),
    Kind(
        17,
        "cat",
        "animal",
        animals.cat,
        0.46,
        (0.95, 1.1),
        ("orange", "black", "white", "gray", "brown"),
        "cat",
        "cats",
    ),
    Kind(
        18, "dog", "animal", animals.dog, 0.52, (1.2, 1.4), ("brown", "black", "white", "gray", "orange"), "dog", "dogs"
    ),
    Kind(19, "horse", "animal", animals.horse, 1.15, (1.15, 1.3), COATS, "horse", "horses"),
    Kind(
        20,
        "sheep",
        "animal",
        animals.sheep,
        0.55,
        (1.15, 1.3),
        ("white", "white", "black", "gray", "brown"),
        "sheep",
        "sheep",
    ),
    Kind(21, "cow", "animal", animals.cow, 0.85, (1.4, 1.6), ("brown", "black", "white"), "cow", "cows"),
    Kind(
        28,
        "umbrella",
        "accessory",
        figures.umbrella,
        1.15,
        (1.05, 1.35),
        ("red", "yellow", "blue", "green", "purple", "pink", "orange"),
        "umbrella",
        "umbrellas",
        tilt=10,
    ),
    Kind(
        37,
        "sports ball",
        "sports",
        figures.ball,
        0.27,
        (1.0, 1.0),
        ("red", "yellow", "blue", "green", "orange", "white", "purple"),
        "ball",
        "balls",
        tilt=45,
    ),
    Kind(
        38,
        "kite",
        "sports",
        figures.kite,
        0.75,
        (0.5, 0.62),
        ("red", "yellow", "blue", "green", "orange", "purple", "pink"),
        "kite",
        "kites",
        tilt=35,
    ),
    Kind(
        47,
        "cup",
        "kitchen",
        figures.cup,
        0.30,
        (1.05, 1.25),
        ("red", "yellow", "blue", "green", "white", "purple", "black"),
        "cup",
        "cups",
    ),
    Kind(
        52, "banana", "food", figures.banana, 0.24, (1.6, 2.0), ("yellow",), "banana", "bananas", colored=False, tilt=20
    ),
    Kind(53, "apple", "food", figures.apple, 0.22, (1.0, 1.08), ("red", "green", "yellow"), "apple", "apples", tilt=12),
    Kind(
        55, "orange", "food", figures.orange, 0.22, (1.0, 1.0), ("orange",), "orange", "oranges", colored=False, tilt=40
    ),
    Kind(
        62,
        "chair",
        "furniture",
        figures.chair,
        0.85,
        (0.66, 0.76),
        ("brown", "red", "blue", "green", "white", "yellow", "black"),
        "chair",
        "chairs",
    ),
    Kind(
        64,
        "potted plant",
        "furniture",
        figures.potted_plant,
        0.75,
        (0.65, 0.85),
        ("green",),
        "potted plant",
        "potted plants",
        colored=False,
    ),
    Kind(
        85,
        "clock",
        "indoor",
        figures.clock,
        0.42,
        (1.0, 1.0),
        ("red", "blue", "black", "brown", "green", "yellow"),
        "clock",
        "clocks",
    ),
)
"""Every kind of thing that the scenes hold, by COCO's id."""


def kinds_by_name() -> dict[str, Kind]:
    """The kinds by COCO's name."""
    return {kind.name: kind for kind in THINGS}
