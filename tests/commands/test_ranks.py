"""Evaluation over two processes gives the numbers of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import runs

from yolor_mtl.data.scenes import write_scenes

TORCHRUN = ("RANK", "WORLD_SIZE", {"MASTER_ADDR": "127.0.0.1"})
SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", {"SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "4"})
"""Names of a process's number and of how many there are, and what else is said to all."""


def _val(model: Path, data: Path, out: Path, **ranks: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **ranks}
    words = ["val", f"model={model}", f"data={data}", f"out={out}", "batch=2", "workers=0", "plots=1", "extremes=0"]
    command = [sys.executable, "-m", "yolor_mtl", *words, "half=false"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("starter", [TORCHRUN, SRUN], ids=["torchrun", "srun"])
def test_case_10_two_processes_give_the_numbers_of_one(
    trained: Path, tmp_path: Path, starter: tuple[str, str, dict[str, str]]
) -> None:
    """Twenty-one pictures, which two processes cannot share evenly."""
    scenes = tmp_path / "scenes"
    write_scenes(scenes, train=0, val=21, workers=1)
    number, many, more = starter
    shared = {many: "2", "MASTER_PORT": str(runs.free_port()), **more}
    alone = _val(trained, scenes, tmp_path / "one")
    pair = [_val(trained, scenes, tmp_path / "two", **shared, **{number: str(rank)}) for rank in range(2)]
    for process in (alone, *pair):
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors.decode()
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert one == two
    for name in ("detections.json", "segmentations.json", "captions.json", "panoptic.json"):
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "two" / name).read_text()
    captions = json.loads((tmp_path / "two" / "captions.json").read_text())
    assert len(captions) == len({entry["image_id"] for entry in captions}) == 21
