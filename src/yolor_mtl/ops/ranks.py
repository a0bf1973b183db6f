"""Several processes as one: who am I, and what have the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """This process among those that work together.

    Attributes:
        rank: its number.
        world: how many there are.
        local: how many of them on this machine.
        nodes: number of machines.
    """

    rank: int = 0
    world: int = 1
    local: int = 1
    nodes: int = 1


def place() -> Place:
    """What ``torchrun`` or SLURM's ``srun`` say in the environment; one process on one machine without them.

    Of SLURM only a step of ``srun`` counts: a batch script that starts a single process has been granted several tasks,
    and waiting for the others would never end.
    """
    env = os.environ
    if "WORLD_SIZE" in env:
        numbers = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE")
    elif "SLURM_STEP_NUM_TASKS" in env:
        numbers = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "", "SLURM_STEP_NUM_NODES")
    else:
        return Place()
    rank, world, local, nodes = (int(env.get(name, "0")) for name in numbers)
    nodes = max(nodes, 1)
    return Place(rank, world, local or max(1, world // nodes), nodes)


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are, see :func:`place`."""
    here = place()
    return here.rank, here.world


@contextmanager
def process_group() -> Iterator[None]:
    """Joins the other processes, where there are some and nobody did yet."""
    if rank_and_world()[1] == 1 or dist.is_initialized():
        yield
        return
    rank, world = rank_and_world()
    dist.init_process_group("gloo", rank=rank, world_size=world)
    try:
        yield
    finally:
        dist.destroy_process_group()


def peer_lost(error: Exception) -> bool:
    """Whether an error says that another process is gone: NCCL has a kind of its own, gloo says it in words."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def gather(value: T) -> list[T]:
    """Every process's value, by rank; its own alone where there is one process. The values are pickled."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return [value]
    found: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return [entry for entry in found if entry is not None]
