"""The text decoder: word by word gives what teacher forcing gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import CAPTIONS, build, images, targets, tokenizer
from torch import Tensor

from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.tasks.captioning.head import CaptionHead, sine_positions

INFOS = {"p4": FeatureInfo(6, 16), "p5": FeatureInfo(10, 32)}
SIZES: dict[str, Any] = {
    "width": 32,
    "layers": 3,
    "heads": 4,
    "feed_forward": 48,
    "dropout": 0.1,
    "max_tokens": 12,
    "output": (),
}


def _head(features: tuple[str, ...] = ("p5",), tied: bool = False, implicit: bool = True) -> CaptionHead:
    torch.manual_seed(0)
    return CaptionHead(features, INFOS, 20, tied=tied, implicit=implicit, **SIZES).eval()


def _features(rows: int = 2) -> dict[str, Tensor]:
    return {"p4": torch.randn(rows, 6, 4, 6), "p5": torch.randn(rows, 10, 2, 3)}


@pytest.mark.parametrize("features", [("p5",), ("p4", "p5")])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("implicit", [True, False])
@torch.inference_mode()
def test_steps_equal_the_full_forward(features: tuple[str, ...], tied: bool, implicit: bool) -> None:
    head, seen = _head(features, tied, implicit), _features()
    tokens, image = torch.randint(4, 20, (3, 9)), torch.tensor([0, 0, 1])
    out = head(seen, {}, {"tokens": tokens, "image": image})
    assert out["logits"].shape == (3, 8, 20)
    assert torch.equal(out["memory"], head(seen, {})["memory"])
    cache = head.start({"memory": out["memory"][image]})
    for place in range(8):
        logits, cache, attention = head.step(tokens[:, place], cache)
        torch.testing.assert_close(logits, out["logits"][:, place], atol=1e-4, rtol=1e-4)
        assert attention.shape == (3, out["memory"].shape[1])
        torch.testing.assert_close(attention.sum(1), torch.ones(3))
        assert (attention >= 0).all()
    assert cache["keys"].shape == cache["values"].shape == (3, 3, 4, 8, 8)


@torch.inference_mode()
def test_a_word_sees_only_the_ones_before_it() -> None:
    head, seen = _head(), _features(1)
    tokens, image = torch.randint(4, 20, (1, 9)), torch.tensor([0])
    before = head(seen, {}, {"tokens": tokens, "image": image})["logits"]
    tokens[0, 5] = 4 if tokens[0, 5] != 4 else 5
    changed = (head(seen, {}, {"tokens": tokens, "image": image})["logits"] - before).abs().sum(-1)[0]
    assert not changed[:5].any()
    assert changed[5:].all()


@torch.inference_mode()
def test_a_caption_sees_its_own_picture() -> None:
    head, seen = _head(), _features()
    inputs = {"tokens": torch.randint(4, 20, (2, 6)), "image": torch.tensor([0, 1])}
    before = head(seen, {}, inputs)["logits"]
    seen["p5"][1] += 1
    changed = (head(seen, {}, inputs)["logits"] - before).abs().sum((1, 2))
    assert changed[0] == 0
    assert changed[1] > 0


def test_dropout_works_in_training_only() -> None:
    head, seen = _head(), _features(1)
    inputs = {"tokens": torch.randint(4, 20, (1, 6)), "image": torch.tensor([0])}
    with torch.no_grad():
        assert torch.equal(head(seen, {}, inputs)["logits"], head(seen, {}, inputs)["logits"])
        head.train()
        assert not torch.equal(head(seen, {}, inputs)["logits"], head(seen, {}, inputs)["logits"])


def test_tied_output_has_no_weights_of_its_own() -> None:
    def size(tied: bool) -> int:
        return sum(parameter.numel() for parameter in _head(tied=tied).parameters())

    assert size(tied=False) - size(tied=True) == 20 * 32


def test_positions_differ_from_place_to_place() -> None:
    codes = sine_positions(5, 7, 32, torch.device("cpu"))
    assert codes.shape == (35, 32)
    apart = torch.cdist(codes, codes) + torch.eye(35) * 9
    assert apart.min() > 0.1
    # The same place of the picture has the same code at every size: cell (0, 0) of one is the middle of 3 x 3.
    one = sine_positions(1, 1, 32, torch.device("cpu"))[0]
    torch.testing.assert_close(one, sine_positions(3, 3, 32, torch.device("cpu"))[4], atol=1e-4, rtol=0)


def test_in_the_network_captions_share_one_pass() -> None:
    _, network = build({"captioning": {}})
    wanted = targets()["captioning"]
    out = network(images(), inputs={"captioning": wanted})["captioning"]
    assert out["memory"].shape == (2, 6, 32)
    assert out["logits"].shape == (len(CAPTIONS), wanted["tokens"].shape[1] - 1, tokenizer().size)
