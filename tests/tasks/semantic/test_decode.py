"""The semantic map in the user's pixels."""

from __future__ import annotations

import pytest
import torch

from yolor_mtl.ops.frame import letterbox_frame, sample_original
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.semantic.decode import SemanticDecode


def test_two_halves() -> None:
    """Class 1 right of x = 48 of a frame that holds the picture at half its size: right of x = 96."""
    centres = (torch.arange(24) * 4 + 2.0).expand(16, 24)
    logits = torch.stack((48 - centres, centres - 48))
    found = SemanticDecode().restore({"logits": logits}, letterbox_frame((128, 192), (64, 96)), {})["map"]
    assert found.shape == (128, 192)
    assert found.dtype == torch.uint8
    assert (found[:, :96] == 0).all()
    assert (found[:, 96:] == 1).all()


@pytest.mark.parametrize("original", [(641, 333), (333, 641), (1, 1000), (7, 7), (3000, 1500)])
def test_bands_equal_the_whole(original: tuple[int, int]) -> None:
    frame = letterbox_frame(original, (64, 96))
    logits = torch.randn(9, 16, 24)
    found = SemanticDecode().restore({"logits": logits}, frame, {})["map"]
    whole = sample_original(logits, frame)
    chosen = whole.gather(0, found[None].long())[0]
    torch.testing.assert_close(chosen, whole.amax(0), atol=1e-4, rtol=0)


def test_one_answer_a_picture() -> None:
    logits = torch.randn(3, 5, 16, 24)
    found = SemanticDecode()({"logits": logits}, {}, DecodeOptions())
    assert len(found) == 3
    assert torch.equal(found[2]["logits"], logits[2])
