"""Several processes as one: who am I, and what have the others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch.distributed as dist

from yolor_mtl.records import UserError

T = TypeVar("T")


_FIRST_HOST = re.compile(r"([^,\[]*)(?:\[([^\],-]*)[^\]]*\]([^,]*))?")
"""The first host of SLURM's list of them, such as ``gpu[07-09,12],login``: before, in and behind the bracket."""

_PORTS = 10_000
"""Ports from 15000 on, of which a job's number and its step's choose one."""


@dataclass(frozen=True)
class Place:
    """This process among those that work together.

    Attributes:
        rank: its number.
        world: how many there are.
        local: how many of them on this machine.
        nodes: number of machines.
        local_rank: its number on this machine.
        node: number of this machine.
        address: of the machine with the first process, where all meet.
        port: there.
    """

    rank: int = 0
    world: int = 1
    local: int = 1
    nodes: int = 1
    local_rank: int = 0
    node: int = 0
    address: str = "127.0.0.1"
    port: int = 29500


def place() -> Place:
    """What ``torchrun`` or SLURM's ``srun`` say in the environment; one process on one machine without them.

    Of SLURM only a step of ``srun`` counts: a batch script that starts a single process has been granted several tasks,
    and waiting for the others would never end.

    Raises:
        UserError: what should be a number there is none.
    """
    env = os.environ
    torchrun = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK")
    slurm = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "", "SLURM_STEP_NUM_NODES", "SLURM_LOCALID", "SLURM_NODEID")
    if "WORLD_SIZE" in env:
        names = torchrun
    elif "SLURM_STEP_NUM_TASKS" in env:
        names = slurm
    else:
        return Place()
    rank, world, local, nodes, local_rank, node = map(_number, names)
    nodes = max(nodes, 1)
    local = local or max(1, world // nodes)
    address, port = env.get("MASTER_ADDR", ""), _number("MASTER_PORT")
    if names is slurm:
        address = address or _first_host(env.get("SLURM_STEP_NODELIST", ""))
        port = port or 15_000 + (_number("SLURM_JOB_ID") + 7 * _number("SLURM_STEP_ID")) % _PORTS
    return Place(
        rank,
        world,
        local,
        nodes,
        local_rank if names[4] in env else rank % local,
        node if names[5] in env else rank // local,
        address or Place.address,
        port or Place.port,
    )


def _number(name: str) -> int:
    """A number of the environment; 0 where it is not there."""
    text = os.environ.get(name) or "0"
    if not text.isdecimal():
        raise UserError(f"{name}={text} in the environment is no number; unset it, or start by torchrun or srun")
    return int(text)


def _first_host(hosts: str) -> str:
    found = _FIRST_HOST.match(hosts)
    return "".join(part or "" for part in found.groups()) if found else ""


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are, see :func:`place`."""
    here = place()
    return here.rank, here.world


@contextmanager
def process_group() -> Iterator[None]:
    """Joins the other processes, where there are some and nobody did yet."""
    here = place()
    if here.world == 1 or dist.is_initialized():
        yield
        return
    # Where torch looks for them; SLURM does not set them.
    os.environ.setdefault("MASTER_ADDR", here.address)
    os.environ.setdefault("MASTER_PORT", str(here.port))
    dist.init_process_group("gloo", rank=here.rank, world_size=here.world)
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
