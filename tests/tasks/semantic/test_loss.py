"""Both semantic losses against loops over pixels; what carries no label changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from yolor_mtl.records import IGNORE, LossOutput
from yolor_mtl.tasks.semantic.loss import MultilabelLoss, SoftmaxLoss, multilabel_targets

CLASSES, HEIGHT, WIDTH = 5, 4, 6
LOSSES = [SoftmaxLoss(), MultilabelLoss()]


def _maps(rows: int = 2, layers: int = 1) -> Tensor:
    maps = torch.randint(0, CLASSES, (rows, layers, HEIGHT, WIDTH), dtype=torch.uint8)
    maps[:, :, 0, :3] = IGNORE
    return maps


def _logits(rows: int = 2) -> Tensor:
    return (torch.randn(rows, CLASSES, HEIGHT, WIDTH) * 3).requires_grad_()


def _total(loss: LossOutput) -> Tensor:
    return torch.stack([value / count.clamp(min=1) for value, count in loss.terms.values()]).sum()


def test_softmax_as_a_loop() -> None:
    logits, maps = _logits(), _maps()
    total, pixels = 0.0, 0
    for row in range(2):
        for y in range(HEIGHT):
            for x in range(WIDTH):
                if maps[row, 0, y, x] != IGNORE:
                    total += float(F.cross_entropy(logits[row, :, y, x].detach(), maps[row, 0, y, x].long()))
                    pixels += 1
    value, count = SoftmaxLoss()({"logits": logits}, {"maps": maps}, {}).terms["cross_entropy"]
    assert value.item() == pytest.approx(total, rel=1e-5)
    assert count.item() == pixels == 2 * (HEIGHT * WIDTH - 3)


@pytest.mark.parametrize("layers", [1, 2])
def test_multilabel_as_a_loop(layers: int) -> None:
    logits, maps = _logits(), _maps(layers=layers)
    maps[1, -1, 3] = IGNORE  # one layer unlabelled: nothing is known of the pixel
    focal, overlap, shares, truths, pixels = 0.0, 0.0, 0.0, 0.0, 0
    for row in range(2):
        for y in range(HEIGHT):
            for x in range(WIDTH):
                here = set(maps[row, :, y, x].tolist())
                if IGNORE in here:
                    continue
                pixels += 1
                soft = logits[row, :, y, x].detach().softmax(0)
                for cls in range(CLASSES):
                    p = logits[row, cls, y, x].detach().double().sigmoid()
                    hit = cls in here
                    # Lin et al., arXiv 1708.02002, eq. 5.
                    focal -= float(0.25 * (1 - p) ** 2 * p.log() if hit else 0.75 * p**2 * (1 - p).log())
                    overlap += float(soft[cls]) * hit
                    shares += float(soft[cls])
                    truths += hit
    terms = MultilabelLoss()({"logits": logits}, {"maps": maps}, {}).terms
    assert terms["focal"][0].item() == pytest.approx(focal, rel=1e-4)
    assert terms["focal"][1].item() == pixels * CLASSES
    assert terms["dice"][0].item() == pytest.approx(1 - (2 * overlap + 1) / (shares + truths + 1), rel=1e-4)
    assert terms["dice"][1].item() == 1


@pytest.mark.parametrize("loss", LOSSES, ids=["softmax", "multilabel"])
def test_unlabelled_pixels_change_nothing(loss: SoftmaxLoss | MultilabelLoss) -> None:
    logits, maps = _logits(3), _maps(3)
    maps[1] = IGNORE  # a whole picture
    unlabelled = (maps == IGNORE).expand_as(logits)
    before = _total(loss({"logits": logits}, {"maps": maps}, {}))
    before.backward()
    assert logits.grad is not None
    assert not logits.grad[unlabelled].any()
    assert logits.grad[~unlabelled].all()
    for noise in (1e4, -1e4):
        changed = torch.where(unlabelled, noise * torch.rand(logits.shape), logits.detach())
        assert torch.equal(_total(loss({"logits": changed}, {"maps": maps}, {})), before)
    alone = _total(loss({"logits": logits[[0, 2]]}, {"maps": maps[[0, 2]]}, {}))
    torch.testing.assert_close(alone, before, atol=0, rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=["softmax", "multilabel"])
def test_nothing_labelled(loss: SoftmaxLoss | MultilabelLoss) -> None:
    logits = _logits()
    found = _total(loss({"logits": logits}, {"maps": torch.full((2, 1, HEIGHT, WIDTH), IGNORE, dtype=torch.uint8)}, {}))
    found.backward()
    assert found.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", LOSSES, ids=["softmax", "multilabel"])
def test_extreme_logits_in_half_precision(loss: SoftmaxLoss | MultilabelLoss, dtype: torch.dtype) -> None:
    logits = (torch.randn(2, CLASSES, HEIGHT, WIDTH) * 1e4).to(dtype).requires_grad_()
    found = _total(loss({"logits": logits}, {"maps": _maps()}, {}))
    found.backward()
    assert torch.isfinite(found)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_layers_hold_together() -> None:
    maps = torch.tensor([[[[0, 1, IGNORE, 4]], [[2, 1, 0, IGNORE]]]], dtype=torch.uint8)
    wanted, known = multilabel_targets(maps, CLASSES)
    assert known[0, 0, 0].tolist() == [1, 1, 0, 0]
    assert wanted[0, :, 0].T.tolist() == [[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0] * 5, [0] * 5]
