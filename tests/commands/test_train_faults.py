"""What the machine does to a training: it ends with exit code 3, says why, and goes on from the state that it kept."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import runs
import torch

from yolor_mtl.training import trainer
from yolor_mtl.training.callbacks import Recorder
from yolor_mtl.training.checkpoint import LAST, PREVIOUS, flaw
from yolor_mtl.training.history import read_rows

ALONE = {"tasks": "[semantic]"}
"""The quickest task: what happens here asks for no other."""


@pytest.fixture
def broken(scenes: Path, tmp_path: Path) -> Path:
    """Scenes of which every third training picture cannot be read."""
    shutil.copytree(scenes, tmp_path / "d")
    for path in sorted((tmp_path / "d" / "train").glob("*.jpg"))[::3]:
        path.write_bytes(b"")
    return tmp_path / "d"


def test_more_unreadable_pictures_than_allowed(
    command: runs.Command, broken: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "UNREADABLE", 0)
    out = tmp_path / "run"
    said = command("train", *runs.words(**ALONE, data=broken, out=out, epochs=30, unreadable=0.15))
    assert said.code == 3
    told = " ".join(said.out.split())
    (number,) = re.findall(r"stopped: (\d) pictures could not be read, such as", told)
    assert told.count("skipped") == int(number) > 2
    assert f"the state is kept, go on with resume={out}" in told
    assert flaw(out / LAST) is None
    for path in (scenes / "train").glob("*.jpg"):
        shutil.copy(path, broken / "train" / path.name)
    assert command("train", f"resume={out}", "epochs=3", "plots=0").code == 0
    assert read_rows(out / "metrics.csv")[-1]["epoch"] == 3


@pytest.mark.parametrize("keys", [{}, {"unreadable": 0.3}], ids=["ten always may", "a larger share"])
def test_as_many_as_allowed(command: runs.Command, broken: Path, tmp_path: Path, keys: dict[str, float]) -> None:
    said = command("train", *runs.words(**ALONE, data=broken, out=tmp_path / "run", epochs=3, plots=0, **keys))
    assert said.code == 1
    assert "4 pictures could not be read and were left out" in said.out


def test_a_loading_process_that_is_killed(
    command: runs.Command, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does where memory runs out."""
    record = Recorder.on_train_batch_end

    def kill(self, running, module, outputs, batch, place):
        record(self, running, module, outputs, batch, place)
        if running.global_step == 6:
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_train_batch_end", kill)
        said = command("train", *runs.words(**ALONE, data=scenes, out=out, epochs=20, workers=1, plots=0))
    assert said.code == 3, said.err
    assert "a process that loads pictures was ended from outside" in said.err
    assert f"the state is kept, go on with resume={out}" in said.err
    assert "Traceback" not in said.out + said.err
    assert torch.load(out / LAST, weights_only=True)["global_step"] >= 6
    assert command("train", f"resume={out}", "epochs=3", "plots=0").code == 0
    assert read_rows(out / "metrics.csv")[-1]["epoch"] == 3


def test_nobody_reads_what_it_says(command: runs.Command, scenes: Path, tmp_path: Path) -> None:
    """As where ``tee`` was ended: it goes on, a signal ends it as ever, and no loading process is waited for."""
    out, keys = tmp_path / "run", {"epochs": 400, "workers": 1, "plots": 0, **ALONE}
    process = runs.shell(["train", *runs.words(data=scenes, out=out, **keys)], tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        while not process.stdout.readline().startswith("epoch 1"):
            assert process.poll() is None
        process.stdout.close()
        process.stderr.close()
        deadline = time.monotonic() + 60
        while len(read_rows(out / "metrics.csv")) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(60) == 143
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    epochs = int(read_rows(out / "metrics.csv")[-1]["epoch"])
    assert command("train", f"resume={out}", f"epochs={epochs + 1}", "plots=0").code == 0


def test_a_full_disk_before_the_first_state(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = runs.limited(100_000, "train", *runs.words(**ALONE, data=scenes, out=out, plots=0))
    assert said.returncode == 3, said.stderr
    assert "File too large; make room there; it came before the first state was kept" in said.stderr
    assert "Traceback" not in said.stdout + said.stderr
    assert not [path.name for path in out.iterdir() if path.suffix in (".ckpt", ".safetensors")]


def test_a_full_disk_later_on(command: runs.Command, scenes: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    said = runs.limited(100_000, "train", f"resume={out}", "epochs=3", "plots=0")
    assert said.returncode == 3, said.stderr
    assert f"{out}/" in said.stderr
    assert f"File too large; make room there; the state is kept, go on with resume={out}" in said.stderr
    assert "Traceback" not in said.stdout + said.stderr
    assert [flaw(out / name) for name in (LAST, PREVIOUS)] == [None, None]
    assert command("train", f"resume={out}", "epochs=3", "plots=0").code == 0
    assert read_rows(out / "metrics.csv")[-1]["epoch"] == 3


def test_a_folder_that_cannot_be_written(command: runs.Command, scenes: Path, tmp_path: Path) -> None:
    locked = runs.locked(tmp_path)
    said = command("train", *runs.words(data=scenes, out=locked / "run"))
    runs.refused(said, str(locked))
