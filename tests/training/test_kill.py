"""``kill -9`` at random moments: in the end a run has left, to the bit, what an undisturbed one leaves."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import runs
import torch
from safetensors import safe_open

from yolor_mtl.training.checkpoint import LAST, PREVIOUS, flaw
from yolor_mtl.training.history import read_rows

KEYS: dict[str, Any] = {"seed": 3, "save_every": 1e-6, "samples": 1, "plots": 0, "val_batches": 1, "workers": 1}
"""A state after every step, four an epoch; a process that loads, and must not outlive the one that is killed."""

TASKS = ["semantic", "captioning"]
"""One of each view; they are the quickest to score."""

PATIENCE = 300
"""Seconds within which a process must come to where it is killed, on however busy a machine."""


def written(path: Path) -> tuple[int, int] | None:
    """Tells one writing of a file from another."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def wait_for(process: subprocess.Popen[str], path: Path, times: int) -> None:
    """Until the process has written a file so often."""
    seen, deadline = written(path), time.monotonic() + PATIENCE
    while times and process.poll() is None:
        assert time.monotonic() < deadline
        now = written(path)
        if now not in (None, seen):
            seen, times = now, times - 1
        time.sleep(0.002)


def wait_for_a_save(process: subprocess.Popen[str], out: Path) -> None:
    """Until the process is in the middle of writing a state."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and not any(out.glob(".next-*.ckpt")):
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def command(out: Path, keys: dict[str, Any]) -> list[str]:
    """What a user types: to go on, or where no state is kept yet the same as before."""
    if any((out / name).is_file() for name in (LAST, PREVIOUS)):
        return ["train", f"resume={out}"]
    return ["train", *runs.words(**{**keys, "tasks": f"[{','.join(TASKS)}]"}, out=out)]


def contents(run: Path) -> dict[str, Any]:
    """All that must be equal to the bit."""
    state = torch.load(run / LAST, weights_only=True)
    (optimizer,) = state["optimizer_states"]
    with safe_open(run / "best.safetensors", framework="pt") as file:
        best = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = file.metadata()
    moments = {f"{name} of {index}": value for index, row in optimizer["state"].items() for name, value in row.items()}
    return {
        "average": state["state_dict"],
        "current": state["current_model_state"],
        "optimizer": moments,
        "best": best,
        "metadata": metadata,
        "metrics": runs.rows(run),
        "losses": [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(run / "losses.csv")],
    }


def assert_same(one: Path, other: Path) -> None:
    """Both runs have left the same."""
    expected, found = contents(one), contents(other)
    for kind in ("average", "current", "optimizer", "best"):
        assert expected[kind].keys() == found[kind].keys()
        assert [name for name, tensor in expected[kind].items() if not torch.equal(tensor, found[kind][name])] == []
    for kind in ("metadata", "metrics", "losses"):
        assert expected[kind] == found[kind]


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.torture)])
def test_case_08_a_killed_run_goes_on_as_if_nothing_had_been(scenes: Path, tmp_path: Path, kills: int) -> None:
    keys = {**KEYS, "data": str(scenes), "tasks": TASKS, "epochs": 2 * kills}
    out, moments = tmp_path / "run", random.Random(2)
    killed = within = 0
    while killed < kills:
        process = runs.shell(command(out, keys), tmp_path)
        try:
            wait_for(process, out / "config.yaml", 1)
            wait_for(process, out / LAST, moments.randrange(4))
            if killed % 3 == 1:
                wait_for_a_save(process, out)
            else:
                time.sleep(moments.uniform(0, 0.2))
        finally:
            process.kill()
            # The loading process has the same output, which ends with the last that holds it.
            _, errors = process.communicate(timeout=PATIENCE)
        within += any(out.glob(".next-*.ckpt"))
        for name in (LAST, PREVIOUS):
            assert flaw(out / name) in (None, "there is no such file")
        if process.returncode != -signal.SIGKILL:
            # Done before its time: this process had to wait for the processor.
            assert process.returncode == 0, errors
            break
        killed += 1
    assert killed > kills // 2
    assert within  # one at least was killed while it wrote a state
    place = {"resume": str(out)} if len(command(out, keys)) == 2 else {"out": str(out)}
    assert runs.run_training(scenes, **{**keys, **place}).exit_code == 0
    whole = runs.run_training(scenes, tmp_path / "whole", **keys).out
    assert_same(whole, out)
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
