"""From a model's semantic classes to a data set's, by name, so that one can be scored on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolor_mtl.data.coco_stuff_classes import PANOPTIC_MERGES, released_space
from yolor_mtl.records import IGNORE, LabelSpace, UserError


@dataclass(frozen=True)
class Translation:
    """What each semantic class of a model is called by a data set.

    Attributes:
        answers: the model's class set, by the name of its protocol.
        places: for each of the model's classes, in order, the data's class, or -1 where it has no such class.
        without_place: names of the model's classes of -1; in a score their pixels are pixels without an answer.
        never_said: names of the data's classes that no class of the model becomes; they score 0 where they occur.
    """

    answers: str
    places: tuple[int, ...]
    without_place: tuple[str, ...]
    never_said: tuple[str, ...]

    def apply(self, classes: np.ndarray) -> np.ndarray:
        """The data's classes (H, W) uint8 of a map (H, W) uint8 of the model's; :data:`IGNORE` for no class."""
        table = np.full(256, IGNORE, dtype=np.uint8)
        table[: len(self.places)] = [IGNORE if place < 0 else place for place in self.places]
        return np.asarray(table[classes])

    def protocol(self) -> dict[str, Any]:
        """What an evaluation says about it."""
        return {
            "semantic/answers": f"{self.answers}, translated by name and by COCO's panoptic merges",
            "semantic/model classes without a place in the data": list(self.without_place),
            "semantic/data classes that the model cannot say": list(self.never_said),
        }


def translation(model: LabelSpace, data: LabelSpace) -> Translation | None:
    """How a model's semantic classes are those of a data set.

    A class becomes the one of its name, or what COCO's panoptic labels merged it into. The way back, from a merged
    class to one of several, does not exist: such a class has no place.

    Returns:
        ``None`` where they are the same ones in the same order, or one of the two has none.

    Raises:
        UserError: they differ, and are not all classes that COCO names.
    """
    own, theirs = model.semantic_names, data.semantic_names
    if own == theirs or not own or not theirs:
        return None
    if not set(own + theirs) <= _known_names():
        check_names("semantic", own, theirs)
    index = {name: place for place, name in enumerate(theirs)}
    merged = {name: whole for whole, parts in PANOPTIC_MERGES.items() for name in parts}
    places = tuple(index.get(name, index.get(merged.get(name, ""), -1)) for name in own)
    return Translation(
        answers=model.semantic_protocol,
        places=places,
        without_place=tuple(name for name, place in zip(own, places, strict=True) if place < 0),
        never_said=tuple(name for place, name in enumerate(theirs) if place not in places),
    )


def check_names(kind: str, own: Sequence[str], theirs: Sequence[str]) -> None:
    """Refuses classes that are other ones, or stand in another order; one side without classes passes.

    Args:
        kind: what the classes are of, for the message.
        own: the model's names.
        theirs: the data's.

    Raises:
        UserError: names the first difference.
    """
    if own and theirs and tuple(own) != tuple(theirs):
        extra = [name for name in theirs if name not in own] or [name for name in own if name not in theirs]
        detail = f"for example {extra[0]!r}" if extra else "they are the same names in another order"
        raise UserError(
            f"the data has {len(theirs)} {kind} classes, the model {len(own)}, and they differ ({detail}); "
            "use data with the classes it was trained on, or train anew"
        )


def _known_names() -> frozenset[str]:
    return frozenset(released_space().semantic_names) | frozenset(PANOPTIC_MERGES)
