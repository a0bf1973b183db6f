"""The optimiser: which parameters decay and how fast each part learns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from yolor_mtl.training.config import TrainConfig


def parameter_groups(
    network: nn.Module, config: TrainConfig, text_heads: Collection[str], further: Iterable[Tensor] = ()
) -> list[dict[str, object]]:
    """Groups by weight decay and learning rate; empty ones left out.

    Matrices and kernels decay; norms, biases, positions and YOLOR's implicit values, all of them vectors, do not.

    Args:
        network: trunk and heads.
        config: ``lr``, ``text_lr``, ``weight_decay``.
        text_heads: heads whose learning rate ``text_lr`` scales.
        further: parameters outside the network, which learn at ``lr`` and do not decay.

    Returns:
        Groups with ``params``, ``lr``, ``base_lr`` and ``weight_decay``.
    """
    prefixes = tuple(f"heads.{name}." for name in text_heads)
    members: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        text = bool(prefixes) and name.startswith(prefixes)
        decays = sum(side > 1 for side in parameter.shape) > 1
        members.setdefault((text, decays), []).append(parameter)
    if others := list(further):
        members.setdefault((False, False), []).extend(others)
    groups: list[dict[str, object]] = []
    for (text, decays), parameters in members.items():
        rate = config.lr * (config.text_lr if text else 1.0)
        decay = config.weight_decay if decays else 0.0
        groups.append({"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay})
    return groups


def adamw(
    network: nn.Module, config: TrainConfig, text_heads: Collection[str], further: Iterable[Tensor] = ()
) -> AdamW:
    """AdamW over :func:`parameter_groups`."""
    groups = parameter_groups(network, config, text_heads, further)
    return AdamW(groups, lr=config.lr, betas=(0.9, 0.999), fused=True)


def sgd(network: nn.Module, config: TrainConfig, text_heads: Collection[str], further: Iterable[Tensor] = ()) -> SGD:
    """Gradient descent with Nesterov's momentum, ``config.momentum``, over :func:`parameter_groups`."""
    groups = parameter_groups(network, config, text_heads, further)
    # Nesterov's step without momentum is the plain one, and torch refuses to be told to make it.
    return SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


OPTIMIZERS: Mapping[str, Callable[[nn.Module, TrainConfig, Collection[str], Iterable[Tensor]], Optimizer]] = {
    "adamw": adamw,
    "sgd": sgd,
}
"""Optimisers by the word in ``optimizer=``."""


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets every group's learning rate to its own base times ``factor``."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
