"""Whole trainings of a tiny network: what they leave, that they repeat, go on, and start from other weights."""

import io
import json
import math
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest
import runs
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from yolor_mtl.config import fill, read_yaml
from yolor_mtl.data import pipeline
from yolor_mtl.data.mosaic import mosaic, single
from yolor_mtl.inference.model import load_weights
from yolor_mtl.records import UserError
from yolor_mtl.training.callbacks import Recorder
from yolor_mtl.training.checkpoint import LAST, PREVIOUS, States
from yolor_mtl.training.config import TrainConfig, train_config
from yolor_mtl.training.history import read_rows
from yolor_mtl.training.module import JointStep
from yolor_mtl.training.trainer import train

TERMS = {
    "loss/detection/class",
    "loss/detection/box",
    "loss/detection/dfl",
    "loss/instance/mask",
    "loss/semantic/cross_entropy",
    "loss/captioning/words",
}
EPOCHS = 2


@pytest.fixture(scope="module")
def whole(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of three epochs that nothing interrupted."""
    return runs.run_training(scenes, tmp_path_factory.mktemp("whole") / "run", epochs=EPOCHS).out


def state(run: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The averaged and the current weights of ``last.ckpt``."""
    kept = torch.load(run / "last.ckpt", weights_only=True)
    return {"average": kept["state_dict"], "current": kept["current_model_state"]}


def assert_same(one: Path, other: Path) -> None:
    """Both weights are equal to the bit."""
    found = state(other)
    for kind, tensors in state(one).items():
        assert tensors.keys() == found[kind].keys()
        assert [name for name, tensor in tensors.items() if not torch.equal(tensor, found[kind][name])] == []


def seen_pictures(monkeypatch: pytest.MonkeyPatch, stop_at: int = 0) -> list[tuple[int, int, int]]:
    """(epoch, batch, sum of pixels) of every step to come; at a step the user presses Ctrl-C."""
    seen: list[tuple[int, int, int]] = []
    record = Recorder.on_train_batch_end

    def watch(self, trainer, module, outputs, batch, place):
        seen.append((trainer.current_epoch, place, int(batch.images.sum())))
        record(self, trainer, module, outputs, batch, place)
        if trainer.global_step == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Recorder, "on_train_batch_end", watch)
    return seen


def test_what_it_leaves(trained: Path, scenes: Path) -> None:
    config = fill(TrainConfig, read_yaml(trained / "config.yaml"))
    assert (config.data, config.imgsz, config.augment.mosaic) == (str(scenes), 64, 1.0)
    assert config.network["trunk"] == {"width": 0.05}
    rows = read_rows(trained / "metrics.csv")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 4), (2, 8)]
    assert rows[0].keys() >= TERMS | {"fitness", "seconds", "box/AP", "panoptic/PQ", "caption/CIDEr"}
    assert all(math.isfinite(value) for row in rows for value in row.values())
    losses = read_rows(trained / "losses.csv")
    assert losses[0].keys() == {"step", "seconds", "lr", "detection", "instance", "semantic", "captioning"}
    steps = [torch.load(trained / name, weights_only=True)["global_step"] for name in (LAST, PREVIOUS)]
    assert steps == [8, 4]
    assert sorted(path.name for path in (trained / "samples").iterdir()) == ["epoch-0001.jpg", "epoch-0002.jpg"]
    assert "<svg" in (trained / "report.html").read_text(encoding="utf-8")
    assert json.loads((trained / "val" / "metrics.json").read_text())["protocol"]["pictures"] == 4


def test_tensorboard(trained: Path) -> None:
    events = EventAccumulator(str(trained))
    events.Reload()
    assert {"train/detection/box", "train/lr", "fitness", "box/AP"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("fitness")] == [4, 8]
    assert [event.step for event in events.Images("samples")] == [4, 8]


def test_best_holds_the_averaged_weights(scenes: Path, tmp_path: Path) -> None:
    result = runs.run_training(scenes, tmp_path / "run", epochs=1, tasks=["semantic", "captioning"])
    best = load_file(result.out / "best.safetensors")
    with safe_open(result.out / "best.safetensors", framework="pt") as file:
        assert float(file.metadata()["fitness"]) == pytest.approx(result.scores["fitness"], abs=1e-5)
    kept = {k: {n.removeprefix("network."): t for n, t in found.items()} for k, found in state(result.out).items()}
    assert all(torch.equal(tensor, kept["average"][name]) for name, tensor in best.items())
    assert any(not torch.equal(tensor, kept["current"][name]) for name, tensor in best.items())


def test_without_averaging(scenes: Path, tmp_path: Path) -> None:
    out = runs.run_training(scenes, tmp_path / "run", ema=0, epochs=1, tasks=["semantic"]).out
    kept = torch.load(out / "last.ckpt", weights_only=True)["state_dict"]
    best = load_file(out / "best.safetensors")
    assert all(torch.equal(tensor, kept[f"network.{name}"]) for name, tensor in best.items())


def test_the_same_seed_gives_the_same(whole: Path, scenes: Path, tmp_path: Path) -> None:
    again = runs.run_training(scenes, tmp_path / "again", epochs=EPOCHS).out
    assert runs.rows(again) == runs.rows(whole)
    assert_same(whole, again)
    other = runs.run_training(scenes, tmp_path / "other", epochs=1, seed=1).out
    assert runs.rows(other)[0] != runs.rows(whole)[0]


@pytest.mark.parametrize("step", [6, 4], ids=["inside an epoch", "at its end"])
def test_resume_after_ctrl_c_is_exact(
    whole: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    seen = seen_pictures(monkeypatch, stop_at=step)
    stopped = runs.run_training(scenes, tmp_path / "run", epochs=EPOCHS)
    assert stopped.exit_code == 130
    assert len(seen) == step
    monkeypatch.undo()
    seen += seen_pictures(monkeypatch)
    resumed = runs.run_training(scenes, resume=str(stopped.out), epochs=EPOCHS)
    assert resumed.exit_code == 0
    assert resumed.out == stopped.out
    assert_same(whole, resumed.out)
    # An epoch that ended with Ctrl-C in its last step has no row of its own: its losses are in the next one's mean.
    last, expected = (
        {key: value for key, value in runs.rows(run)[-1].items() if step == 6 or not key.startswith("loss/")}
        for run in (resumed.out, whole)
    )
    assert last == expected
    seconds = [row["seconds"] for row in read_rows(resumed.out / "metrics.csv")]
    assert seconds == sorted(seconds)


LEARNING = {
    "accumulate": 2,
    "optimizer": "sgd",
    "lr": 0.01,
    "schedule": "flat-cosine",
    "balance": "uncertainty",
    "tasks": ["detection", "semantic"],
}
"""Three batches an epoch, which make two steps: two of them, and the one that is left."""


def test_accumulation_balance_and_sgd(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {**LEARNING, "epochs": 3, "val_batches": 1}
    whole = runs.run_training(scenes, tmp_path / "whole", **keys).out
    kept = torch.load(whole / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 6
    rows = runs.rows(whole)
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 2), (2, 4), (3, 6)]
    losses = read_rows(whole / "losses.csv")
    assert [row["step"] for row in losses] == [1, 5]
    assert all(row["lr"] == pytest.approx(0.01) for row in losses[:1])
    learnt = {name for name in kept["state_dict"] if name.startswith("balance.")}
    assert learnt == {f"balance.log_variance.{task}" for task in LEARNING["tasks"]}
    assert not [name for name in load_file(whole / "best.safetensors") if "balance" in name]
    for task in LEARNING["tasks"]:
        assert 0 < rows[-1][f"balance/{task}"] < 1  # losses above one
        assert rows[-1][f"balance/{task}"] < rows[0][f"balance/{task}"]
    events = EventAccumulator(str(whole))
    events.Reload()
    assert {"balance/detection", "train/detection/box"} <= set(events.Tags()["scalars"])

    seen: list[int] = []
    record = Recorder.on_train_batch_end

    def press(self, trainer, module, outputs, batch, place):
        record(self, trainer, module, outputs, batch, place)
        seen.append(place)
        if (trainer.current_epoch, place) == (1, 0):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Recorder, "on_train_batch_end", press)
    stopped = runs.run_training(scenes, tmp_path / "run", **keys)
    assert stopped.exit_code == 130
    assert seen == [0, 1, 2, 0, 1]  # the step is done first
    monkeypatch.undo()
    resumed = runs.run_training(scenes, resume=str(stopped.out), epochs=3)
    assert resumed.exit_code == 0
    assert_same(whole, resumed.out)
    assert [row["step"] for row in runs.rows(resumed.out)] == [2, 4, 6]
    assert runs.rows(resumed.out)[-1] == rows[-1]


def test_bfloat16_trains_every_task_and_goes_on_to_the_bit(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"half": "true", "val_batches": 1, "samples": 0, "epochs": 1}
    whole = runs.run_training(scenes, tmp_path / "whole", **keys).out
    assert_all_terms(whole)
    tensors = state(whole)["current"]
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} == {torch.float32}
    seen_pictures(monkeypatch, stop_at=2)
    stopped = runs.run_training(scenes, tmp_path / "run", **keys)
    assert stopped.exit_code == 130
    monkeypatch.undo()
    assert_same(whole, runs.run_training(scenes, resume=str(stopped.out), half="true", epochs=1).out)


def test_the_end_of_a_training_is_calm(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the step on at which ``close`` says so, no picture is mixed with others."""
    seen: list[tuple[int, str]] = []
    place, step = [0], JointStep.on_train_batch_start

    def counted(self, batch, number):
        step(self, batch, number)
        place[0] += 1

    def mixed(samples, *rest):
        seen.append((place[0], "mosaic"))
        return mosaic(samples, *rest)

    def alone(*rest):
        seen.append((place[0], "single"))
        return single(*rest)

    monkeypatch.setattr(JointStep, "on_train_batch_start", counted)
    monkeypatch.setattr(pipeline, "mosaic", mixed)
    monkeypatch.setattr(pipeline, "single", alone)
    augment = {"mosaic": 1.0, "close": 0.5}
    keys = {**LEARNING, "epochs": 2, "val_every": 2, "val_batches": 1, "samples": 0, "augment": augment}
    runs.run_training(scenes, tmp_path / "run", **keys)
    # Six batches, three of them before the middle of the four steps; a batch is made while the one before it is learnt.
    mixing, resting = ([number for number, kind in seen if kind == what] for what in ("mosaic", "single"))
    assert len(mixing) == len(resting) == 12
    assert max(mixing) <= 3 <= min(resting) + 1


def test_machines_with_unequal_numbers_of_processes(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PROCID": "0", "STEP_NUM_TASKS": "5", "STEP_NUM_NODES": "2", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    with pytest.raises(UserError, match=r"5 processes on 2 machines.*--ntasks-per-node"):
        runs.run_training(scenes, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_validation_leaves_no_process_and_sees_what_it_was_told(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixture has four pictures to validate on; a training has one loading process of its own."""
    others = set(multiprocessing.active_children())
    begin, judge = JointStep.on_train_batch_start, JointStep.validation_step
    working: list[int] = []
    judged: list[int] = []

    def begins(self, batch, place):
        begin(self, batch, place)
        working.append(len(set(multiprocessing.active_children()) - others))

    def judges(self, batch, place):
        judged.append(len(batch.images))
        return judge(self, batch, place)

    monkeypatch.setattr(JointStep, "on_train_batch_start", begins)
    monkeypatch.setattr(JointStep, "validation_step", judges)
    runs.run_training(
        scenes, tmp_path / "run", tasks=["semantic"], samples=0, batch=1, epochs=2, val_batches=3, workers=1
    )
    assert judged == [1] * 6
    assert set(working) == {1}


def test_surgery(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchjd")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="surgery=pcgrad works in one process, not in 2"):
        runs.run_training(scenes, tmp_path / "run", surgery="pcgrad")
    assert not (tmp_path / "run").exists()
    monkeypatch.undo()
    out = runs.run_training(
        scenes, tmp_path / "run", surgery="pcgrad", epochs=4, val_batches=1, val_every=4, augment={"mosaic": 0}
    ).out
    assert all(tensor.isfinite().all() for tensor in state(out)["current"].values())
    first, *_, last = read_rows(out / "losses.csv")
    tasks = [key for key in first if key not in ("step", "seconds", "lr")]
    assert sum(last[task] for task in tasks) < 0.8 * sum(first[task] for task in tasks)


def test_float16_needs_a_gpu(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="half=fp16 needs an NVIDIA GPU"):
        runs.run_training(scenes, tmp_path / "run", half="fp16")
    assert not (tmp_path / "run").exists()


def test_epochs_differ_in_pictures(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = seen_pictures(monkeypatch)
    runs.run_training(scenes, tmp_path / "run", tasks=["captioning"], augment={"mosaic": 0})
    epochs = [[pixels for epoch, _, pixels in seen if epoch == number] for number in (0, 1)]
    assert len(epochs[0]) == len(epochs[1]) == 3
    assert epochs[0] != epochs[1]


def test_resume_by_checkpoint_with_more_epochs(trained: Path, scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.yaml", "last.ckpt", "metrics.csv", "best.safetensors"):
        (run / name).write_bytes((trained / name).read_bytes())
    runs.run_training(scenes, resume=str(run / "last.ckpt"), epochs=3)
    assert [row["epoch"] for row in runs.rows(run)] == [1, 2, 3]
    assert [row["step"] for row in runs.rows(run)] == [4, 8, 12]


def test_resume_from_the_state_before_a_broken_one(trained: Path, scenes: Path, tmp_path: Path) -> None:
    run, said = tmp_path / "run", io.StringIO()
    shutil.copytree(trained, run)
    whole = (run / LAST).read_bytes()
    (run / LAST).write_bytes(whole[: len(whole) // 2])
    train(train_config({"resume": str(run)}), scenes, Console(file=said, width=300))
    assert f"{run / LAST}: not a whole checkpoint" in said.getvalue()
    assert f"going on from {run / PREVIOUS}" in said.getvalue()
    assert_same(trained, run)
    assert runs.rows(run) == runs.rows(trained)
    best = load_file(run / "best.safetensors")
    for name, tensor in load_file(trained / "best.safetensors").items():
        assert torch.equal(best[name], tensor)


def test_states_inside_an_epoch(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = States.save

    def watch(self, trainer):
        saved.append(trainer.global_step)
        save(self, trainer)

    monkeypatch.setattr(States, "save", watch)
    keys = {"epochs": 2, "tasks": ["semantic"], "val_batches": 1, "samples": 0}
    out = runs.run_training(scenes, tmp_path / "run", save_every=1e-6, **keys).out
    assert saved == [1, 2, 3, 4, 5, 6]  # two epochs of three steps
    assert not (out / "samples").exists()
    saved.clear()
    runs.run_training(scenes, tmp_path / "other", save_every=0, **keys)
    assert saved == [3, 6]


def test_the_weights_of_every_second_epoch_are_kept(scenes: Path, tmp_path: Path) -> None:
    out = runs.run_training(scenes, tmp_path / "run", tasks=["semantic"], epochs=5, keep_every=2, val_batches=1).out
    kept = sorted(path.name for path in out.glob("epoch-*"))
    assert kept == ["epoch-0002.safetensors", "epoch-0004.safetensors"]
    fitness = {int(row["epoch"]): row["fitness"] for row in read_rows(out / "metrics.csv")}
    for name, epoch in zip(kept, (2, 4), strict=True):
        with safe_open(out / name, framework="pt") as file:
            assert float(file.metadata()["fitness"]) == pytest.approx(fitness[epoch], abs=1e-5)
        assert load_weights(str(out / name), [])


def test_time_ends_it_with_a_validation(scenes: Path, tmp_path: Path) -> None:
    result = runs.run_training(scenes, tmp_path / "run", epochs=1000, minutes=0.02)
    last = read_rows(result.out / "metrics.csv")[-1]
    assert result.exit_code == 0
    assert 1 <= last["step"] < 4000
    assert last["fitness"] == pytest.approx(result.scores["fitness"], rel=1e-4)
    assert (result.out / "last.ckpt").is_file()


def test_weights_start_a_training(trained: Path, scenes: Path, tmp_path: Path) -> None:
    weights = trained / "best.safetensors"
    result = runs.run_training(scenes, tmp_path / "run", weights=str(weights), epochs=1, lr=1e-9, ema=0)
    started, ended = load_file(weights), load_file(result.out / "best.safetensors")
    floats = [name for name, tensor in started.items() if tensor.is_floating_point() and "running" not in name]
    assert started.keys() == ended.keys()
    assert all(torch.allclose(started[name], ended[name], atol=1e-6) for name in floats)


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        ({"resume": "{tmp}/nothing"}, ["nothing/last.ckpt: there is no such file", "first epoch"]),
        ({"resume": "{tmp}/cut.ckpt"}, ["cut.ckpt", "not a whole checkpoint"]),
        ({"weights": "{tmp}/absent.safetensors"}, ["no weights file", "absent.safetensors"]),
        ({"weights": "{tmp}/gelan-c.pt"}, ["gelan-c.pt", "yolor-mtl convert"]),
        ({"out": "{trained}"}, ["earlier run", "resume="]),
        ({"out": "{tmp}/half"}, ["earlier run", "resume="]),
    ],
)
def test_refused(scenes: Path, trained: Path, tmp_path: Path, keys: dict[str, str], parts: list[str]) -> None:
    (tmp_path / "cut.ckpt").write_bytes((trained / "last.ckpt").read_bytes()[:5000])
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / PREVIOUS).touch()
    given = {key: value.format(tmp=tmp_path, trained=trained) for key, value in keys.items()}
    with pytest.raises(UserError) as caught:
        runs.run_training(scenes, **{"out": str(tmp_path / "run"), **given})
    for part in parts:
        assert part in str(caught.value)


def real_subset(source: Path, root: Path, split: str, number: int) -> None:
    """A split of a real data set cut to ``number`` pictures spread over it; the pictures stay where they are."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    (root / "images" / split).symlink_to(source / "images" / split)
    (root / "annotations" / f"panoptic_{split}").symlink_to(source / "annotations" / f"panoptic_{split}")
    chosen: set[int] = set()
    for kind in ("instances", "captions", "panoptic"):
        content = json.loads((source / "annotations" / f"{kind}_{split}.json").read_text())
        pictures = [image["id"] for image in content["images"]]
        chosen = chosen or set(pictures[:: max(1, len(pictures) // number)][:number])
        content["images"] = [image for image in content["images"] if image["id"] in chosen]
        content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in chosen]
        (root / "annotations" / f"{kind}_{split}.json").write_text(json.dumps(content))


def assert_all_terms(run: Path) -> None:
    """Every task has learnt, and nothing is infinite."""
    (row,) = read_rows(run / "metrics.csv")
    assert row.keys() >= TERMS | {"fitness", "box/AP", "mask/AP", "semantic/mIoU", "panoptic/PQ", "caption/BLEU-4"}
    assert all(math.isfinite(value) for value in row.values())
    assert all(row[term] > 0 for term in TERMS)


REAL = {"epochs": 1, "batch": 32, "val_batches": 1, "imgsz": 64}


def test_coco_sample_with_labels_for_some_tasks_only(quick: None, shared: Path, tmp_path: Path) -> None:
    keys = {**REAL, "train": ["train2017", "val2017"], "val": "val2017"}
    result = runs.run_training(shared / "coco_sample", tmp_path / "run", **keys)
    assert_all_terms(result.out)


def test_coco_real_cut(quick: None, shared: Path, tmp_path: Path) -> None:
    for split, number in (("train2017r", 64), ("val2017r", 16)):
        real_subset(shared / "coco_real", tmp_path / "data", split, number)
    assert_all_terms(runs.run_training(tmp_path / "data", tmp_path / "run", **REAL).out)


@pytest.mark.torture
def test_coco_real_whole(quick: None, shared: Path, tmp_path: Path) -> None:
    assert_all_terms(runs.run_training(shared / "coco_real", tmp_path / "run", **REAL).out)
