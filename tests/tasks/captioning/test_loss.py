"""Caption loss against a loop over words."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from yolor_mtl.tasks.captioning.loss import CaptionLoss
from yolor_mtl.tasks.captioning.tokenizer import END, PAD, START

TOKENS = torch.tensor([[START, 5, 6, END, PAD], [START, 7, END, PAD, PAD]])


def _by_loops(logits: Tensor, smoothing: float) -> float:
    total = 0.0
    for row in range(2):
        for place in range(4):
            word = int(TOKENS[row, place + 1])
            if word != PAD:
                chances = logits[row, place].detach().log_softmax(-1)
                total -= (1 - smoothing) * float(chances[word]) + smoothing * float(chances.mean())
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_as_a_loop(smoothing: float) -> None:
    logits = torch.randn(2, 4, 9, requires_grad=True)
    value, count = CaptionLoss(smoothing)({"logits": logits}, {"tokens": TOKENS}, {}).terms["words"]
    assert value.item() == pytest.approx(_by_loops(logits, smoothing), rel=1e-5)
    assert count.item() == 5
    value.backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum(-1).bool().tolist() == (TOKENS[:, 1:] != PAD).tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_extreme_logits(dtype: torch.dtype) -> None:
    logits = (torch.randn(2, 4, 9) * 1e4).to(dtype).requires_grad_()
    value = CaptionLoss()({"logits": logits}, {"tokens": TOKENS}, {}).terms["words"][0]
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
