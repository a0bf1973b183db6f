"""What the loader asks of a task: which labels it reads before geometry, and what it makes of them after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from yolor_mtl.records import Annotations, Sample, View


@dataclass(frozen=True)
class Columns:
    """What a task loads from the raw labels of one image, before any geometry.

    Attributes:
        objects: columns of the object table, N rows each; ``None`` where the task adds none.
        maps: per-pixel labels, each (L, H, W).
        texts: texts.
    """

    objects: dict[str, Tensor] | None = None
    maps: dict[str, Tensor] = field(default_factory=dict)
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)


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
