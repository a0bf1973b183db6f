"""From modules to exported programs, whose sizes may vary and are written down as formulas."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from yolor_mtl.inference.backends.base import IMAGES, quiet
from yolor_mtl.inference.exported import Port
from yolor_mtl.models.network import Network
from yolor_mtl.records import Outputs
from yolor_mtl.tasks.parts import Part

MOST_CELLS = 1024
"""Greatest side of the picture in the trunk's coarsest cells."""


@dataclass(frozen=True)
class Traced:
    """A program, and what goes in and out, by name and in order."""

    program: ExportedProgram
    inputs: dict[str, Port]
    outputs: dict[str, Port]


class VisionGraph(nn.Module):
    """``images`` (B, 3, H, W) uint8 to all raw outputs, named ``<task>.<output>``.

    Args:
        network: in its inference form.
        tasks: tasks whose outputs are wanted.
    """

    def __init__(self, network: Network, tasks: Collection[str]) -> None:
        super().__init__()
        self.network = network
        self.tasks = tuple(task for task in network.heads if task in tasks)

    def forward(self, inputs: Mapping[str, Tensor]) -> Outputs:
        """Letterboxed pictures to raw outputs."""
        outputs = self.network(inputs[IMAGES], self.tasks)
        return {f"{task}.{name}": value for task in self.tasks for name, value in outputs[task].items()}


def trace_vision(network: Network, tasks: Collection[str], images: Tensor) -> Traced:
    """The network as a program for any number of pictures of any size that it can take.

    Args:
        network: in its inference form, on the CPU.
        tasks: tasks whose outputs are wanted.
        images: an example (B, 3, H, W) uint8, B at least 2, H and W at least two coarsest cells and unequal.
    """
    multiple = network.trunk.multiple
    rows, columns = (Dim(name, min=1, max=MOST_CELLS) for name in ("rows", "columns"))
    sizes: dict[int, Any] = {0: Dim.DYNAMIC, 2: multiple * rows, 3: multiple * columns}
    return _traced(
        VisionGraph(network, tasks),
        {IMAGES: images},
        {IMAGES: sizes},
        {IMAGES: {0: "batch", 2: "height", 3: "width"}},
    )


def trace_part(part: Part) -> Traced:
    """A part of a head as a program; its axes are of any size."""
    dynamic = {name: dict.fromkeys(part.axes.get(name, {}), Dim.DYNAMIC) for name in part.example}
    return _traced(part.module, part.example, dynamic, part.axes)


def _traced(
    module: nn.Module,
    example: Mapping[str, Tensor],
    dynamic: Mapping[str, Mapping[int, Any]],
    words: Mapping[str, Mapping[int, str]],
) -> Traced:
    module = module.eval()
    with torch.no_grad(), quiet("torch"):
        outputs = list(module(dict(example)))
        program = torch.export.export(module, (dict(example),), dynamic_shapes=(dict(dynamic),), strict=False)
    values = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    given = dict(zip(example, (values[name] for name in program.graph_signature.user_inputs), strict=True))
    made = dict(zip(outputs, (values[name] for name in program.graph_signature.user_outputs), strict=True))
    formulas = _formulas(given, words)
    return Traced(
        program,
        {name: _port(value, formulas) for name, value in given.items()},
        {name: _port(value, formulas) for name, value in made.items()},
    )


def _formulas(given: Mapping[str, Any], words: Mapping[str, Mapping[int, str]]) -> dict[Any, Any]:
    """The program's symbols as formulas of the words for its inputs' sizes."""
    formulas: dict[Any, Any] = {}
    for name, axes in words.items():
        for axis, word in axes.items():
            size = _expression(given[name].shape[axis])
            for symbol in size.free_symbols - set(formulas):
                formulas[symbol] = type(symbol)(word) / size.coeff(symbol)  # a size is a symbol, or a multiple of one
    return formulas


def _expression(size: Any) -> Any:
    """What torch knows of a size that varies, in sympy's terms."""
    return size.node.expr


def _port(value: Tensor, formulas: Mapping[Any, Any]) -> Port:
    """Sizes as numbers, or as formulas in words."""
    shape: list[int | str] = []
    sizes: tuple[Any, ...] = value.shape
    for size in sizes:
        if isinstance(size, int):
            shape.append(size)
        else:
            shape.append(str(_expression(size).subs(formulas)).replace("Min", "min"))
    return Port(shape, str(value.dtype).removeprefix("torch."))
