"""What may truthfully be said of a scene: groups of things, where they are, and how they lie to each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from yolor_mtl.data.scenes.painting import Scene, SeenObject
from yolor_mtl.data.scenes.settings import SKY, WALL
from yolor_mtl.data.scenes.stuff import STUFF_IDS
from yolor_mtl.data.scenes.things import Kind

LEAST_AREA, MOST_HIDDEN = 110, 0.6
"""A thing counts as clearly seen from so many pixels (long side 480) on, and if not more of it is hidden."""

MOST_COUNTED = 8
"""Larger groups are not counted in captions."""


@dataclass(frozen=True, slots=True)
class Group:
    """All annotated things of one kind, or all of one kind and colour.

    Attributes:
        kind: the kind.
        color: their colour, where a caption shall name it; then no other thing of the kind has it.
        members: the things.
        counted: all are clearly seen and few enough, so that a caption may count them.
    """

    kind: Kind
    color: str | None
    members: tuple[SeenObject, ...]
    counted: bool

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.members)

    @property
    def place(self) -> str | None:
        """The surface that all of them are on, if it is one."""
        places = {member.place for member in self.members}
        return places.pop() if len(places) == 1 else None

    def disjoint(self, other: Group) -> bool:
        """Whether a caption may name both without counting anything twice."""
        return not set(self.members) & set(other.members)


def find_groups(scene: Scene) -> list[Group]:
    """Groups that captions may name, the most striking first."""
    scale = (480 / max(scene.owner.shape)) ** 2
    found: list[Group] = []
    for members, color in _classes(scene):
        clear = [o.area * scale >= LEAST_AREA and o.occluded <= MOST_HIDDEN for o in members]
        counted = all(clear) and len(members) <= MOST_COUNTED
        # Uncounted, "several" still needs three that anybody can see.
        if counted or sum(clear) >= 3:
            found.append(Group(members[0].kind, color, members, counted))
    return sorted(found, key=_salience, reverse=True)


def _classes(scene: Scene) -> Iterator[tuple[tuple[SeenObject, ...], str | None]]:
    """Things of each kind, with their colour if they share it, then those of each colour."""
    kinds = {thing.kind.id: thing.kind for thing in scene.objects}
    for kind in kinds.values():
        members = tuple(o for o in scene.objects if o.kind.id == kind.id)
        colors = sorted({o.color for o in members}) if kind.colored else []
        yield members, colors[0] if len(colors) == 1 else None
        if len(colors) > 1:
            for color in colors:
                yield tuple(o for o in members if o.color == color), color


def _salience(group: Group) -> float:
    """Large and unhidden things strike the eye; a name for all of a kind is better than for a part of it."""
    seen = sum(math.sqrt(o.area * (1 - o.occluded)) for o in group.members)
    whole = 1.0 if group.color is not None else 0.9
    return seen / math.pow(group.count, 0.4) * whole * (1.25 if group.counted else 0.7)


def relation(first: Group, second: Group) -> str | None:
    """How the first lies to the second, as a phrase that holds for every member; ``None`` if nothing does."""
    pairs = [(a, b) for a in first.members for b in second.members]
    if _standing(first, second):
        if all(_before(a, b) for a, b in pairs):
            return "in front of"
        if all(_before(b, a) for a, b in pairs):
            return "behind"
        if all(_beside(a, b) for a, b in pairs):
            return "next to"
    elif all(a.box[3] <= b.box[1] and _shared(a, b) > 0 for a, b in pairs):
        return "above"
    if all(a.box[2] <= b.box[0] + 0.1 * (b.box[2] - b.box[0]) for a, b in pairs):
        return "to the left of"
    if all(a.box[0] >= b.box[2] - 0.1 * (b.box[2] - b.box[0]) for a, b in pairs):
        return "to the right of"
    return None


def _standing(first: Group, second: Group) -> bool:
    return not any(o.place in (SKY, WALL) for o in (*first.members, *second.members))


def _shared(a: SeenObject, b: SeenObject) -> float:
    """Overlap sideways, as a share of the narrower one; negative for a gap."""
    overlap = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    return overlap / min(a.box[2] - a.box[0], b.box[2] - b.box[0])


def _before(a: SeenObject, b: SeenObject) -> bool:
    """Whether the first is nearer and in the line of sight to the second."""
    touch = min(a.box[3], b.box[3]) > max(a.box[1], b.box[1])
    return a.depth > b.depth and touch and _shared(a, b) >= 0.3 and b.occluded > 0.02


def _beside(a: SeenObject, b: SeenObject) -> bool:
    """Whether they stand side by side: equally far away, with a small gap or a slight overlap."""
    tall = max(a.box[3] - a.box[1], b.box[3] - b.box[1])
    gap = max(a.box[0], b.box[0]) - min(a.box[2], b.box[2])
    return abs(a.box[3] - b.box[3]) < 0.25 * tall and -0.15 * tall < gap < 0.6 * tall


def backdrop(scene: Scene, depth: float) -> list[str]:
    """Scenery that lies behind a depth, as noun phrases."""
    nouns = {
        "tree": ("a tree", "trees"),
        "pine": ("a pine tree", "pine trees"),
        "snowy pine": ("a snowy tree", "snowy trees"),
        "palm": ("a palm tree", "palm trees"),
        "house": ("a house", "houses"),
        "building": ("a building", "buildings"),
    }
    total = scene.owner.size
    phrases = []
    if scene.area_of(STUFF_IDS["mountain-merged"]) > 0.012 * total:
        phrases.append("mountains")
    for name, (one, several) in nouns.items():
        depths = [prop.depth for prop in scene.props if prop.name == name]
        if depths and max(depths) < depth:
            phrases.append(one if len(depths) == 1 else several)
    return phrases
