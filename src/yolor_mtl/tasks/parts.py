"""Parts of a head that decoding runs by themselves, as often as it needs: an export makes each a graph of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from yolor_mtl.records import Outputs
from yolor_mtl.tasks.base import Decode

Call = Callable[[Mapping[str, Tensor]], Outputs]
"""Named tensors to named tensors: a part of a head, or an exported graph that does the same."""


@dataclass(frozen=True)
class Part:
    """What a part does, and what it may be asked.

    Attributes:
        module: ``forward(inputs)`` from named tensors to named tensors.
        example: inputs, as a run would have them.
        axes: input -> axis -> a word for its size, which may be any; all other sizes are those of the example.
    """

    module: nn.Module
    example: Mapping[str, Tensor]
    axes: Mapping[str, Mapping[int, str]]


@runtime_checkable
class Parted(Decode, Protocol):
    """A decoder that runs parts of its head by themselves."""

    def parts(self, out: Outputs) -> dict[str, Part]:
        """The parts by the names that their graphs get.

        Args:
            out: the head's outputs for two pictures or more, which examples are made of.
        """
        ...

    def over(self, parts: Mapping[str, Call]) -> Decode:
        """The same decoder over other makes of its parts."""
        ...
