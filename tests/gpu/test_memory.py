"""A memory that is really too small: what CUDA's allocator does, not an error that a test makes up."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import runs
import torch

from yolor_mtl.inference.model import YOLORMTL
from yolor_mtl.training.history import read_rows

if TYPE_CHECKING:
    from conftest import Scarce

KEYS = {"device": "cuda", "half": "false", "imgsz": 512, "batch": 12, "epochs": 3, "val_batches": 1, "plots": 0}


def arguments(scenes: Path, out: Path) -> list[str]:
    """Of a training whose pictures take more memory than its weights."""
    return ["train", *(f"{key}={value}" for key, value in {**KEYS, "data": scenes, "out": out, "workers": 0}.items())]


def test_a_training_goes_on_in_halves(scenes: Path, tmp_path: Path, command: runs.Command, scarce: Scarce) -> None:
    whole = command(*arguments(scenes, tmp_path / "whole"))
    assert whole.code == 0, whole.err
    scarce.leave(0.8 * torch.cuda.max_memory_allocated())
    said = command(*arguments(scenes, tmp_path / "halves"))
    assert said.code == 0, said.err
    assert " ".join((said.out + said.err).split()).count("out of memory at step 0 with batch=12") == 1
    rows = read_rows(tmp_path / "halves" / "losses.csv")
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert read_rows(tmp_path / "halves" / "metrics.csv")[-1]["epoch"] == KEYS["epochs"]


def test_a_training_that_fits_in_no_way(scenes: Path, tmp_path: Path, command: runs.Command, scarce: Scarce) -> None:
    scarce.leave(300e6)
    said = command(*arguments(scenes, tmp_path / "run"))
    assert said.code == 3, said.err
    assert "accumulate=" in said.err
    assert "Traceback" not in said.err


def test_pictures_go_in_halves(scarce: Scarce) -> None:
    pictures = list(np.random.default_rng(0).integers(0, 256, (16, 640, 640, 3), dtype=np.uint8))
    model = YOLORMTL("scenes-nano", device="cuda", half="false", imgsz=640)
    model.predict(pictures, batch=4)
    torch.cuda.reset_peak_memory_stats()
    should = model.predict(pictures, batch=16)
    scarce.leave(0.7 * torch.cuda.max_memory_allocated())
    with pytest.warns(UserWarning, match="out of memory with 16 pictures at once"):
        found = model.predict(pictures, batch=16)
    assert [result.caption for result in found] == [result.caption for result in should]
