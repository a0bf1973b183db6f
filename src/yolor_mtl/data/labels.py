"""What the loader asks of a task: which labels it reads before geometry, and what it makes of them after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor

from yolor_mtl.records import Annotations, ObjectLabel, Sample, View


@dataclass(frozen=True)
class Columns:
    """What a task loads from the raw labels of one image, before any geometry.

    Attributes:
        objects: columns of the object table, N rows each, tensors or masks as crops; ``None`` where the task adds none.
        maps: per-pixel labels, each (L, H, W).
        texts: texts.
    """

    objects: dict[str, Any] | None = None
    maps: dict[str, Tensor] = field(default_factory=dict)
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)


def trainable(annotations: Annotations) -> Annotations:
    """The labels as training takes them.

    Boxes end at the picture's edge, and objects of which nothing is in it are left out, as if the file did not have
    them. Scoring takes the labels as the files state them: what was published is measured on those.
    """
    if annotations.objects is None:
        return annotations
    objects: list[ObjectLabel] = []
    for item in annotations.objects:
        box = clipped_box(item.xyxy, annotations.height, annotations.width)
        if box is not None:
            objects.append(item if box == item.xyxy else replace(item, xyxy=box))
    has_masks = all(item.segmentation is not None for item in objects)
    return replace(annotations, objects=tuple(objects), has_masks=has_masks)


def clipped_box(
    xyxy: tuple[float, float, float, float], height: int, width: int
) -> tuple[float, float, float, float] | None:
    """The part of a box inside the picture, xyxy in pixels, or ``None`` where nothing of it is."""
    x1, x2 = (min(max(x, 0.0), float(width)) for x in xyxy[::2])
    y1, y2 = (min(max(y, 0.0), float(height)) for y in xyxy[1::2])
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


class Labels(Protocol):
    """A task's labels: loaded before geometry, turned into targets after it."""

    view: View

    def labelled(self, annotations: Annotations) -> bool:
        """Whether the image is labelled for this task (absence is never a negative)."""
        ...

    def columns(self, annotations: Annotations) -> Columns:
        """Loads the labels in the original frame; called for labelled images only."""
        ...

    def usable(self, sample: Sample) -> bool:
        """Whether this sample, after geometry, trains the task."""
        ...

    def targets(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Targets of R usable samples of one size, as named tensors."""
        ...

    def part(self, targets: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
        """Targets of some of the R samples: what :meth:`targets` gives for these, up to padding.

        Args:
            targets: what :meth:`targets` gave.
            rows: (P,) int64, ascending.
        """
        ...


def by_row(targets: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """:meth:`Labels.part` of targets with a row a sample."""
    return {name: value.index_select(0, rows) for name, value in targets.items()}
