"""Published checkpoints as models: the same numbers before and after, whatever form the file has."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import foreign_classes, network, publish, published_state, top, untrained
from released import TOLERANCE, as_released, gaps, images, measured, released_state
from torch import Tensor

from yolor_mtl import YOLORMTL
from yolor_mtl.build import Model, load_model, save_model
from yolor_mtl.data.coco_stuff_classes import released_space
from yolor_mtl.inference.published import import_model, load_published
from yolor_mtl.records import UserError
from yolor_mtl.tasks.captioning.tokenizer import LIST_SPECIALS

NAME = "gelan-c-pan"
WORDS = [*LIST_SPECIALS, *(f"word{number}" for number in range(10202 - len(LIST_SPECIALS)))]


def flat(model: Model) -> dict[str, Tensor]:
    """All outputs for a small picture."""
    with torch.inference_mode():
        out = model.network(images()[..., :96, :96])
    return {
        f"{task}.{key}": value for task, held in out.items() for key, value in held.items() if torch.is_tensor(value)
    }


def assert_same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in wanted.items())


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As published: half precision, stripped."""
    return publish(tmp_path_factory.mktemp("published") / "half.pt", published_state(NAME), half=True)


@pytest.fixture(scope="module")
def wanted() -> dict[str, Tensor]:
    return flat(untrained(NAME))


def test_round_trip(half: Path, wanted: dict[str, Tensor], tmp_path: Path) -> None:
    imported = import_model(half)
    assert (imported.release.name, imported.part, imported.wordless) == (NAME, "model", ())
    assert imported.used == imported.tensors == len(published_state(NAME))
    assert imported.notes() == []
    imported.check()
    assert not imported.model.network.training
    assert_same(flat(imported.model), wanted)
    save_model(imported.model, tmp_path / "a.safetensors")
    loaded = load_model(tmp_path / "a.safetensors")
    assert_same(flat(loaded), wanted)
    assert loaded.space == imported.model.space == released_space()
    assert loaded.config.imgsz == 640


def test_averaged_weights_and_frozen_norms(wanted: dict[str, Tensor], tmp_path: Path) -> None:
    """An unstripped file: the averaged weights are taken, and nothing else is even read."""
    state = published_state(NAME)
    path = tmp_path / "last.pt"
    with foreign_classes() as make:
        other = {
            key: torch.full_like(tensor, 0.25) if tensor.is_floating_point() else tensor
            for key, tensor in state.items()
        }
        ema = network(state, make, frozen=True)
        torch.save(top(model=network(other, make).half(), ema=ema, epoch=3), path)
    imported = import_model(path)
    assert imported.part == "ema"
    assert len(imported.translation.added) > 100
    assert imported.used == imported.tensors
    imported.check()
    assert_same(flat(imported.model), wanted)


def test_some_tasks(half: Path, wanted: dict[str, Tensor]) -> None:
    imported = import_model(half, ["semantic"])
    imported.check()
    assert list(imported.model.config.tasks) == ["semantic"]
    found = flat(imported.model)
    assert found
    assert_same(found, {key: value for key, value in wanted.items() if key.startswith("semantic.")})
    assert imported.dropped.keys() >= {"heads.detection", "heads.instance"}
    with pytest.raises(UserError, match="has no task 'captioning'"):
        import_model(half, ["captioning"])


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tensor too few, one too many and one of another shape."""
    state = published_state(NAME)
    del state["model.0.conv.weight"]
    state["model.22.uconv.cv2.more"] = torch.ones(2)
    state["model.1.bn.bias"] = torch.ones(3)
    return publish(tmp_path_factory.mktemp("published") / "faulty.pt", state, half=True)


def test_what_does_not_fit_is_refused_or_told(faulty: Path) -> None:
    parts = [
        "1 unused (model.22.uconv.cv2.more, ...)",
        "2 missing (trunk.backbone.stem.0.conv.weight, ...)",
        "1 of another shape (model.1.bn.bias: (3,) where (128,) is needed, ...)",
    ]
    with pytest.raises(UserError, match="was taken for gelan-c-pan, but tensors do not fit") as caught:
        load_published(faulty, [], "", True, str)
    said: list[str] = []
    load_published(faulty, [], "", False, said.append)
    assert len(said) == 1
    assert "what is missing keeps untrained values" in said[0]
    for part in parts:
        assert part in str(caught.value)
        assert part in said[0]


def test_the_class(half: Path, faulty: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    keys: dict[str, Any] = {"device": "cpu", "half": False, "imgsz": 64}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = YOLORMTL(half, **keys)
    assert list(model.names.values()) == list(released_space().names)
    (result,) = model.predict(picture, conf=0.0, max_det=3)
    assert len(result.boxes) == 3
    assert result.semantic.shape == (40, 60)
    assert result.caption is None
    with pytest.raises(UserError, match="strict=false uses the file all the same"):
        YOLORMTL(faulty, **keys)
    with pytest.warns(UserWarning, match=r"faulty\.pt is used as gelan-c-pan although"):
        YOLORMTL(faulty, strict=False, **keys)
    with pytest.raises(UserError, match="no checkpoint"):
        YOLORMTL(half.with_name("absent.pt"))


def test_words_belong_to_published_files(half: Path, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    with pytest.raises(UserError, match="gelan-c-pan, which writes no captions; leave vocab= out"):
        YOLORMTL(half, vocab=tmp_path / "vocab.txt")
    with pytest.raises(UserError, match="carries its own words"):
        YOLORMTL(tmp_path / "a.safetensors", vocab=tmp_path / "vocab.txt")


# The releases, with the weights of the parity data.


@pytest.mark.parametrize("name", ["gelan-c-pan", "yolov7-af-pan"])
def test_published_numbers_after_the_round_trip(shared: Path, name: str, tmp_path: Path) -> None:
    """Written in the published layout, imported, saved and loaded: what was measured with the published code."""
    path = publish(tmp_path / "a.pt", released_state(shared, name))
    imported = import_model(path)
    imported.check()
    save_model(imported.model, tmp_path / "a.safetensors")
    model = load_model(tmp_path / "a.safetensors").inference()
    with torch.inference_mode():
        found = gaps(as_released(model.network(images())), measured(shared, name))
    assert max(found.values()) < TOLERANCE, found


@pytest.fixture(scope="module")
def gyolo(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A file in its layout, and the weights in it: those that the parity data were measured with."""
    state = released_state(shared, "gyolo")
    return publish(tmp_path_factory.mktemp("gyolo") / "gyolo.pt", state, head="DualDPanoptic"), state


def test_gyolo_with_its_words(gyolo: tuple[Path, dict[str, Tensor]], shared: Path, tmp_path: Path) -> None:
    """Boxes, masks, maps and the caption's probabilities; the words stay in the weights."""
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(WORDS) + "\n")
    imported = import_model(gyolo[0], vocab=str(vocab))
    imported.check()
    assert imported.wordless == ()
    assert imported.used + len(imported.translation.dropped) == imported.tensors == len(gyolo[1])
    assert imported.dropped["trunk.auxiliary"] > 0
    assert imported.dropped["state of a search"] == 4
    save_model(imported.model, tmp_path / "a.safetensors")
    vocab.unlink()
    model = load_model(tmp_path / "a.safetensors")
    assert "captioning" in model.config.tasks
    assert '"word7"' in str(model.space.vocabulary)
    with np.load(shared / "upstream/gyolo.npz") as arrays, torch.inference_mode():
        tokens = torch.nn.functional.pad(torch.from_numpy(arrays["caption_tokens"]), (0, 1))
        inputs = {"captioning": {"tokens": tokens, "image": torch.tensor([0])}}
        out = model.network(images(), inputs=inputs)
        chances = out["captioning"]["logits"].float().log_softmax(-1)
        torch.testing.assert_close(chances, torch.from_numpy(arrays["caption_logprobs"]), atol=2e-4, rtol=1e-4)
    found = gaps(as_released(out), measured(shared, "gyolo"))
    assert max(found.values()) < TOLERANCE, found


def test_gyolo_without_its_words(gyolo: tuple[Path, dict[str, Tensor]]) -> None:
    path = gyolo[0]
    imported = import_model(path)
    assert imported.wordless == ("captioning",)
    assert list(imported.model.config.tasks) == ["detection", "instance", "semantic", "panoptic"]
    needed = "its words are needed: give vocab=vocab.txt, the list of 10202 words published with it"
    assert imported.notes() == [f"{path}: captioning is left out; {needed}"]
    imported.check()
    with pytest.raises(UserError) as caught:
        import_model(path, ["detection", "captioning"])
    others = "leave captioning out with tasks=[detection,instance,semantic,panoptic]"
    assert str(caught.value) == f"{path} is gyolo: {needed}, or {others}"
    assert import_model(path, ["detection"]).notes() == []


def test_gyolo_keeps_its_branches_for_training(gyolo: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = gyolo
    imported = import_model(path, ["detection", "instance", "semantic"], branches=True)
    imported.check()
    assert imported.dropped.keys() == {"heads.captioning", "state of a search"}
    assert imported.used == sum(not key.startswith("model.56.") for key in state)
