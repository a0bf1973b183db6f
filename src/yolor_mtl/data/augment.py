"""What augmentation may do: an operation says which meanings of a label it breaks, a task on which of them it relies.

The paper's rule (PAPER, section 3, augmentation): an operation may be used for a task only if that task's labels still
describe the result. A pipeline that breaks a label is refused by these declarations, before the first step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from yolor_mtl.config import nearest
from yolor_mtl.records import UserError


class Meaning(StrEnum):
    """What labels can mean, and an operation can make untrue."""

    WHOLE = "the label speaks of all that is in the picture"
    COLOURS = "the label names colours"
    ONE_CLASS = "the label knows one class a pixel"
    TIGHT = "the label is a box that fits"


@dataclass
class AugmentConfig:
    """An augmentation pipeline: ``augment`` is the vision view's (strong), ``weak`` the language view's.

    Attributes:
        mosaic: probability that four pictures share a frame.
        mixup: probability that two such frames are blended.
        copy_paste: probability that things with a mask are pasted in from another picture's frame, mirrored by chance.
        scale: size jitter, a factor in 1 - scale .. 1 + scale; what grows beyond the frame is cut.
        place: whether a picture that leaves room in its frame lies anywhere in it; otherwise in the middle.
        rotate: greatest turn to either side, degrees.
        shear: greatest shear in x and in y, degrees.
        erase: probability that a rectangle is greyed out.
        flip: probability of mirroring; "left" and "right" change places in English texts.
        hue: jitter as a share of the colour circle.
        saturation: jitter, a factor in 1 - x .. 1 + x.
        brightness: the same.
        grey: probability that the colours are taken away.
        blur: probability of a slight blur.
        close: share of the training's end without mosaic, mixup and copy-paste.
        untrue: tasks that may train on labels that an operation breaks: for measuring what that costs.
    """

    mosaic: float = 1.0
    mixup: float = 0.0
    copy_paste: float = 0.0
    scale: float = 0.5
    place: bool = True
    rotate: float = 0.0
    shear: float = 0.0
    erase: float = 0.0
    flip: float = 0.5
    hue: float = 0.015
    saturation: float = 0.6
    brightness: float = 0.4
    grey: float = 0.0
    blur: float = 0.0
    close: float = 0.15
    untrue: list[str] = field(default_factory=list)


def weak() -> AugmentConfig:
    """All of the picture, in the middle of its frame, and nothing else."""
    still: dict[str, Any] = dict.fromkeys(OPERATIONS, 0.0)
    return AugmentConfig(**still, place=False)


def is_still(config: AugmentConfig) -> bool:
    """Whether a pipeline gives the same frame for a picture every time, the letterboxed one."""
    return not config.place and not any(getattr(config, name) for name in OPERATIONS)


@dataclass(frozen=True)
class Operation:
    """A row of :data:`OPERATIONS`.

    Attributes:
        does: what happens to the picture, for messages.
        breaks: meanings that do not survive it.
        up_to: the greatest strength that breaks nothing after all.
        most: the greatest strength there is.
    """

    does: str
    breaks: frozenset[Meaning] = frozenset()
    up_to: float = 0.0
    most: float = 1.0


OPERATIONS: Mapping[str, Operation] = {
    "mosaic": Operation("four pictures share a frame, each cut", frozenset({Meaning.WHOLE})),
    "mixup": Operation("two pictures shine through each other", frozenset({Meaning.WHOLE, Meaning.ONE_CLASS})),
    "copy_paste": Operation("things of another picture are pasted in", frozenset({Meaning.WHOLE})),
    "scale": Operation("what grows beyond the frame is cut", frozenset({Meaning.WHOLE}), most=0.95),
    # The box around a turned box is too wide; up to these angles by less than the overlap that a match needs.
    "rotate": Operation("the picture is turned", frozenset({Meaning.TIGHT}), up_to=15.0, most=180.0),
    "shear": Operation("the picture is sheared", frozenset({Meaning.TIGHT}), up_to=10.0, most=60.0),
    "erase": Operation("a part of the picture is greyed out", frozenset({Meaning.WHOLE})),
    "flip": Operation("left and right change places, in texts too"),
    # A red car is red after a twentieth of the way to orange, and after losing a third of its redness.
    "hue": Operation("colours become others", frozenset({Meaning.COLOURS}), up_to=0.02, most=0.5),
    "saturation": Operation("colours fade", frozenset({Meaning.COLOURS}), up_to=0.35),
    "brightness": Operation("colours darken", frozenset({Meaning.COLOURS}), up_to=0.4),
    "grey": Operation("colours are taken away", frozenset({Meaning.COLOURS})),
    "blur": Operation("the picture is blurred"),
}
"""Key of :class:`AugmentConfig` -> what the operation does to pictures and to what labels say of them."""


def check_strengths(config: AugmentConfig, key: str) -> None:
    """Refuses strengths that no operation has.

    Args:
        config: the pipeline.
        key: its name in the configuration, for the message.

    Raises:
        UserError: names the key and the range.
    """
    for name, operation in OPERATIONS.items():
        strength = getattr(config, name)
        if not 0 <= strength <= operation.most:
            raise UserError(f"{key}.{name}={strength} must lie between 0 and {operation.most:g}")
    if not 0 <= config.close <= 1:
        raise UserError(f"{key}.close={config.close} must lie between 0 and 1")


def check_meaning(config: AugmentConfig, key: str, relies: Mapping[str, Mapping[Meaning, str]]) -> None:
    """Refuses a pipeline that makes labels untrue.

    Args:
        config: the pipeline.
        key: its name in the configuration, for the message.
        relies: task -> meaning that its labels rely on -> the remedy where it is broken; of the tasks that the
            pipeline serves.

    Raises:
        UserError: names the operation, the task, why and the remedy; or a task in ``untrue`` that is not served.
    """
    if strange := set(config.untrue) - set(relies):
        name = min(strange)
        raise UserError(f"{key}.untrue: {name!r} does not train on this view{nearest(name, relies)}")
    for task, meanings in relies.items():
        for name, operation in OPERATIONS.items():
            broken = sorted(operation.breaks & set(meanings))
            if broken and getattr(config, name) > operation.up_to and task not in config.untrue:
                limit = f"at most {operation.up_to:g}" if operation.up_to else "0"
                raise UserError(
                    f"{key}.{name}={getattr(config, name):g} breaks the labels of {task}: {operation.does}, and "
                    f"{broken[0]}; set it to {limit}, or {meanings[broken[0]]}"
                )
