"""Mixtures of pictures: what they keep, and that their unlabelled parts never reach the semantic loss."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from drawn import BOX, drawn
from torch import Tensor

from yolor_mtl.build import Model, ModelConfig
from yolor_mtl.data.mosaic import mixup, mosaic, single
from yolor_mtl.records import IGNORE, LossOutput, Sample, UserError
from yolor_mtl.tasks.base import Task, total_loss
from yolor_mtl.training.config import train_config
from yolor_mtl.training.trainer import _check_augmentation

SIZE = (tiny.HEIGHT, tiny.WIDTH)
CLASSES = len(tiny.space().semantic)


def _sample(number: int, labelled: bool = True) -> Sample:
    """A picture whose classes are 2 * number and, inside, 2 * number + 1."""
    return drawn((50, 60), BOX, number, **({} if labelled else {"maps": {}}))


def _frame(labelled: bool, seed: int, number: int = 0) -> Sample:
    return single(_sample(number, labelled), SIZE, 0.2, np.random.default_rng(seed))


def test_mixup() -> None:
    first, second = _frame(True, 0), _frame(True, 1, 1)
    found = mixup(first, second, np.random.default_rng(0))
    share = np.random.default_rng(0).beta(32, 32)
    blend = first.image.numpy().astype(float) * share + second.image.numpy().astype(float) * (1 - share)
    assert np.abs(found.image.numpy() - blend).max() <= 0.51
    assert found.objects is not None
    assert found.objects["classes"].tolist() == [0, 1]
    assert torch.equal(found.maps["semantic"], torch.cat((first.maps["semantic"], second.maps["semantic"])))
    assert found.texts == {}
    assert first.texts  # the parts are left as they were
    assert torch.equal(found.image, mixup(first, second, np.random.default_rng(0)).image)


def test_mixup_with_an_unlabelled_picture() -> None:
    labelled, unlabelled = _frame(True, 0), _frame(False, 1)
    for pair, layer in (((labelled, unlabelled), 1), ((unlabelled, labelled), 0)):
        maps = mixup(*pair, np.random.default_rng(0)).maps["semantic"]
        assert maps.shape == (2, *SIZE)
        assert (maps[layer] == IGNORE).all()
        assert torch.equal(maps[1 - layer], labelled.maps["semantic"][0])
    assert mixup(unlabelled, unlabelled, np.random.default_rng(0)).maps == {}


def test_mixup_without_objects() -> None:
    parts = [drawn(SIZE, BOX, objects=None) for _ in range(2)]
    assert mixup(*parts, np.random.default_rng(0)).objects is None


def _semantic(loss: str) -> Task:
    tasks, _ = tiny.build({"semantic": {"loss": loss}})
    return tasks[0]


def _total(task: Task, logits: Tensor, maps: Tensor) -> tuple[Tensor, LossOutput]:
    assert task.loss is not None
    found = task.loss({"logits": logits}, {"maps": maps}, {})
    return total_loss([task], {"semantic": found})[0], found


def _check_untouched(task: Task, samples: list[Sample]) -> None:
    """The loss of a batch is that of its labelled pixels alone, whatever the network says of the others."""
    assert task.labels is not None
    usable = [sample for sample in samples if task.labels.usable(sample)]
    maps = task.labels.targets(usable)["maps"]
    known = (maps != IGNORE).all(1)
    assert known.any()
    assert not known.all()
    logits = (torch.randn(len(usable), CLASSES, *maps.shape[2:]) * 3).requires_grad_()
    total, terms = _total(task, logits, maps)
    total.backward()
    assert logits.grad is not None
    assert not logits.grad.permute(0, 2, 3, 1)[~known].any()
    noise = torch.where(known[:, None], logits.detach(), torch.randn_like(logits) * 1e3)
    assert torch.equal(_total(task, noise, maps)[0], total.detach())
    # As one row of labelled pixels.
    alone = logits.detach().permute(1, 0, 2, 3)[:, known][None, :, None]
    only, terms_only = _total(task, alone, maps.permute(1, 0, 2, 3)[:, known][None, :, None])
    torch.testing.assert_close(only, total.detach(), rtol=1e-5, atol=0)
    assert terms.terms.keys() == terms_only.terms.keys()
    assert all(terms.terms[name][1] == count for name, (_, count) in terms_only.terms.items())


@pytest.mark.parametrize("loss", ["softmax", "multilabel"])
def test_unlabelled_pictures_in_a_mosaic(loss: str) -> None:
    rng = np.random.default_rng(5)
    tiles = [_sample(0), _sample(1, labelled=False), _sample(1), _sample(0, labelled=False)]
    mixed = [mosaic(tiles[k:] + tiles[:k], SIZE, 0.3, rng) for k in range(4)]
    _check_untouched(_semantic(loss), [*mixed, mosaic([tiles[1]] * 4, SIZE, 0.3, rng), _frame(False, 0)])


def test_unlabelled_pictures_in_mixup() -> None:
    rng = np.random.default_rng(5)
    tiles = [_sample(0), _sample(1, labelled=False), _sample(1), _sample(0, labelled=False)]
    frames = [_frame(True, 0), _frame(True, 1, 1), _frame(False, 2), mosaic(tiles, SIZE, 0.3, rng)]
    pairs = [(0, 1), (0, 2), (2, 1), (3, 0), (2, 3), (2, 2)]
    mixed = [mixup(frames[a], frames[b], rng) for a, b in pairs]
    task = _semantic("multilabel")
    _check_untouched(task, [*mixed, frames[0], frames[3]])
    # Half labelled is not labelled: of such a blend the network learns nothing.
    assert task.labels is not None
    assert (task.labels.targets([mixed[1]])["maps"][:, 1] == IGNORE).all()


def _config_and_model(loss: str, *assigned: tuple[str, float]) -> tuple[object, Model]:
    tasks, network = tiny.build({"semantic": {"loss": loss}})
    return train_config({"augment": dict(assigned)}), Model(ModelConfig(), tiny.space(), tuple(tasks), network)


def test_mixup_needs_the_multilabel_loss() -> None:
    with pytest.raises(UserError, match=r"augment\.mixup breaks.*semantic.*semantic\.loss=multilabel or mixup=0"):
        _check_augmentation(*_config_and_model("softmax", ("mixup", 0.1)))  # type: ignore[arg-type]
    _check_augmentation(*_config_and_model("softmax", ("mosaic", 1.0)))  # type: ignore[arg-type]
    _check_augmentation(*_config_and_model("multilabel", ("mixup", 1.0)))  # type: ignore[arg-type]


def test_captions_do_not_survive_strong_augmentation() -> None:
    tasks, network = tiny.build({"captioning": {"view": "vision"}})
    model = Model(ModelConfig(), tiny.space(), tuple(tasks), network)
    for key in ("mosaic", "flip"):
        augment = {"mosaic": 0.0, "mixup": 0.0, "flip": 0.0, key: 0.5}
        with pytest.raises(UserError, match=rf"augment\.{key} breaks .*captioning\.view=language"):
            _check_augmentation(train_config({"augment": augment}), model)
