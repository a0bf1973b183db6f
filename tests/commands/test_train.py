"""``yolor-mtl train`` and ``demo`` as a user starts them."""

import itertools
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import runs
import torch
from PIL import Image

from yolor_mtl.inference.model import load_weights
from yolor_mtl.tasks.semantic.loss import SoftmaxLoss
from yolor_mtl.training.history import read_rows


def test_broken_pictures_are_skipped_and_listed(command: runs.Command, scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes, tmp_path / "d")
    first, second, *_ = sorted((tmp_path / "d" / "train").glob("*.jpg"))
    first.write_bytes(first.read_bytes()[:2000])
    second.write_bytes(b"")
    said = command("train", *runs.words(data=tmp_path / "d", out=tmp_path / "run", epochs=1, plots=0))
    assert said.code == 1
    assert first.name in said.out
    assert second.name in said.out
    assert "0 bytes" in said.out
    assert (tmp_path / "run" / "best.safetensors").is_file()


def test_without_captions_the_other_tasks_train(command: runs.Command, scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes, tmp_path / "d")
    for path in (tmp_path / "d" / "annotations").glob("captions_*"):
        path.unlink()
    said = command("train", *runs.words(data=tmp_path / "d", out=tmp_path / "run", epochs=1, plots=0))
    assert said.code == 0
    (row,) = read_rows(tmp_path / "run" / "metrics.csv")
    assert "loss/detection/box" in row
    assert not any("caption" in key for key in row)


def test_semantic_classes_of_a_user_s_choice(command: runs.Command, scenes: Path, tmp_path: Path) -> None:
    """The data have panoptic labels and COCO-Stuff maps; these have 171 classes."""
    data = tmp_path / "d"
    shutil.copytree(scenes, data)
    for path in [*data.glob("train/*.jpg"), *data.glob("val/*.jpg")]:
        target = data / "stuffthingmaps" / path.parent.name / f"{path.stem}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as picture:
            Image.new("L", picture.size, 20).save(target)  # COCO's id 21, cows
    keys = runs.words("maps=stuff", data=data, out=tmp_path / "run", epochs=1, plots=0, tasks="[semantic]")
    assert command("train", *keys).code == 0
    found = json.loads((tmp_path / "run" / "val" / "metrics.json").read_text())
    assert found["protocol"]["semantic/classes"] == 171
    assert len(load_weights(str(tmp_path / "run"), []).space.semantic) == 171
    runs.refused(command("train", *runs.words("maps=stuf", data=data, out=tmp_path / "x")), "maps='stuf'", "stuff")


def test_demo(command: runs.Command, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    said = command("demo", *runs.words(data=scenes, out=out, minutes=0.01))
    assert said.code == 0
    assert "report.html" in said.out
    assert f"predict model={out}" in said.out
    assert (out / "report.html").is_file()
    assert "scenes-nano" not in said.out
    assert json.loads((out / "val" / "metrics.json").read_text())["protocol"]["pictures"] == 4


def test_a_second_demo_starts_anew(
    command: runs.Command, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert command("demo", *runs.words(data=scenes, plots=0)).code == 0
    assert (tmp_path / "runs" / "demo" / "last.previous.ckpt").is_file()


def test_case_06_a_loss_that_is_no_number(
    command: runs.Command, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, out, calls = SoftmaxLoss.__call__, tmp_path / "run", itertools.count()

    def broken(self, out, targets, used):
        answer = plain(self, out, targets, used)
        factor = float("nan") if next(calls) == 2 else 1.0
        return type(answer)({name: (value * factor, count) for name, (value, count) in answer.terms.items()})

    monkeypatch.setattr(SoftmaxLoss, "__call__", broken)
    said = command("train", *runs.words(data=scenes, out=out, epochs=1, seed=5))
    assert said.code == 3
    where = "it comes of the loss itself or of the targets"
    for part in (
        f"semantic/cross_entropy is nan at step 2; run once more, every layer's output is finite: {where}",
        f"{out / 'diverged.pt'}",
        f"resume={out}",
    ):
        assert part in said.err
    assert "Traceback" not in said.err
    kept = torch.load(out / "diverged.pt", weights_only=True)
    assert (kept["step"], kept["epoch"], kept["place"], kept["seed"]) == (2, 0, 2, 5)
    assert kept["images"].shape == (4, 3, 64, 64)
    assert kept["rows"].keys() == kept["targets"].keys() == {"detection", "instance", "semantic", "captioning"}
    assert len(kept["paths"]) == 4
    assert all(Path(path).is_file() for path in kept["paths"])
    state = torch.load(out / "last.ckpt", weights_only=True)
    assert state["global_step"] == 2
    assert all(tensor.isfinite().all() for tensor in state["current_model_state"].values())
    assert command("train", f"resume={out}", "plots=0").code == 0  # the third call alone was broken


def test_nothing_whole_to_go_on_from(command: runs.Command, scenes: Path, tmp_path: Path) -> None:
    for name in ("last.ckpt", "last.previous.ckpt"):
        (tmp_path / name).write_bytes(b"broken")
    said = command("train", *runs.words(data=scenes, resume=tmp_path))
    told = [f"{tmp_path / name}: not a whole checkpoint" for name in ("last.ckpt", "last.previous.ckpt")]
    runs.refused(said, *told, "Remedy: start anew")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_it_with_the_state_kept(
    command: runs.Command, scenes: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "run"
    process = runs.shell(
        ["train", *runs.words(data=scenes, out=out, epochs=400, workers=1, plots=0, tasks="[semantic]")], tmp_path
    )
    try:
        deadline = time.monotonic() + 60
        while not (out / "metrics.csv").is_file() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        os.killpg(process.pid, number)  # as a terminal and a scheduler do: the loading process gets it too
        said, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert f"resume={out}" in said
    assert (out / "last.ckpt").is_file()
    if number != signal.SIGINT:  # what follows is the same for all of them
        return
    epochs = int(read_rows(out / "metrics.csv")[-1]["epoch"])
    steps = read_rows(out / "losses.csv")[-1]["step"]
    resumed = command("train", f"resume={out}", f"epochs={epochs + 1}", "plots=0")
    assert resumed.code == 0
    assert read_rows(out / "losses.csv")[-1]["step"] > steps
    assert read_rows(out / "metrics.csv")[-1]["epoch"] == epochs + 1
