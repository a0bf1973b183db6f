"""The head over regions: what it looks at, and that word by word gives what teacher forcing gives.

That it equals the released caption part is shown in ``tests/parity``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from yolor_mtl.build import Model, ModelConfig, build_model, load_model, save_model
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.ops.frame import letterbox_frame
from yolor_mtl.records import Outputs, UserError
from yolor_mtl.tasks.base import DecodeOptions, decode_all, task_losses, total_loss
from yolor_mtl.tasks.captioning.region_head import RegionCaptionHead
from yolor_mtl.tasks.captioning.tokenizer import PAD

INFOS = {"p3": FeatureInfo(6, 8), "p4": FeatureInfo(10, 16), "c5": FeatureInfo(12, 32), "u2": FeatureInfo(6, 4)}
POINTS, WORDS, CLASSES = 8 * 12 + 4 * 6, 20, 5


def _head(count: int = 7, layers: int = 2, dropout: float = 0.2) -> RegionCaptionHead:
    torch.manual_seed(0)
    head = RegionCaptionHead(
        INFOS,
        WORDS,
        levels=("p3", "p4"),
        grid="c5",
        classes="u2",
        count=count,
        width=16,
        layers=layers,
        heads=2,
        feed_forward=24,
        dropout=dropout,
        max_tokens=12,
    )
    tiny.randomise(head)
    return head.eval()


def _features(rows: int = 2) -> dict[str, Tensor]:
    return {name: torch.randn(rows, i.channels, 64 // i.stride, 96 // i.stride) for name, i in INFOS.items()}


def _read(rows: int = 2) -> dict[str, Outputs]:
    return {
        "detection": {"main.class_logits": torch.randn(rows, POINTS, 3), "other.class_logits": torch.zeros(1)},
        "semantic": {"logits": torch.randn(rows, CLASSES, 16, 24)},
    }


@torch.inference_mode()
@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=10), st.integers(1, 3))
def test_steps_equal_the_full_forward(words: list[int], layers: int) -> None:
    """Any tokens, padding before, between and after words among them."""
    head, features, read = _head(layers=layers), _features(), _read()
    tokens = torch.tensor([[*words, PAD], [*reversed(words), PAD], [*words, 5]])
    image = torch.tensor([0, 1, 1])
    out = head(features, read, {"tokens": tokens, "image": image})
    assert out["logits"].shape == (3, len(words), WORDS)
    cache = head.start({name: out[name][image] for name in head.memories})
    for place in range(len(words)):
        logits, cache, attention = head.step(tokens[:, place], cache)
        torch.testing.assert_close(logits, out["logits"][:, place], atol=1e-5, rtol=1e-4)
        assert attention.shape == (3, 2 * 3)
        torch.testing.assert_close(attention.sum(1), torch.ones(3))
    assert not out["logits"][tokens[:, :-1] == PAD].any()
    assert {value.shape[1] for value in cache.values()} == {3}


@torch.inference_mode()
def test_a_word_sees_only_words_before_it() -> None:
    head, features, read = _head(), _features(1), _read(1)
    tokens, image = torch.tensor([[2, 7, 8, PAD, 9, 6, 0]]), torch.tensor([0])

    def logits(place: int, token: int) -> Tensor:
        changed = tokens.clone()
        changed[0, place] = token
        return head(features, read, {"tokens": changed, "image": image})["logits"]

    before = logits(0, 2)
    later = (logits(4, 11) - before).abs().sum(-1)[0]
    assert not later[:4].any()
    assert later[4:].all()
    # A word where padding was: it answers itself, and the ones after it see it.
    word = (logits(3, 11) - before).abs().sum(-1)[0]
    assert not word[:3].any()
    assert word[3:].all()


@torch.inference_mode()
def test_what_is_read() -> None:
    """Objects by the best class of a point, best first; classes where each is most likely; cells in their order."""
    head, features, read = _head(count=2), _features(1), _read(1)
    read["detection"]["main.class_logits"][0, 3 * 12 + 5, 1] = 90  # p3, row 3, column 5
    read["detection"]["main.class_logits"][0, 96 + 2 * 6 + 4, 2] = 99  # p4, row 2, column 4
    read["semantic"]["logits"][0, 3, 7, 11] = 99
    memory = head(features, read)
    assert memory["grid_memory"].shape == (1, 6, 16)
    assert memory["region_memory"].shape == (1, 2 + CLASSES, 16)
    found = memory["region_memory"][0]
    torch.testing.assert_close(found[0], head.levels[1](features["p4"])[0, :, 2, 4], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1], head.levels[0](features["p3"])[0, :, 3, 5], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[2 + 3], head.classes(features["u2"])[0, :, 7, 11], atol=1e-5, rtol=1e-4)
    # Fewer points than are asked for: all of them.
    assert _head(count=10**6)(features, read)["region_memory"].shape == (1, POINTS + CLASSES, 16)


def test_training_reads_the_same_cells() -> None:
    """The whole maps are convolved in training, the picked cells alone otherwise; with the same norms that is equal."""
    head, features, read = _head(dropout=0.0), _features(), _read()
    with torch.no_grad():
        wanted = head(features, read)
        head.training = True
        found = head(features, read)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


def test_gradients() -> None:
    """Everything learns but the position table, the dead gate and the padding word; choosing has no gradient."""
    head, features, read = _head(count=POINTS).train(), _features(), _read()
    leaves = [*features.values(), read["detection"]["main.class_logits"], read["semantic"]["logits"]]
    for leaf in leaves:
        leaf.requires_grad_()
    inputs = {"tokens": torch.tensor([[2, 7, PAD, 9, 3], [2, 6, 3, 0, 0]]), "image": torch.tensor([0, 1])}
    head(features, read, inputs)["logits"].square().sum().backward()
    frozen = {name for name, parameter in head.named_parameters() if not parameter.requires_grad}
    assert frozen == {"positions"} | {f"layers.{i}.unused_gate.{kind}" for i in range(2) for kind in ("weight", "bias")}
    # A key's bias adds the same to all scores of a query: softmax does not see it.
    silent = {name for name, p in head.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-6}
    assert {name for name in silent if not name.endswith("key.bias")} == frozen
    assert head.embedding.weight.grad is not None
    assert not head.embedding.weight.grad[PAD].any()
    assert all(x.grad is not None and x.grad.any() for x in features.values())
    assert read["detection"]["main.class_logits"].grad is None
    assert read["semantic"]["logits"].grad is None


def test_dropout_works_in_training_only() -> None:
    head, features, read = _head(), _features(1), _read(1)
    inputs = {"tokens": torch.tensor([[2, 7, 8, 3]]), "image": torch.tensor([0])}
    with torch.no_grad():
        assert torch.equal(head(features, read, inputs)["logits"], head(features, read, inputs)["logits"])
        memory = head(features, read)
        wanted = head.step(torch.tensor([2]), head.start(memory))[0]
        head.train()
        assert not torch.equal(head(features, read, inputs)["logits"], head(features, read, inputs)["logits"])
        assert torch.equal(head.step(torch.tensor([2]), head.start(memory))[0], wanted)


@torch.inference_mode()
def test_half_precision() -> None:
    head, features, read = _head(), _features(), _read()
    inputs = {"tokens": torch.tensor([[2, 7, PAD, 9, 3]]), "image": torch.tensor([1])}
    wanted = head(features, read, inputs)["logits"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head(features, read, inputs)["logits"]
    assert (found.float() - wanted).abs().max() < 0.1 * wanted.abs().max()


def test_outputs_that_do_not_fit_are_refused() -> None:
    head, features, read = _head(), _features(), _read()
    with pytest.raises(UserError, match=r"regions.levels.*where detection answers"):
        head({**features, "p4": features["p4"][:, :, 1:]}, read)
    with pytest.raises(UserError, match=r"regions.classes.*where semantic answers"):
        head({**features, "u2": features["u2"][:, :, 1:]}, read)
    with pytest.raises(UserError, match="where detection answers"):
        head(features, {**read, "detection": _read(1)["detection"]})
    head.branch = "many"
    with pytest.raises(UserError, match=r"regions.branch='many'; detection has: main, other"):
        head(features, read)


# In a network.

REGIONS: dict[str, Any] = {"grid": "c5", "classes": "p3", "count": 9, "width": 16, "heads": 2, "feed_forward": 24}


def _model(**changes: Any) -> Model:
    torch.manual_seed(0)
    blocks = {
        **tiny.BLOCKS,
        "semantic": {"enlarge": 1},
        "captioning": {"head": "regions", "max_tokens": 12, "regions": REGIONS, **changes},
    }
    return build_model(ModelConfig(64, tiny.TRUNK, blocks), tiny.space())


def test_in_the_network(tmp_path: Path) -> None:
    model = _model(search={"steps": 5})
    wanted = tiny.targets()
    outputs = model.network.train()(tiny.images(), ["captioning"], inputs={"captioning": wanted["captioning"]})
    losses = task_losses([task for task in model.tasks if task.name == "captioning"], outputs, wanted)
    total, parts = total_loss(model.tasks, losses)
    assert set(parts) == {"captioning/words"}
    total.backward()
    frames = [letterbox_frame((tiny.HEIGHT, tiny.WIDTH), (tiny.HEIGHT, tiny.WIDTH))] * 2
    save_model(model, tmp_path / "model.safetensors")
    pictures = tiny.images()
    answers = []
    for loaded in (load_model(tmp_path / "model.safetensors"), load_model(tmp_path / "model.safetensors").inference()):
        with torch.inference_mode():
            found = decode_all(loaded.tasks, loaded.network(pictures), frames, DecodeOptions(beam=3))
        answers.append([answer["captioning"] for answer in found])
    assert [a["tokens"] for a in answers[0]] == [a["tokens"] for a in answers[1]]
    assert all(1 <= len(answer["text"].split()) <= 5 for answer in answers[0])


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"head": "region"}, "did you mean 'regions'"),
        ({"width": 64}, "width is a key of captioning.head=cells"),
        ({"implicit": False}, "implicit is a key of captioning.head=cells"),
        ({"head": "cells"}, "regions is a key of captioning.head=regions"),
        ({"regions": {**REGIONS, "heads": 3}}, "width=16 must be a multiple of heads=3"),
        ({"regions": {**REGIONS, "count": 0}}, "regions.count=0"),
        ({"regions": {**REGIONS, "cuont": 1}}, "did you mean 'count'"),
        ({"max_tokens": 2}, "max_tokens=2"),
    ],
)
def test_refused(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _model(**block)


def test_it_reads_other_tasks() -> None:
    model = _model()
    task = next(task for task in model.tasks if task.name == "captioning")
    assert task.reads == ("detection", "semantic")
    assert task.features == ("p3", "p4", "p5", "c5")
    with pytest.raises(UserError, match=r"needs \['detection', 'semantic'\]"):
        build_model(model.config, model.space, ["captioning"])
