"""Losses by task, states in time, and stopping between two steps."""

import os
import signal
from types import SimpleNamespace

import pytest
import tiny
import torch

from yolor_mtl.build import ModelConfig, build_model
from yolor_mtl.training import callbacks
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
    return SimpleNamespace(global_step=step, should_stop=False, world_size=1)


def saving(module, save=lambda path: path.write_text("state"), **more):
    """Of Lightning's trainer, what it takes to save a state."""
    alone = {"world_size": 1, "is_global_zero": True, "lightning_module": module, "save_checkpoint": save}
    return SimpleNamespace(**{**alone, **more})


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
    recorder = Recorder(None, tmp_path, {}, None, interval=1)
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


def test_a_signal_to_another_process_stops_this_one_too(module):
    saved, answers = [], iter([False, True])
    strategy = SimpleNamespace(reduce_boolean_decision=lambda told, all: told or next(answers))
    several = SimpleNamespace(global_step=1, should_stop=False, world_size=2, strategy=strategy)
    stopper = Stopper(saved.append)
    stopper.on_train_batch_end(several, module, None, None, 0)
    assert not saved
    with pytest.raises(StoppedError):
        stopper.on_train_batch_end(several, module, None, None, 0)
    assert (len(saved), stopper.signal) == (1, signal.SIGTERM)


@pytest.mark.parametrize(
    ("error", "step", "sound", "kept"),
    [
        (DivergedError("x"), 0, True, True),
        (DivergedError("x"), 3, False, False),
        (RuntimeError("x"), 3, True, True),
        (RuntimeError("x"), 0, True, False),  # nothing was learnt
        (RuntimeError("x"), 3, False, False),
        (KeyboardInterrupt(), 3, True, False),  # the second one: at once
    ],
)
def test_what_goes_wrong_keeps_the_state_of_sound_weights(tmp_path, model, module, error, step, sound, kept):
    recorder = Recorder(model, tmp_path, {}, None)
    parameter = next(module.parameters())
    before = parameter.detach().clone()
    if not sound:
        parameter.data.fill_(float("nan"))
    recorder.on_exception(saving(module, global_step=step), module, error)
    assert (tmp_path / "last.ckpt").is_file() == kept
    parameter.data.copy_(before)
    assert torch.isfinite(parameter).all()


def test_a_state_that_cannot_be_written_leaves_the_last_one(module, tmp_path):
    (tmp_path / "last.ckpt").write_text("whole")

    def full_disk(path):
        path.write_text("cut o")
        raise OSError(28, "No space left on device")

    recorder = Recorder(None, tmp_path, {}, None)
    with pytest.raises(OSError, match="No space"):
        recorder.save_state(saving(module, full_disk))
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    assert (tmp_path / "last.ckpt").read_text() == "whole"


def test_a_full_disk_is_told_once(module, tmp_path):
    def full_disk(path):
        raise OSError(28, "No space left on device")

    Recorder(None, tmp_path, {}, None).on_exception(saving(module, full_disk, global_step=3), module, ValueError("x"))


def test_too_many_failures_save_and_stop(module):
    saved, stopper = [], Stopper(None, unreadable=2)
    stopper.save = saved.append
    module.failures = {"a.jpg": "no bytes", "b.jpg": "x"}
    stopper.on_train_batch_end(trainer(1), module, None, None, 0)
    module.failures["c.jpg"] = "y"
    with pytest.raises(StoppedError):
        stopper.on_train_batch_end(trainer(1), module, None, None, 0)
    assert len(saved) == 1
    assert stopper.fault == "3 pictures could not be read, such as a.jpg: no bytes"


def test_an_epoch_that_ends_without_numbers_is_told_and_not_kept(model, module, tmp_path):
    recorder, (name, parameter) = Recorder(model, tmp_path, {}, None), next(module.named_parameters())
    before = parameter.detach().clone()
    parameter.data.fill_(float("inf"))
    with pytest.raises(DivergedError, match=f"{name} is no longer finite after step 8"):
        recorder.on_train_epoch_end(saving(module, global_step=8), module)
    assert not list(tmp_path.iterdir())
    parameter.data.copy_(before)
    recorder.on_train_epoch_end(saving(module, global_step=8), module)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize(
    ("minutes", "passed", "batch", "due"),
    [(10, 599, 0, False), (10, 600, 0, True), (10, 600, 4, False), (0, 9999, 0, False), (0.5, 30, 3, True)],
    ids=["too early", "in time", "the epoch's end saves", "never", "half a minute"],
)
def test_a_state_inside_an_epoch(tmp_path, monkeypatch, minutes, passed, batch, due):
    now = [1000.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    recorder = Recorder(None, tmp_path, {}, None, save_every=minutes)
    now[0] += passed
    assert recorder._due(SimpleNamespace(world_size=1, num_training_batches=5), batch) == due


def test_processes_agree_on_a_state(tmp_path):
    asked = []
    strategy = SimpleNamespace(reduce_boolean_decision=lambda late, all: asked.append((late, all)) or True)
    recorder = Recorder(None, tmp_path, {}, None, save_every=10)
    several = SimpleNamespace(world_size=2, num_training_batches=50, strategy=strategy)
    due = [recorder._due(SimpleNamespace(**vars(several), global_step=step), step) for step in range(4, 11)]
    assert due == [False, True, False, False, False, False, True]
    assert asked == [(False, False)] * 2  # another one is late


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_process_alone_writes_tables(tmp_path, monkeypatch, rank):
    monkeypatch.setattr(callbacks, "rank_and_world", lambda: (rank, 2))
    recorder = Recorder(None, tmp_path, {}, None)
    monkeypatch.undo()  # as Lightning clears the environment when it is done
    recorder.losses.rows = recorder.metrics.rows = [{"step": 5}]
    recorder.write()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["losses.csv", "metrics.csv"][: 2 - 2 * rank]


def test_the_records_go_on_where_the_state_was_kept(module, tmp_path):
    recorder = Recorder(None, tmp_path, {}, None)
    recorder.best, recorder._sums, recorder._steps = 0.12345678901, {"a/x": 3.5}, {"a/x": 2}
    kept = recorder.state_dict()
    recorder.metrics.rows = [{"step": 5, "fitness": 0.12345678901}, {"step": 10, "fitness": 0.9}]
    recorder.metrics.write()
    resumed = Recorder(None, tmp_path, {}, None, tmp_path / "last.ckpt")
    assert resumed.best == 0.9  # from a validation after the state
    resumed.load_state_dict(kept)
    resumed.on_train_start(trainer(5), module)
    assert (resumed.best, resumed._sums, resumed._steps) == (0.12345678901, {"a/x": 3.5}, {"a/x": 2})
    assert [row["step"] for row in resumed.metrics.rows] == [5]


def test_what_was_written_after_the_last_state_is_dropped(module, tmp_path):
    recorder = Recorder(None, tmp_path, {}, None)
    recorder.losses.rows = [{"step": 1}, {"step": 5}, {"step": 10}]
    recorder.metrics.rows = [{"step": 5, "epoch": 1}, {"step": 10, "epoch": 2}]
    recorder.on_train_start(trainer(5), module)
    assert [row["step"] for row in recorder.losses.rows] == [1, 5]
    assert [row["step"] for row in recorder.metrics.rows] == [5]
    assert recorder.validated_step == 5


def test_epochs_by_step(module):
    module.config = TrainConfig(epochs=2)  # ten steps in all
    assert [module.epoch_of(step) for step in (1, 5, 6, 10)] == [1, 1, 2, 2]
