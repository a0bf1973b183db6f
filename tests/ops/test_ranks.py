"""Who a process is among several, by what started it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from yolor_mtl.ops.ranks import Place, place, rank_and_world

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}
SLURM = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS": "4"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Place(0, 1, 1, 1)),
        (TORCHRUN, Place(5, 8, 4, 2)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, Place(1, 2, 2, 1)),
        (SLURM, Place(3, 4, 2, 2)),
        # torchrun inside a job: it started the processes.
        ({**SLURM, **TORCHRUN}, Place(5, 8, 4, 2)),
        # A batch script without srun: granted four tasks, but it is one process.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_NUM_NODES": "2"}, Place(0, 1, 1, 1)),
    ],
)
def test_what_started_it(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], expected: Place) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")] + list(TORCHRUN):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert place() == expected
    assert rank_and_world() == (expected.rank, expected.world)
