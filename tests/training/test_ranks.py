"""Training in two processes takes the steps of one with all of the pictures, and neither waits for one that is gone.

As a script, this file is one of the processes; the tests start it as ``torchrun`` or ``srun`` would.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import runs
import torch
from drawn import write_set
from rich.console import Console

from yolor_mtl.ops.ranks import place
from yolor_mtl.records import Fault
from yolor_mtl.training.config import train_config
from yolor_mtl.training.module import JointStep
from yolor_mtl.training.trainer import train

PATIENCE = 240
"""Seconds until a process counts as hanging."""

MINUTE = 60
"""Seconds until a process has noticed that the other one is gone."""

KEYS: dict[str, Any] = {
    "epochs": 2,
    "batch": 2,
    "val_every": 2,
    # With AdamW the sign of a gradient of nearly zero would decide.
    "optimizer": "sgd",
    "lr": 0.01,
    "augment": dict.fromkeys(("mosaic", "scale", "flip", "hue", "saturation", "brightness"), 0.0),
}
"""Of each of two processes: two steps an epoch."""

PARTS = {**runs.PARTS, "captioning": {**runs.PARTS["captioning"], "view": "vision"}}
"""Every picture can train all tasks, so that its labels alone decide which of them it does."""

Step = dict[str, dict[str, float]]
"""``rows`` of each task and ``parts`` of the loss of one batch."""


def write_data(root: Path) -> Path:
    """Eight pictures of which three have captions and panoptic labels; three to validate on, two for one process."""
    write_set(root, ["bmpc", "bmpc", "bmpc", "bm", "bm", "bm", "e", "bm"], "train")
    return write_set(root, ["bmpc", "bmpc", "bmpc"], "val")


FAILURE = "the network of this process fails"


def follow(patch: pytest.MonkeyPatch, fails: str = "") -> list[Step]:
    """What every step of this process had and gave; batch norm is at rest, so that no batch feeds another.

    ``fails``: how the process ends at the first step of the second epoch, ``killed`` or by an ``error``.
    """
    steps: list[Step] = []
    begin, step = JointStep.on_train_batch_start, JointStep.training_step

    def rest(self: JointStep, batch: Any, place: int) -> None:
        begin(self, batch, place)
        self.network.eval()

    def told(self: JointStep, batch: Any, place: int) -> Any:
        if fails and len(steps) == 2:
            if fails == "error":
                raise RuntimeError(FAILURE)
            os.kill(os.getpid(), signal.SIGKILL)
        loss = step(self, batch, place)
        rows = {name: float(len(found)) for name, found in batch.rows.items()}
        steps.append({"rows": rows, "parts": dict(self.parts)})
        return loss

    patch.setattr(JointStep, "on_train_batch_start", rest)
    patch.setattr(JointStep, "training_step", told)
    return steps


def learn(root: Path, out: Path, **keys: Any) -> None:
    """The training, or this process's part of it."""
    config = train_config({"data": str(root), "out": str(out), **runs.KEYS, **KEYS, **keys}, PARTS)
    train(config, root, Console(quiet=True))


TORCHRUN: dict[str, Any] = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0, "GROUP_WORLD_SIZE": 1}
TORCHRUN |= {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1"}

# As of a step of two tasks in a job that was granted four; the first one's address is in the list.
SLURM: dict[str, Any] = {"SLURM_STEP_NUM_TASKS": 2, "SLURM_STEP_NUM_NODES": 1, "SLURM_STEP_NODELIST": "localhost"}
SLURM |= {"SLURM_NODEID": 0, "SLURM_NTASKS": 4, "SLURM_JOB_ID": 77, "SLURM_JOB_NAME": "train"}

STARTERS = {"torchrun": (TORCHRUN, "RANK", "LOCAL_RANK"), "srun": (SLURM, "SLURM_PROCID", "SLURM_LOCALID")}
"""What each says to all processes, and the names of what it says to one."""


def pair(root: Path, out: Path, *more: str, starter: str = "torchrun") -> list[subprocess.Popen[str]]:
    """Two processes of one training; ``more`` goes to both."""
    said, *numbers = STARTERS[starter]
    shared = {**said, "MASTER_PORT": runs.free_port(), "PYTHONPATH": ":".join(sys.path)}
    started = []
    for rank in range(2):
        own = {name: str(value) for name, value in {**shared, **dict.fromkeys(numbers, rank)}.items()}
        command = [sys.executable, "-X", "faulthandler", __file__, str(root), str(out), *more]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, env={**os.environ, **own}, text=True, **streams))
    return started


def ended(processes: list[subprocess.Popen[str]], patience: float = PATIENCE) -> list[runs.Said]:
    """What processes said; one that hangs fails the test, and tells where."""
    deadline, hang = time.monotonic() + patience, False
    said = []
    try:
        for process in processes:
            try:
                said.append(process.communicate(timeout=max(0.0, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                hang = True
                for each in processes:
                    each.send_signal(signal.SIGABRT)  # faulthandler writes what it was at
                said.append(process.communicate(timeout=60))
    finally:
        for process in processes:
            process.kill()
    found = [runs.Said(process.returncode, *streams) for process, streams in zip(processes, said, strict=True)]
    assert not hang, "\n\n".join(f"exit code {each.code}: {each.out[-2000:]} {each.err[-6000:]}" for each in found)
    return found


def kept(run: Path) -> dict[str, torch.Tensor]:
    """The averaged and the current weights of ``last.ckpt``."""
    state = torch.load(run / "last.ckpt", weights_only=True)
    return {f"{kind} {k}": v for kind in ("state_dict", "current_model_state") for k, v in state[kind].items()}


def test_two_processes_take_the_steps_of_one(quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_data(tmp_path / "data")
    said = ended(pair(root, tmp_path / "two"))
    assert [process.code for process in said] == [0, 0], said
    first, second = (process.json() for process in said)
    alone = follow(monkeypatch)
    learn(root, tmp_path / "one", batch=4)
    assert len(alone) == len(first) == len(second) == 4
    bare = [
        any(not one["rows"][task] and other["rows"][task] for one, other in ((mine, yours), (yours, mine)))
        for mine, yours in zip(first, second, strict=True)
        for task in ("captioning", "semantic")
    ]
    assert any(bare)
    for whole, *halves in zip(alone, first, second, strict=True):
        for task, rows in whole["rows"].items():
            assert sum(half["rows"][task] for half in halves) == rows
        for name, value in whole["parts"].items():
            mean = sum(half["parts"].get(name, 0.0) for half in halves) / 2
            assert mean == pytest.approx(value, rel=1e-3, abs=1e-5), name
    expected = kept(tmp_path / "one")
    for name, found in kept(tmp_path / "two").items():
        torch.testing.assert_close(found, expected[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize(("fails", "starter"), [("killed", "torchrun"), ("error", "srun")])
def test_case_07_the_other_process_ends_when_one_fails(quick: None, tmp_path: Path, fails: str, starter: str) -> None:
    """After a validation of which one process had two pictures and the other one; five train, which four at a time use
    up unevenly."""
    root = write_set(tmp_path / "data", ["bmpc", "bm", "e", "bm", "bmpc"], "train")
    processes = pair(write_set(root, ["bmpc", "bmpc", "bmpc"], "val"), tmp_path / "run", fails, starter=starter)
    try:
        processes[1].wait(PATIENCE)
    finally:
        first, second = ended(processes, MINUTE)
    assert first.code == 3, first
    assert "another process" in first.err
    if fails == "killed":
        assert second.code == -signal.SIGKILL
    else:
        assert second.code == 1
        assert f"RuntimeError: {FAILURE}" in second.err
    assert (tmp_path / "run" / "last.ckpt").is_file()


def main(root: str, out: str, fails: str = "") -> int:
    """One process: prints its steps as JSON."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        steps = follow(patch, fails if place().rank == 1 else "")
        try:
            learn(Path(root), Path(out), **({"val_every": 1} if fails else {}))
        except Fault as error:
            print(error, file=sys.stderr)
            return 3
    print(json.dumps(steps))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
