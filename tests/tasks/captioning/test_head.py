"""The text decoder: word by word gives what teacher forcing gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import CAPTIONS, build, images, targets, tokenizer
from torch import Tensor

from yolor_mtl.build import Model, ModelConfig, build_model, load_model, save_model
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.ops.frame import letterbox_frame
from yolor_mtl.records import UserError
from yolor_mtl.tasks.base import DecodeOptions, decode_all
from yolor_mtl.tasks.captioning.head import CaptionHead, sine_positions
from yolor_mtl.tasks.captioning.pre_norm import Groups

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


def test_positions_of_a_picture_are_those_in_its_padded_square() -> None:
    square = sine_positions(8, 8, 32, torch.device("cpu")).unflatten(0, (8, 8))
    torch.testing.assert_close(sine_positions(4, 8, 32, torch.device("cpu")), square[2:6].flatten(0, 1))
    torch.testing.assert_close(sine_positions(8, 2, 32, torch.device("cpu")), square[:, 3:5].flatten(0, 1))


def test_in_the_network_captions_share_one_pass() -> None:
    _, network = build({"captioning": {}})
    wanted = targets()["captioning"]
    out = network(images(), inputs={"captioning": wanted})["captioning"]
    assert out["memory"].shape == (2, 6, 32)
    assert out["logits"].shape == (len(CAPTIONS), wanted["tokens"].shape[1] - 1, tokenizer().size)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(1, 4))
def test_groups_put_captions_of_a_picture_side_by_side(image: list[int], words: int) -> None:
    """In any order, pictures without captions among them; what is put there comes back, and the rest is zero."""
    groups, x = Groups(torch.tensor(image), 4), torch.randn(len(image), words, 5)
    grouped = groups.gather(x)
    assert grouped.shape == (4, groups.most * words, 5)
    assert groups.most == max(image.count(row) for row in range(4))
    assert torch.equal(groups.scatter(grouped), x)
    for row in range(4):
        wanted = torch.cat([x[i] for i, of in enumerate(image) if of == row] or [x.new_zeros(0, 5)])
        assert torch.equal(grouped[row, : len(wanted)], wanted)
        assert not grouped[row, len(wanted) :].any()


def _object_model() -> Model:
    torch.manual_seed(0)
    objects = {"count": 5, "features": ["c3", "p4"]}
    blocks = {**tiny.BLOCKS, "captioning": {**tiny.BLOCKS["captioning"], "objects": objects}}
    return build_model(ModelConfig(64, tiny.TRUNK, blocks), tiny.space())


def test_objects_beside_the_cells(tmp_path: Path) -> None:
    """In the network: trained, saved, loaded, fused, asked for alone; the words see the objects."""
    model = _object_model()
    wanted = targets()["captioning"]
    out = model.network.train()(images(), ["captioning"], inputs={"captioning": wanted})["captioning"]
    assert out["memory"].shape == (2, 6 + 5, 32)
    out["logits"].square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.network.heads["captioning"].objects.parameters())
    save_model(model, tmp_path / "model.safetensors")
    pictures, answers = images(), []
    frames = [letterbox_frame((tiny.HEIGHT, tiny.WIDTH), (tiny.HEIGHT, tiny.WIDTH))] * 2
    for loaded in (load_model(tmp_path / "model.safetensors"), load_model(tmp_path / "model.safetensors").inference()):
        with torch.inference_mode():
            found = decode_all(loaded.tasks, loaded.network(pictures), frames, DecodeOptions(beam=2))
        answers.append([answer["captioning"]["tokens"] for answer in found])
    assert answers[0] == answers[1]


def test_without_detection_there_are_no_objects() -> None:
    """Neither in data without classes nor in a training without that task; weights that know objects bring its head."""
    config = _object_model().config
    alone = build_model(config, tiny.space(), ["captioning"])
    assert alone.network.heads["captioning"].objects is None
    assert alone.config.tasks["captioning"]["objects"]["count"] == 0
    nothing = replace(tiny.space(), things=())
    assert build_model(config, nothing, ["captioning"]).network.heads["captioning"].objects is None


def test_one_task_of_weights_that_know_objects(tmp_path: Path) -> None:
    """Asked for alone, captions are the same, and nothing else is answered."""
    whole = _object_model()
    save_model(whole, tmp_path / "model.safetensors")
    alone = load_model(tmp_path / "model.safetensors", ["captioning"])
    assert [task.name for task in alone.tasks] == ["captioning"]
    assert set(alone.network.heads) == {"captioning", "detection"}
    pictures = images()
    frames = [letterbox_frame((tiny.HEIGHT, tiny.WIDTH), (tiny.HEIGHT, tiny.WIDTH))] * 2
    with torch.inference_mode():
        found = [
            decode_all(model.tasks, model.network.eval()(pictures), frames, DecodeOptions()) for model in (whole, alone)
        ]
    assert [set(answer) for answer in found[1]] == [{"captioning"}] * 2
    assert [a["captioning"]["text"] for a in found[0]] == [a["captioning"]["text"] for a in found[1]]


def test_numbers_of_objects_that_cannot_be() -> None:
    blocks = {"captioning": {**tiny.BLOCKS["captioning"], "objects": {"count": 5}}}
    for key, message in (("count", "objects.count=-1"), ("layers", "objects.layers=-1")):
        changed = {**blocks["captioning"], "objects": {"count": 5, key: -1}}
        with pytest.raises(UserError, match=message):
            build_model(ModelConfig(64, tiny.TRUNK, {**tiny.BLOCKS, "captioning": changed}), tiny.space())
