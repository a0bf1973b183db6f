"""Trainings on the GPU, whole commands: every precision, what a second stage and several losses need, and resuming."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
import runs

from yolor_mtl.inference.model import YOLORMTL
from yolor_mtl.training.history import read_rows

PATIENCE = 300
"""Seconds within which a process must come to where it is killed."""

GPU = {"device": "cuda", "workers": 2, "val_batches": 1}


@pytest.mark.parametrize(
    "keys",
    [
        {"half": "false"},
        {"half": "true"},
        {"half": "fp16"},
        {"half": "fp16", "accumulate": 2, "optimizer": "sgd", "lr": 0.01},
        {"half": "true", "balance": "uncertainty"},
        {"half": "true", "surgery": "pcgrad"},
        {"half": "true", "augment.mosaic": 0.5, "schedule": "flat-cosine"},
    ],
    ids=str,
)
def test_trains_and_its_weights_answer_anywhere(
    keys: dict[str, object], scenes: Path, tmp_path: Path, command: runs.Command
) -> None:
    if "surgery" in keys:
        pytest.importorskip("torchjd")
    out = tmp_path / "run"
    said = command("train", *runs.words(data=scenes, out=out, **{**GPU, **keys}))
    assert said.code == 0, said.err
    losses = read_rows(out / "losses.csv")
    assert all(math.isfinite(value) for row in losses for value in row.values())
    assert json.loads((out / "val" / "metrics.json").read_text())["semantic/mIoU"] >= 0
    picture = next((scenes / "val").glob("*.jpg"))
    (result,) = YOLORMTL(out, device="cpu").predict(picture)
    assert result.caption


def test_the_first_loss_is_the_cpu_s(scenes: Path, tmp_path: Path) -> None:
    keys = {"epochs": 1, "half": "false", "val_batches": 1, "batch": 6}
    first = [
        read_rows(runs.run_training(scenes, tmp_path / f"{number}", device=device, **keys).out / "losses.csv")[0]
        for number, device in enumerate(("cpu", "cuda"))
    ]
    told = [{key: value for key, value in row.items() if key != "seconds"} for row in first]
    # Dropout draws other numbers on a GPU.
    caption = [row.pop("captioning/cross_entropy", row.pop("captioning", 0.0)) for row in told]
    assert told[1] == pytest.approx(told[0], rel=2e-3, abs=1e-4)
    assert caption[1] == pytest.approx(caption[0], rel=0.05)


def test_goes_on_after_a_kill(scenes: Path, tmp_path: Path, command: runs.Command) -> None:
    out = tmp_path / "run"
    keys = {**GPU, "data": scenes, "out": out, "epochs": 3, "save_every": 1e-6, "half": "true"}
    process = runs.shell(["train", *runs.words(**keys)], tmp_path)
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and not (out / "last.ckpt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert (out / "last.ckpt").is_file()
    said = command("train", f"resume={out}")
    assert said.code == 0, said.err
    assert read_rows(out / "metrics.csv")[-1]["epoch"] == 3


def test_captions_are_rewarded(scenes: Path, trained: Path, tmp_path: Path, command: runs.Command) -> None:
    keys = {**runs.KEYS, **GPU, "half": "true", "data": scenes, "weights": trained / "best.safetensors"}
    words = [f"{key}={value}" for key, value in {**keys, "out": tmp_path / "second"}.items()]
    said = command("train", *words, "tasks=[captioning]", "freeze=[trunk]", "captioning.reward=cider")
    assert said.code == 0, said.err


def test_val_and_diagnose(scenes: Path, tmp_path: Path, command: runs.Command) -> None:
    scores = []
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        said = command("val", "model=scenes-nano", f"data={scenes}", f"device={device}", "half=false", f"out={out}")
        assert said.code == 0, said.err
        scores.append(json.loads((out / "metrics.json").read_text()))
    for key in ("box/AP", "mask/AP", "semantic/mIoU", "panoptic/PQ", "caption/CIDEr"):
        assert scores[1][key] == pytest.approx(scores[0][key], abs=0.01), key
    keys = ["model=scenes-nano", f"data={scenes}", "images=8", "batch=4", "device=cuda", f"out={tmp_path / 'cosines'}"]
    said = command("diagnose", *keys)
    assert said.code == 0, said.err
    cosines = json.loads((tmp_path / "cosines" / "diagnose.json").read_text())
    assert -1 <= cosines["trunk/detection+semantic/cosine"] <= 1
