"""Who a process is among several, by what started it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from yolor_mtl.ops.ranks import Place, place, rank_and_world
from yolor_mtl.records import UserError

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}
TORCHRUN |= {"GROUP_RANK": "1", "MASTER_ADDR": "first", "MASTER_PORT": "1234"}
SLURM = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS": "4"}
SLURM |= {"SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_JOB_ID": "7654321"}
SLURM |= {"SLURM_STEP_NODELIST": "gpu[07-09,12],b"}


def started(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    """This process by whoever sets these variables and no others."""
    for name in [name for name in os.environ if name.startswith("SLURM_")] + list(TORCHRUN):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Place(0, 1, 1, 1)),
        (TORCHRUN, Place(5, 8, 4, 2, 1, 1, "first", 1234)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, Place(1, 2, 2, 1, 1, 0)),
        (SLURM, Place(3, 4, 2, 2, 1, 1, "gpu07", 19321)),
        ({**SLURM, "SLURM_STEP_ID": "2"}, Place(3, 4, 2, 2, 1, 1, "gpu07", 19335)),
        ({**SLURM, "MASTER_ADDR": "other", "MASTER_PORT": "99"}, Place(3, 4, 2, 2, 1, 1, "other", 99)),
        ({**SLURM, "SLURM_STEP_NODELIST": "a-1,a-2"}, Place(3, 4, 2, 2, 1, 1, "a-1", 19321)),
        ({**SLURM, "SLURM_STEP_NODELIST": "r[3,5]n.lan"}, Place(3, 4, 2, 2, 1, 1, "r3n.lan", 19321)),
        # torchrun inside a job: it started the processes.
        ({**SLURM, **TORCHRUN}, Place(5, 8, 4, 2, 1, 1, "first", 1234)),
        # A batch script without srun: granted four tasks, but it is one process.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_NUM_NODES": "2"}, Place(0, 1, 1, 1)),
    ],
)
def test_what_started_it(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], expected: Place) -> None:
    started(monkeypatch, environment)
    assert place() == expected
    assert rank_and_world() == (expected.rank, expected.world)


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"WORLD_SIZE": "two", "RANK": "0"}, "WORLD_SIZE=two"),
        ({"WORLD_SIZE": "2", "RANK": "-1"}, "RANK=-1"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "http"}, "MASTER_PORT=http"),
        ({**SLURM, "SLURM_JOB_ID": "7_1"}, "SLURM_JOB_ID=7_1"),
    ],
)
def test_no_numbers(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], name: str) -> None:
    started(monkeypatch, environment)
    with pytest.raises(UserError, match=f"^{name} in the environment is no number; unset it"):
        place()
