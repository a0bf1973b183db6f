"""What a runtime is, and how one is made of exported graphs."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from yolor_mtl.records import Outputs

IMAGES = "images"
"""Name of the vision graph's one input."""


class Runtime(Protocol):
    """Pictures to raw outputs.

    Attributes:
        device: where pictures go and outputs are.
        half: whether it computes in short numbers.
    """

    device: torch.device
    half: bool

    def __call__(self, images: Tensor) -> Mapping[str, Outputs]:
        """Letterboxed pictures (B, 3, H, W) uint8 to task -> outputs by name; H and W multiples of the network's."""
        ...


class Graph(Protocol):
    """An exported graph that can be run."""

    def __call__(self, inputs: Mapping[str, Tensor], wanted: Collection[str] = ()) -> Outputs:
        """Outputs by name, on the CPU.

        Args:
            inputs: tensors by name; those that the graph does not read are left aside.
            wanted: outputs to work out; all by default.
        """
        ...


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Without the remarks of libraries on their own inner affairs; what goes wrong is raised all the same.

    Args:
        names: their loggers.
    """
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class GraphRuntime:
    """A vision graph as a runtime; its outputs are named ``<task>.<output>``.

    Args:
        graph: the graph.
        tasks: tasks whose outputs are wanted.
        outputs: names of all outputs.
        half: whether the graph computes in short numbers.
    """

    def __init__(self, graph: Graph, tasks: Collection[str], outputs: Collection[str], half: bool) -> None:
        self.device = torch.device("cpu")
        self.half = half
        self._graph = graph
        self._wanted = {name: tuple(name.split(".", 1)) for name in outputs if name.split(".", 1)[0] in tasks}

    def __call__(self, images: Tensor) -> Mapping[str, Outputs]:
        """Letterboxed pictures (B, 3, H, W) uint8 to task -> outputs by name."""
        found: dict[str, Outputs] = {}
        for name, value in self._graph({IMAGES: images}, self._wanted).items():
            task, output = self._wanted[name]
            found.setdefault(task, {})[output] = value
        return found
