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
    saving = SimpleNamespace(save_checkpoint=lambda path: path.write_text("state"))
    recorder.on_exception(saving, module, error)
    assert (tmp_path / "last.ckpt").is_file() == kept
    parameter.data.copy_(before)
    assert torch.isfinite(parameter).all()
