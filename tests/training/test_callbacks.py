"""Losses by task, and stopping between two steps."""

import os
import signal
from types import SimpleNamespace

import pytest
import tiny
import torch

from yolor_mtl.build import ModelConfig, build_model
from yolor_mtl.training.callbacks import Recorder, StoppedError, Stopper, task_sums
from yolor_mtl.training.config import TrainConfig
from yolor_mtl.training.module import DivergedError, JointStep
from yolor_mtl.training.plan import Plan


def test_task_sums():
    assert task_sums({"a/x": 1.0, "b/y": 2.0, "a/z": 3.0}) == {"a": 4.0, "b": 2.0}


@pytest.fixture(scope="module")
def model():
    return build_model(ModelConfig(64, tiny.TRUNK, {"semantic": {}}), tiny.space())


@pytest.fixture
def module(model):
    return JointStep(model, TrainConfig(), Plan(10))


def trainer(step):
    return SimpleNamespace(global_step=step, should_stop=False)


def test_stops_at_the_end_of_the_plan(module):
    stopper, going, ended = Stopper(pytest.fail), trainer(9), trainer(10)
    stopper.on_train_batch_end(going, module, None, None, 0)
    stopper.on_train_batch_end(ended, module, None, None, 0)
    assert (going.should_stop, ended.should_stop) == (False, True)


def test_neither_stops_inside_a_step(module):
    module.config = TrainConfig(accumulate=2)
    module._trainer = SimpleNamespace(num_training_batches=5)
    stopper, ended = Stopper(pytest.fail), trainer(10)
    stopper.signal = signal.SIGTERM
    stopper.on_train_batch_end(ended, module, None, None, 2)
    assert not ended.should_stop
    stopper.save = lambda trainer: None
    with pytest.raises(StoppedError):
        stopper.on_train_batch_end(ended, module, None, None, 4)


def test_a_row_is_the_mean_of_its_step(module, tmp_path, monkeypatch):
    module.config = TrainConfig(accumulate=2)
    module._trainer = SimpleNamespace(num_training_batches=4)
    logged = {}
    monkeypatch.setattr(module, "log", lambda name, value: logged.update({name: value}))
    recorder = Recorder(None, tmp_path, {}, None, resume=False, interval=1)
    running = SimpleNamespace(global_step=0, optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])])
    batches = [{"a/x": 1.0, "a/y": 2.0}, {"a/x": 3.0, "b/z": 5.0}, {"b/z": 7.0}, {}]
    for place, parts in enumerate(batches):
        module.parts = parts
        running.global_step += place % 2
        recorder.on_train_batch_end(running, module, None, None, place)
    rows = [{key: value for key, value in row.items() if key not in ("seconds", "lr")} for row in recorder.losses.rows]
    assert rows == [{"step": 1, "a": 4.0, "b": 5.0}, {"step": 2, "b": 7.0}]
    assert logged["train/a/x"] == 2.0


def test_a_signal_saves_and_stops_and_handlers_come_back(module):
    saved = []
    stopper, before = Stopper(saved.append), [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with stopper.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopper.signal == signal.SIGTERM
        with pytest.raises(StoppedError):
            stopper.on_train_batch_end(trainer(1), module, None, None, 0)
        assert len(saved) == 1
        with pytest.raises(StoppedError):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize(
    ("error", "sound", "kept"),
    [(DivergedError("x"), True, True), (DivergedError("x"), False, False), (ValueError("x"), True, False)],
)
def test_diverged_keeps_the_state_of_sound_weights(tmp_path, model, module, error, sound, kept):
    recorder = Recorder(model, tmp_path, {}, None, resume=False)
    parameter = next(module.parameters())
    before = parameter.detach().clone()
    if not sound:
        parameter.data.fill_(float("nan"))
    saving = SimpleNamespace(world_size=1, save_checkpoint=lambda path: path.write_text("state"))
    recorder.on_exception(saving, module, error)
    assert (tmp_path / "last.ckpt").is_file() == kept
    parameter.data.copy_(before)
    assert torch.isfinite(parameter).all()


def test_a_state_that_cannot_be_written_leaves_the_last_one(module, tmp_path):
    (tmp_path / "last.ckpt").write_text("whole")

    def full_disk(path):
        path.write_text("cut o")
        raise OSError(28, "No space left on device")

    recorder = Recorder(None, tmp_path, {}, None, resume=False)
    with pytest.raises(OSError, match="No space"):
        recorder.save_state(SimpleNamespace(world_size=1, save_checkpoint=full_disk))
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    assert (tmp_path / "last.ckpt").read_text() == "whole"


def test_what_was_written_after_the_last_state_is_dropped(module, tmp_path):
    recorder = Recorder(None, tmp_path, {}, None, resume=False)
    recorder.losses.rows = [{"step": 1}, {"step": 5}, {"step": 10}]
    recorder.metrics.rows = [{"step": 5, "epoch": 1}, {"step": 10, "epoch": 2}]
    recorder.on_train_start(trainer(5), module)
    assert [row["step"] for row in recorder.losses.rows] == [1, 5]
    assert [row["step"] for row in recorder.metrics.rows] == [5]
    assert recorder.validated_step == 5


def test_epochs_by_step(module):
    module.config = TrainConfig(epochs=2)  # ten steps in all
    assert [module.epoch_of(step) for step in (1, 5, 6, 10)] == [1, 1, 2, 2]
