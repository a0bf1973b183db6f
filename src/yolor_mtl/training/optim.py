"""The optimiser: which parameters decay and how fast each part learns."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from yolor_mtl.training.config import TrainConfig


def parameter_groups(network: nn.Module, config: TrainConfig, text_heads: Collection[str]) -> list[dict[str, object]]:
    """Groups by weight decay and learning rate; empty ones left out.

    Matrices and kernels decay; norms, biases, positions and YOLOR's implicit values, all of them vectors, do not.

    Args:
        network: trunk and heads.
        config: ``lr``, ``text_lr``, ``weight_decay``.
        text_heads: heads whose learning rate ``text_lr`` scales.

    Returns:
        Groups with ``params``, ``lr``, ``base_lr`` and ``weight_decay``.
    """
    prefixes = tuple(f"heads.{name}." for name in text_heads)
    members: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        text = bool(prefixes) and name.startswith(prefixes)
        decays = sum(side > 1 for side in parameter.shape) > 1
        members.setdefault((text, decays), []).append(parameter)
    groups: list[dict[str, object]] = []
    for (text, decays), parameters in members.items():
        rate = config.lr * (config.text_lr if text else 1.0)
        decay = config.weight_decay if decays else 0.0
        groups.append({"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay})
    return groups


def adamw(network: nn.Module, config: TrainConfig, text_heads: Collection[str]) -> AdamW:
    """AdamW over :func:`parameter_groups`."""
    return AdamW(parameter_groups(network, config, text_heads), lr=config.lr, betas=(0.9, 0.999), fused=True)


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets every group's learning rate to its own base times ``factor``."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
