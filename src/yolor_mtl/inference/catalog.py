"""What the shipped networks are: tasks, learnable values and cost, without weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import product
from string import ascii_lowercase
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from yolor_mtl.build import Model, ModelConfig, build_model, model_config
from yolor_mtl.config import fill
from yolor_mtl.data.coco_stuff_classes import released_space
from yolor_mtl.models.blocks import EnlargingConv
from yolor_mtl.models.fuse import fuse
from yolor_mtl.models.implicit import ImplicitAdd, ImplicitMultiply
from yolor_mtl.records import LabelSpace
from yolor_mtl.tasks import TASKS

SIDE = 640
"""Side of the square picture that cost is told for."""


@dataclass(frozen=True)
class Description:
    """A network in numbers.

    Attributes:
        name: its name.
        tasks: the tasks it has.
        parameters: ``vision`` (trunk and heads of tasks that need no words), ``caption`` (the others), ``total``, and
            ``inference``, without what only training needs. Weights and biases, the fixed ones among them.
        gflops: 10^9 multiplications and additions of one 640 x 640 picture in the inference form, up to what the text
            decoder reads: words come one by one after it. Convolutions of doubled maps count as they are defined, as
            elsewhere; the inference form computes them with four ninths of that.
        heads: task -> its head's part of ``total``.
        variants: task -> form of its head -> its learnable values on this trunk, implicit knowledge apart.
    """

    name: str
    tasks: tuple[str, ...]
    parameters: dict[str, int]
    gflops: float
    heads: dict[str, int]
    variants: dict[str, dict[str, int]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"tasks": list(self.tasks)}


def describe(name: str) -> Description:
    """Counts a network with COCO's classes and as many words as its row allows; takes no memory for weights.

    Args:
        name: a shipped name, or a path that ends in ``.yaml``.

    Raises:
        UserError: there is no such network.
    """
    config = model_config(name)
    space = full_space(config)
    model = _without_memory(config, space)
    parts = model.parameters_by_part()
    caption = sum(count for task, count in parts.items() if task in TASKS and "vocabulary" in TASKS[task].needs)
    total = sum(parts.values())
    model.network.inference()
    inference = sum(model.parameters_by_part().values())
    fuse(model.network, kept=(EnlargingConv,))
    return Description(
        name,
        tuple(config.tasks),
        {"vision": total - caption, "caption": caption, "total": total, "inference": inference},
        _gflops(model.network),
        {task: count for task, count in parts.items() if task in TASKS},
        {task: _variants(task, config, space) for task in config.tasks if TASKS[task].variants},
    )


def full_space(config: ModelConfig) -> LabelSpace:
    """COCO's classes and made-up words, as many as fit the vocabulary."""
    space = released_space()
    for task, block in config.tasks.items():
        if (learn := TASKS[task].learn) is not None:
            words = ("".join(letters) for letters in product(ascii_lowercase, repeat=4))
            texts = (" ".join(next(words) for _ in range(10)) for _ in range(4000))
            space = learn(fill(TASKS[task].config, block or {}, where=task), space, texts)
    return space


def _without_memory(config: ModelConfig, space: LabelSpace, tasks: tuple[str, ...] = ()) -> Model:
    with torch.device("meta"):
        return build_model(config, space, tasks)


def _variants(task: str, config: ModelConfig, space: LabelSpace) -> dict[str, int]:
    counts: dict[str, int] = {}
    for form, changes in TASKS[task].variants.items():
        row = replace(config, tasks={task: {**(config.tasks[task] or {}), **changes}})
        model = _without_memory(row, space)
        counts[form] = _explicit(model.network.heads[task])
    return counts


def _explicit(head: nn.Module) -> int:
    """Learnable values that are no implicit knowledge."""
    implicit = (part for part in head.modules() if isinstance(part, ImplicitAdd | ImplicitMultiply))
    return _count(head) - sum(_count(part) for part in implicit)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _gflops(network: nn.Module) -> float:
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.inference_mode(), counter:
        network(torch.empty(1, 3, SIDE, SIDE))
    return float(counter.get_total_flops()) / 1e9
