"""One joint step: finite losses on poor labels, a gradient for every parameter, and a name for what diverges."""

import copy
import sys
from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pytest
import tiny
import torch

from yolor_mtl.build import ModelConfig, build_model
from yolor_mtl.data.schedule import Schedule, StepSampler
from yolor_mtl.records import Batch, UserError
from yolor_mtl.tasks.base import task_losses, total_loss
from yolor_mtl.training.config import TrainConfig
from yolor_mtl.training.module import DivergedError, JointStep
from yolor_mtl.training.optim import adamw
from yolor_mtl.training.plan import Plan

TRAINED = ("detection", "instance", "semantic", "captioning")


def make(blocks=tiny.BLOCKS, steps=50, **keys):
    torch.manual_seed(0)
    model = build_model(ModelConfig(64, tiny.TRUNK, blocks), tiny.space())
    step = JointStep(model, TrainConfig(**{"warmup": 100, **keys}), Plan(steps))
    step._trainer = SimpleNamespace(world_size=1, global_step=7, precision_plugin=None)
    return step


@pytest.fixture
def module():
    return make()


def batch(*, without=(), seed=1):
    """Two labelled pictures; the tasks named have no labelled row."""
    torch.manual_seed(seed)
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
    told = r"semantic/cross_entropy is nan at step 7; the first layer whose output is not finite is heads\.semantic\."
    with pytest.raises(DivergedError, match=told):
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


@pytest.mark.parametrize("view", ["language", "vision"])
def test_optimizer_knows_the_heads_that_write(view):
    module = make({**tiny.BLOCKS, "captioning": {**tiny.BLOCKS["captioning"], "view": view}}, text_lr=0.1)
    groups = module.configure_optimizers().param_groups
    slow = {id(p) for group in groups if group["lr"] < module.config.lr for p in group["params"]}
    assert slow == {id(p) for p in module.network.heads["captioning"].parameters()}


class Frozen(JointStep):
    """With batch norm and dropout at rest, so that a batch does not feel the others."""

    def on_train_batch_start(self, batch, batch_idx):
        super().on_train_batch_start(batch, batch_idx)
        self.network.eval()


def learning(one, other):
    """Name and both parameters, of those that learn."""
    pairs = zip(one.named_parameters(), other.parameters(), strict=True)
    return [(name, found, expected) for (name, found), expected in pairs if found.requires_grad]


def norm(part):
    """Of all gradients together."""
    return torch.cat([p.grad.flatten() for p in part.parameters() if p.grad is not None]).norm().item()


def loss_by_hand(network, tasks, given):
    outputs = network(given.images, rows=given.rows, inputs=given.targets)
    return total_loss(tasks, task_losses(tasks, outputs, given.targets))[0]


def test_accumulated_batches_make_the_gradient_of_their_mean():
    config = TrainConfig(epochs=1, accumulate=2, optimizer="sgd", lr=0.01, momentum=0.9, warmup=0, clip=5.0)
    model = build_model(ModelConfig(64, tiny.TRUNK, tiny.BLOCKS), tiny.space())
    start = copy.deepcopy(model.network).eval()
    # The second has no captions: that loss is halved, not taken from the first batch alone.
    batches = [batch(seed=1), batch(seed=2, without=["captioning"]), batch(seed=3)]
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        accumulate_grad_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    step = Frozen(model, config, Plan(2))
    trainer.fit(step, torch.utils.data.DataLoader(batches, batch_size=None))
    assert trainer.global_step == 2

    optimizer = torch.optim.SGD(start.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.0)
    for rate, group in ((1.0, batches[:2]), (0.5 * (1 + config.final_lr), batches[2:])):
        optimizer.zero_grad()
        (sum(loss_by_hand(start, step.tasks, given) for given in group) / len(group)).backward()
        torch.nn.utils.clip_grad_norm_(start.parameters(), 5.0)
        optimizer.param_groups[0]["lr"] = 0.01 * rate
        for parameter in start.parameters():
            if sum(side > 1 for side in parameter.shape) > 1:
                parameter.grad.add_(parameter.detach(), alpha=config.weight_decay)
        optimizer.step()
    for (name, found), expected in zip(model.network.named_parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6, msg=name)


def test_steps_of_an_epoch():
    module = make(accumulate=3)
    module._trainer = SimpleNamespace(num_training_batches=7)
    assert [module.batches_of_step(place) for place in range(7)] == [3, 3, 3, 3, 3, 3, 1]
    assert [place for place in range(7) if module.ends_step(place)] == [2, 5, 6]


@pytest.mark.parametrize(("seen", "kept"), [(4, 3), (6, 6), (7, 7)], ids=["inside a step", "after one", "at the end"])
def test_half_a_step_is_not_kept(seen, kept):
    module = make(accumulate=3)
    module._trainer = SimpleNamespace(num_training_batches=7)
    counts = {"ready": seen + 1, "started": seen + 1, "processed": seen, "completed": seen}
    place = {"current": dict(counts), "total": {key: value + 14 for key, value in counts.items()}}
    module.on_save_checkpoint({"loops": {"fit_loop": {"epoch_loop.batch_progress": place}}})
    assert place["current"]["processed"] == place["current"]["completed"] == kept
    assert place["current"]["ready"] == kept + 1
    assert place["total"]["processed"] == kept + 14


def test_fixed_and_without_surgery_it_is_the_plain_gradient(module):
    other = copy.deepcopy(module.network)
    backward(module, batch())
    torch.manual_seed(1)  # as the batch leaves it: dropout
    given = batch()
    loss_by_hand(other, module.tasks, given).backward()
    for name, found, expected in learning(module.network, other):
        assert torch.equal(found.grad, expected.grad), name


@pytest.mark.parametrize("without", [[], ["captioning"]])
def test_learnt_balance(without):
    module = make(balance="uncertainty")
    with torch.no_grad():
        module.balance.log_variance["semantic"].fill_(2.0)
    loss = backward(module, batch(without=without))
    parts = dict(module.parts)
    expected = 2.0 + sum(
        value * (0.1353352832 if name.startswith("semantic") else 1.0) for name, value in parts.items()
    )
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    for task, parameter in module.balance.log_variance.items():
        total = sum(value for name, value in parts.items() if name.startswith(f"{task}/"))
        share = total * (0.1353352832 if task == "semantic" else 1.0)
        assert parameter.grad.item() == pytest.approx(0.0 if task in without else 1 - share, rel=1e-4), task
    groups = module.configure_optimizers().param_groups
    mine = {id(parameter) for parameter in module.balance.parameters()}
    assert {group["weight_decay"] for group in groups for p in group["params"] if id(p) in mine} == {0.0}


def test_the_balance_is_clipped_on_its_own():
    module = make(balance="uncertainty", clip=1.0)
    backward(module, batch())
    module.configure_gradient_clipping(torch.optim.SGD(module.parameters()))
    for part in (module.network, module.balance):
        assert norm(part) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("fused", [True, False], ids=["fused adamw", "sgd"])
def test_scaled_gradients_are_clipped_at_their_true_size(fused):
    module = make({"semantic": {}}, clip=0.5, optimizer="adamw" if fused else "sgd")
    plain = copy.deepcopy(module.network)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    module._trainer.precision_plugin = SimpleNamespace(scaler=scaler)
    given = batch(without=["detection", "instance", "captioning"])
    optimizer, by_hand = module.configure_optimizers(), adamw(plain, module.config, [])
    for _ in range(2):
        optimizer.zero_grad()
        scaler.scale(module.training_step(given, 0)).backward()
        if not fused:
            scaler.unscale_(optimizer)  # Lightning does, where the optimiser does not do so itself
        module.configure_gradient_clipping(optimizer)
        assert norm(module.network) == pytest.approx(0.5, rel=1e-3)
        scaler.step(optimizer)
        scaler.update()
        by_hand.zero_grad()
        loss_by_hand(plain, module.tasks, given).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        by_hand.step()
    if fused:
        for name, found, expected in learning(module.network, plain):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5, msg=name)


def test_an_infinite_scaled_gradient_skips_the_step():
    module = make({"semantic": {}})
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    module._trainer.precision_plugin = SimpleNamespace(scaler=scaler)
    optimizer, before = module.configure_optimizers(), copy.deepcopy(module.network.state_dict())
    scaler.scale(module.training_step(batch(without=["detection", "instance", "captioning"]), 0)).backward()
    next(module.network.parameters()).grad.fill_(float("inf"))
    module.configure_gradient_clipping(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert all(torch.equal(before[name], p) for name, p in module.network.named_parameters())
    assert scaler.get_scale() == 2.0**11


def test_surgery_gives_every_parameter_a_gradient():
    pytest.importorskip("torchjd")
    module, plain = make(surgery="upgrad", balance="uncertainty"), make(balance="uncertainty")
    given = batch(without=["captioning"])
    for step in (module, plain):
        loss = step.training_step(given, 0)
        step.backward(loss)
        step.on_before_optimizer_step(None)
    trunk = {f"trunk.{name}" for name, _ in module.network.trunk.named_parameters()}
    differ = set()
    for name, found, expected in learning(module, plain):
        assert found.grad is not None, name
        assert found.grad.stride() == found.stride(), name
        if not torch.allclose(found.grad, expected.grad, rtol=1e-3, atol=1e-5):
            differ.add(name.removeprefix("network."))
    assert differ <= trunk
    assert differ


def test_surgery_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd", None)
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    monkeypatch.delitem(sys.modules, "yolor_mtl.training.surgery", raising=False)
    with pytest.raises(UserError, match=r"surgery=pcgrad: .*torchjd.*; pip install 'yolor-mtl\[surgery\]'"):
        make({"semantic": {}}, surgery="pcgrad")
