"""Records that stand for what a pickle names: none of them can do anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from yolor_mtl.upstream.archive import shown


class OddError(Exception):
    """Why a pickle is refused."""


@dataclass(frozen=True, eq=False, slots=True)
class Named:
    """A class or function that is asked for, by its name only."""

    module: str
    name: str

    @property
    def path(self) -> tuple[str, str]:
        """Module and name."""
        return self.module, self.name

    def __str__(self) -> str:
        return shown(f"{self.module}.{self.name}")


@dataclass(frozen=True, eq=False, slots=True)
class Inert:
    """Stands for an object of any class; ``state`` holds what its attributes would have been."""

    kind: Named
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class Opaque:
    """Something that is understood and of no use, such as a NumPy number."""


@dataclass(frozen=True, eq=False, slots=True)
class Storage:
    """Numbers that lie beside the pickle.

    Attributes:
        dtype: their type.
        key: their name in the archive.
        numel: how many there are.
    """

    dtype: torch.dtype
    key: str
    numel: int


@dataclass(frozen=True, eq=False, slots=True)
class TensorRecord:
    """A view of a storage, not checked: ``offset``, ``size`` and ``stride`` count elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
