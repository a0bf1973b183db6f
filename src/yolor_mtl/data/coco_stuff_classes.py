"""COCO's own class lists: COCO-Stuff's 171, how its panoptic labels merge them, and the 173 of the released networks.

Sources: the COCO-Stuff paper (Caesar et al., CVPR 2018) and its published label list; COCO's panoptic category list.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from yolor_mtl.records import Category, LabelSpace

FIRST_STUFF_ID = 92
"""Ids below it are things."""

STUFF_OTHER = Category(183, "other", isthing=False, supercategory="other")
"""In COCO's stuff files: every pixel of a thing. A class of the released networks, never one to score."""

UNLABELED = Category(0, "unlabeled", isthing=False)
"""The released networks' last class."""

_UNUSED_IDS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91})

PANOPTIC_MERGES: Mapping[str, tuple[str, ...]] = {
    "tree-merged": ("branch", "bush", "leaves", "tree"),
    "fence-merged": ("cage", "fence", "railing"),
    "ceiling-merged": ("ceiling-other", "ceiling-tile"),
    "sky-other-merged": ("clouds", "fog", "sky-other"),
    "cabinet-merged": ("cabinet", "cupboard"),
    "table-merged": ("desk-stuff", "table"),
    "floor-other-merged": ("floor-marble", "floor-other", "floor-tile"),
    "pavement-merged": ("floor-stone", "pavement"),
    "mountain-merged": ("hill", "mountain"),
    "grass-merged": ("grass", "moss", "straw"),
    "dirt-merged": ("dirt", "mud"),
    "paper-merged": ("napkin", "paper"),
    "food-other-merged": ("food-other", "salad", "vegetable"),
    "building-other-merged": ("building-other", "skyscraper"),
    "rock-merged": ("rock", "stone"),
    "wall-other-merged": ("wall-concrete", "wall-other", "wall-panel"),
    "rug-merged": ("carpet", "mat", "rug"),
}
"""Stuff class of COCO's panoptic labels -> the COCO-Stuff classes that became it."""


@cache
def coco_stuff_classes() -> tuple[Category, ...]:
    """COCO-Stuff's 171 classes by id: COCO's 80 things and 91 kinds of stuff, in COCO's 12 + 15 supercategories."""
    lines = resources.files("yolor_mtl.data").joinpath("coco_stuff.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.partition("\t") for line in lines]
    return tuple(
        Category(number, name, isthing=number < FIRST_STUFF_ID, supercategory=group)
        for number, (name, _, group) in enumerate(rows, start=1)
        if number not in _UNUSED_IDS
    )


def released_space() -> LabelSpace:
    """Classes of the authors' released networks, without a vocabulary.

    ``things`` are COCO's 80; ``semantic`` has 173 classes: the 80 things, the 91 kinds of stuff, ``other`` and
    ``unlabeled``.
    """
    known = coco_stuff_classes()
    things = tuple(category for category in known if category.isthing)
    return LabelSpace(things, (*known, STUFF_OTHER, UNLABELED), "coco-stuff-173")


def supercategory(category: Category) -> str:
    """The data's own word for the group, else COCO's for a class of that name; empty where neither has one."""
    return category.supercategory or _groups().get(category.name, "")


@cache
def _groups() -> Mapping[str, str]:
    """Supercategory by name. A merged class is in the group of the class that it is named after, as COCO has it."""
    groups = {entry.name: entry.supercategory for entry in (*coco_stuff_classes(), STUFF_OTHER)}
    merged = {
        whole: groups.get(whole.removesuffix("-merged"), groups[parts[0]]) for whole, parts in PANOPTIC_MERGES.items()
    }
    return groups | merged
