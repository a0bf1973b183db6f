"""A model's semantic classes in the words of a data set: by hand, and COCO's own lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yolor_mtl.data.class_translation import translation
from yolor_mtl.data.coco import open_coco
from yolor_mtl.data.coco_stuff_classes import PANOPTIC_MERGES, coco_stuff_classes, released_space
from yolor_mtl.records import IGNORE, Category, LabelSpace, UserError

STUFF = LabelSpace(released_space().things, coco_stuff_classes(), "coco-stuff-171")
LEFT = (
    *("cloth", "clothes", "furniture-other", "ground-other", "metal", "plant-other", "plastic", "solid-other"),
    *("structural-other", "textile-other", "waterdrops", "wood"),
)
"""What COCO's panoptic labels dropped of COCO-Stuff (specification of the released networks, section 5.4)."""


def semantic(*names: str, things: int = 1) -> LabelSpace:
    return LabelSpace(
        semantic=tuple(Category(number, name, number < things) for number, name in enumerate(names)),
        semantic_protocol=f"own-{len(names)}",
    )


@pytest.fixture(scope="module")
def panoptic(shared: Path) -> LabelSpace:
    """COCO's own 133 classes."""
    root = shared / "coco_sample"
    if not root.is_dir():
        pytest.skip(f"{root} is absent: the real COCO sample lives there")
    return open_coco(root, ["val2017"], cache=False).space


def test_by_hand() -> None:
    model, data = (
        semantic("cat", "hill", "river", "mountain", "wood"),
        semantic("cat", "river", "mountain-merged", "sea"),
    )
    words = translation(model, data)
    assert words is not None
    assert words.places == (0, 2, 1, 2, -1)
    assert words.without_place == ("wood",)
    assert words.never_said == ("sea",)
    told = words.apply(np.array([[0, 1, 2], [3, 4, IGNORE], [5, 200, 0]], np.uint8))
    assert told.tolist() == [[0, 2, 1], [2, IGNORE, IGNORE], [IGNORE, IGNORE, 0]]
    assert told.dtype == np.uint8


def test_released_classes_on_panoptic_labels(panoptic: LabelSpace) -> None:
    words = translation(released_space(), panoptic)
    assert words is not None
    assert words.without_place == (*LEFT, "other", "unlabeled")
    assert words.never_said == ()
    assert words.places[:80] == tuple(range(80))
    said = {
        name: panoptic.semantic_names[place]
        for name, place in zip(released_space().semantic_names, words.places, strict=True)
        if place >= 0
    }
    renamed = {name: whole for name, whole in said.items() if name != whole}
    assert renamed == {name: whole for whole, parts in PANOPTIC_MERGES.items() for name in parts}
    assert words.protocol()["semantic/answers"].startswith("coco-stuff-173")


def test_released_classes_on_coco_stuff() -> None:
    words = translation(released_space(), STUFF)
    assert words is not None
    assert words.places == (*range(171), -1, -1)
    assert (words.without_place, words.never_said) == (("other", "unlabeled"), ())


def test_between_cocos_two_lists(panoptic: LabelSpace) -> None:
    there, back = translation(STUFF, panoptic), translation(panoptic, STUFF)
    assert there is not None
    assert back is not None
    assert (there.without_place, there.never_said) == (LEFT, ())
    assert set(back.without_place) == set(PANOPTIC_MERGES)  # a merged class could be any of several
    parts = {name for names in PANOPTIC_MERGES.values() for name in names}
    assert set(back.never_said) == {*parts, *LEFT}


def test_nothing_to_translate(panoptic: LabelSpace) -> None:
    assert translation(panoptic, panoptic) is None
    assert translation(panoptic, LabelSpace()) is None
    assert translation(LabelSpace(), panoptic) is None


def test_classes_that_coco_does_not_name_are_refused() -> None:
    with pytest.raises(UserError, match=r"semantic classes, the model 2, and they differ \(for example 'lawn'\)"):
        translation(semantic("cat", "grass"), semantic("cat", "lawn"))
    with pytest.raises(UserError, match="another order"):
        translation(semantic("cat", "lawn"), semantic("lawn", "cat"))
