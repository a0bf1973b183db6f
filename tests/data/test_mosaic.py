"""Mixtures of pictures: what they keep, and that their unlabelled parts never reach the semantic loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from drawn import BOX, drawn, extent, painted
from torch import Tensor

from yolor_mtl.data.mosaic import copy_paste, erase, mixup, mosaic, single
from yolor_mtl.records import IGNORE, LossOutput, Sample
from yolor_mtl.tasks.base import Task, total_loss

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
    assert found.texts == first.texts
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


def _pasted(first: Sample, second: Sample) -> Sample:
    """With a seed that pastes what there is, not mirrored."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        if rng.random() >= 0.5 and rng.random() < 0.5:
            return copy_paste(first, second, np.random.default_rng(seed))
    raise AssertionError


def test_pasted_things_hide_what_they_cover() -> None:
    first, second = drawn(SIZE, (10, 10, 50, 50)), drawn(SIZE, (30, 0, 80, 60), 1)
    found = _pasted(first, second)
    table = found.objects
    assert table is not None
    assert table["classes"].tolist() == [0, 1]
    assert table["boxes"].tolist() == [[10, 10, 30, 50], [30, 0, 80, 60]]
    colours, semantic = painted(found.image), found.maps["semantic"][0].numpy()
    for row, number in enumerate((0, 1)):
        mask = table["masks"][row].numpy() == 1
        assert np.array_equal(mask, colours == number)
        assert np.array_equal(mask, semantic == 2 * number + 1)
    # Around them the first picture's background.
    assert (semantic[colours == -1] == 0).all()
    assert found.texts == first.texts
    assert first.objects is not None
    assert first.objects["boxes"].tolist() == [[10, 10, 50, 50]]  # the parts are left as they were


def test_a_thing_hidden_by_a_pasted_one_goes() -> None:
    found = _pasted(drawn(SIZE, (30, 10, 50, 30)), drawn(SIZE, (20, 0, 80, 60), 1)).objects
    assert found is not None
    assert found["classes"].tolist() == [1]


def test_pasted_without_a_map_is_unlabelled() -> None:
    found = _pasted(drawn(SIZE, (0, 0, 20, 20)), drawn(SIZE, (30, 0, 80, 60), 1, maps={}))
    semantic = found.maps["semantic"][0]
    assert (semantic[0:60, 30:80] == IGNORE).all()
    assert int((semantic == IGNORE).sum()) == 50 * 60


def test_what_cannot_be_pasted() -> None:
    """Without masks, crowds, or where the first picture's objects are unknown."""
    plain, other = drawn(SIZE, (0, 0, 20, 20)), drawn(SIZE, (30, 0, 80, 60), 1)
    assert other.objects is not None
    crowd = replace(other, objects={**other.objects, "crowd": torch.tensor([True])})
    maskless = replace(other, objects={**other.objects, "has_mask": torch.tensor([False])})
    unknown = replace(plain, objects=None)
    for first, second in ((plain, crowd), (plain, maskless), (unknown, other), (plain, replace(other, objects=None))):
        assert _pasted(first, second) is first


@pytest.mark.parametrize("seed", range(6))
def test_erased(seed: int) -> None:
    sample = drawn(SIZE, (0, 0, SIZE[1], SIZE[0]))
    found = erase(sample, np.random.default_rng(seed))
    hole = painted(found.image) == -2
    assert 0.01 <= hole.mean() <= 0.25
    x1, y1, x2, y2 = (int(side) for side in extent(hole))
    assert hole[y1:y2, x1:x2].all()
    assert np.array_equal(found.maps["semantic"][0].numpy() == IGNORE, hole)
    assert found.objects is not None
    assert np.array_equal(found.objects["masks"][0].numpy() == 0, hole)
    assert found.objects["boxes"][0].tolist() == list(extent(~hole))
