"""A tiny network of all tasks, and a joint batch for it: shared by the tests of models and tasks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import tv_tensors

from yolor_mtl.config import fill
from yolor_mtl.models.implicit import ImplicitAdd, ImplicitMultiply
from yolor_mtl.models.network import Network
from yolor_mtl.models.trunks import Trunk, build_trunk
from yolor_mtl.records import Annotations, Category, LabelSpace, Sample
from yolor_mtl.tasks import TASKS
from yolor_mtl.tasks.base import Task, ordered
from yolor_mtl.tasks.captioning.tokenizer import CaptionTokenizer

CAPTIONS = ("a dog runs on the grass", "a cat sits on a red chair", "two people ride bikes")
HEIGHT, WIDTH = 64, 96
TRUNK: dict[str, Any] = {"kind": "elan", "width": 0.25, "stem": [[64, 2], [128, 2]]}
BLOCKS: dict[str, dict[str, Any]] = {
    "detection": {"box_width": 16, "class_width": 16, "depth": 1},
    "instance": {"prototypes": 8, "proto_width": 16, "width": 16, "depth": 1},
    "semantic": {},
    "captioning": {"width": 32, "layers": 2, "heads": 4, "feed_forward": 64, "max_tokens": 12},
    "panoptic": {},
}


@cache
def tokenizer() -> CaptionTokenizer:
    """Words of the captions above."""
    return CaptionTokenizer.train(CAPTIONS * 3, 200)


@cache
def space() -> LabelSpace:
    """Three things, two kinds of stuff, and words."""
    things = (Category(1, "dog"), Category(2, "cat"), Category(3, "bike"))
    stuff = (Category(4, "grass", isthing=False), Category(5, "sky", isthing=False))
    return LabelSpace(things, things + stuff, "panoptic-5", tokenizer().to_json())


def build(blocks: Mapping[str, Mapping[str, Any]] | None = None) -> tuple[list[Task], Network]:
    """The tasks named in ``blocks`` (all by default) and their network; ``blocks`` overlays :data:`BLOCKS`."""
    blocks = BLOCKS if blocks is None else blocks
    configs = {
        name: fill(TASKS[name].config, BLOCKS[name], block, where=f"tasks.{name}") for name, block in blocks.items()
    }
    demand = [feature for name, config in configs.items() for feature in TASKS[name].features(config)]
    trunk = build_trunk(TRUNK, demand)
    tasks = ordered(TASKS[name].build(config, space(), trunk.feature_info) for name, config in configs.items())
    heads = {task.name: task.head for task in tasks if task.head is not None}
    network = Network(trunk, heads, {t.name: t.features for t in tasks}, {t.name: t.reads for t in tasks})
    return tasks, network


def images(batch: int = 2, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    """(batch, 3, *size) uint8 noise."""
    return torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8)


def boxes_table(rows: list[list[tuple[float, ...]]], crowd: set[tuple[int, int]] | None = None) -> dict[str, Tensor]:
    """Detection's targets from rows of boxes; class = place of the box modulo 3; ``crowd`` holds (row, place)."""
    number = max(map(len, rows))
    table = {
        "boxes": torch.zeros(len(rows), number, 4),
        "classes": torch.zeros(len(rows), number, dtype=torch.int64),
        "valid": torch.zeros(len(rows), number, dtype=torch.bool),
        "crowd": torch.zeros(len(rows), number, dtype=torch.bool),
    }
    for row, boxes in enumerate(rows):
        for place, box in enumerate(boxes):
            table["boxes"][row, place] = torch.tensor(box)
            table["classes"][row, place] = place % 3
            is_crowd = (row, place) in (crowd or set())
            table["crowd"][row, place], table["valid"][row, place] = is_crowd, not is_crowd
    return table


def targets(size: tuple[int, int] = (HEIGHT, WIDTH)) -> dict[str, dict[str, Tensor]]:
    """Targets of two images of ``size`` for every task that trains, masks and maps at stride 4."""
    cells = (size[0] // 4, size[1] // 4)
    tokens = tokenizer().encode_batch(CAPTIONS, 12)
    return {
        "detection": boxes_table([[(5.0, 5, 40, 40)], [(10.0, 10, 60, 50), (30.0, 5, 90, 60)]]),
        "instance": {
            "masks": torch.randint(0, 2, (3, *cells), dtype=torch.uint8),
            "mask_index": torch.tensor([[0, -1], [1, 2]]),
        },
        "semantic": {"maps": torch.randint(0, 5, (2, 1, *cells), dtype=torch.uint8)},
        "captioning": {"tokens": tokens, "image": torch.tensor([0, 0, 1])},
    }


def randomise(network: nn.Module) -> None:
    """Gives norms and implicit knowledge values that training could have given, far from their starting ones."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
            elif isinstance(module, (ImplicitAdd, ImplicitMultiply)):
                module.value.normal_(1 if isinstance(module, ImplicitMultiply) else 0, 0.5)


def annotations(**labels: Any) -> Annotations:
    """Raw labels of a picture of HEIGHT x WIDTH pixels."""
    return Annotations(1, Path("picture.jpg"), HEIGHT, WIDTH, **labels)


def sample(view: Any = "vision", **labels: Any) -> Sample:
    """A black picture of HEIGHT x WIDTH pixels with labels."""
    return Sample(tv_tensors.Image(torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)), view, **labels)


def check_shapes(trunk: Trunk) -> None:
    """Every feature has the channels and the stride that the trunk says."""
    found = trunk(torch.rand(2, 3, 96, 64))
    assert {name: tuple(x.shape) for name, x in found.items()} == {
        name: (2, info.channels, 96 // info.stride, 64 // info.stride) for name, info in trunk.feature_info.items()
    }


def check_all_used(trunk: Trunk) -> None:
    """Every parameter has a gradient from the features."""
    torch.stack([x.sum() for x in trunk(torch.rand(2, 3, 64, 64)).values()]).sum().backward()
    assert [name for name, parameter in trunk.named_parameters() if parameter.grad is None] == []
