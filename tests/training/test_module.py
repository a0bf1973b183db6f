"""One joint step: finite losses on poor labels, a gradient for every parameter, and a name for what diverges."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from yolor_mtl.build import ModelConfig, build_model
from yolor_mtl.data.schedule import Schedule, StepSampler
from yolor_mtl.records import Batch
from yolor_mtl.training.config import TrainConfig
from yolor_mtl.training.module import DivergedError, JointStep
from yolor_mtl.training.plan import Plan

TRAINED = ("detection", "instance", "semantic", "captioning")


@pytest.fixture
def module():
    torch.manual_seed(0)
    model = build_model(ModelConfig(64, tiny.TRUNK, tiny.BLOCKS), tiny.space())
    step = JointStep(model, TrainConfig(warmup=100), Plan(50))
    step._trainer = SimpleNamespace(world_size=1, global_step=7)
    return step


def batch(*, without=()):
    """Two labelled pictures; the tasks named have no labelled row."""
    torch.manual_seed(1)
    targets = tiny.targets()
    rows = {name: torch.tensor([] if name in without else [0, 1], dtype=torch.int64) for name in TRAINED}
    return Batch(tiny.images(), rows, {name: {} if name in without else targets[name] for name in TRAINED})


def backward(module, given):
    module.zero_grad()
    loss = module.training_step(given, 0)
    assert loss is not None
    loss.backward()
    assert loss.isfinite()
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    return loss


def test_all_tasks(module):
    loss = backward(module, batch())
    assert {name.partition("/")[0] for name in module.parts} == set(TRAINED)
    assert loss.item() == pytest.approx(sum(module.parts.values()), rel=1e-4)
    assert module.warmup == 5


def test_a_picture_without_boxes_masks_or_captions(module):
    given = batch(without=["captioning"])
    given.targets["detection"] = tiny.boxes_table([[], []])
    given.targets["instance"] = {
        "masks": torch.zeros(0, tiny.HEIGHT // 4, tiny.WIDTH // 4, dtype=torch.uint8),
        "mask_index": torch.zeros(2, 0, dtype=torch.int64),
    }
    given.targets["semantic"] = {"maps": torch.full((2, 1, tiny.HEIGHT // 4, tiny.WIDTH // 4), 255, dtype=torch.uint8)}
    backward(module, given)
    assert module.parts["detection/class"] > 0
    assert module.parts["semantic/cross_entropy"] == 0


@pytest.mark.parametrize("without", [["captioning"], ["semantic"], ["detection", "instance"], ["instance"]])
def test_a_task_without_rows_gives_zeros(module, without):
    backward(module, batch(without=without))
    assert not {name.partition("/")[0] for name in module.parts} & set(without)
    for task in without:
        if task != "detection":
            head = module.network.heads[task]
            assert all((parameter.grad == 0).all() for parameter in head.parameters()), task


def test_an_unreadable_batch_is_skipped_and_told(module):
    empty = Batch(torch.zeros(0, 3, 0, 0, dtype=torch.uint8), failures=(("a.jpg", "no such file"),))
    assert module.training_step(empty, 0) is None
    module.validation_step(empty, 0)
    assert module.failures == {"a.jpg": "no such file"}


def test_diverged_names_task_term_and_step(module):
    with torch.no_grad():
        next(module.network.heads["semantic"].parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"semantic/cross_entropy is nan at step 7"):
        module.training_step(batch(), 0)


def test_the_rate_and_the_random_choices_of_a_step(module, monkeypatch):
    optimizer = SimpleNamespace(optimizer=torch.optim.SGD([{"params": module.parameters(), "base_lr": 2.0}], lr=9.0))
    monkeypatch.setattr(module, "optimizers", lambda: optimizer)
    module._trainer = SimpleNamespace(world_size=1, global_step=0, global_rank=0)
    draws = []
    for _ in range(2):
        module.on_train_batch_start(batch(), 0)
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[1]
    assert optimizer.optimizer.param_groups[0]["lr"] == pytest.approx(2.0 / 5)
    module._trainer.global_step = 1
    module.on_train_batch_start(batch(), 1)
    assert torch.rand(3).tolist() != draws[0]


def test_the_sampler_is_told_the_epoch(module):
    sampler = StepSampler(Schedule({"vision": np.arange(8)}, 2))
    module._trainer = SimpleNamespace(current_epoch=3, train_dataloader=SimpleNamespace(batch_sampler=sampler))
    module.on_train_epoch_start()
    assert sampler.epoch == 3


def test_the_clock_goes_on(module):
    state = {}
    module.plan.start(spent=100)
    module.on_save_checkpoint(state)
    module.plan.start()
    module.on_load_checkpoint(state)
    assert module.plan.elapsed == pytest.approx(100, abs=1)


def test_optimizer_knows_the_language_heads(module):
    module.config.text_lr = 0.1
    groups = module.configure_optimizers().param_groups
    slow = {id(p) for group in groups if group["lr"] < module.config.lr for p in group["params"]}
    assert slow == {id(p) for p in module.network.heads["captioning"].parameters()}
