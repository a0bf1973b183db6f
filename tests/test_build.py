"""From configuration to a network of tasks and back from its weights, and the shipped configurations."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import resources
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from drawn import write_set
from torch import nn

from yolor_mtl.build import (
    IMPLICIT,
    Model,
    ModelConfig,
    build_model,
    learn_space,
    load_model,
    model_config,
    possible_tasks,
    save_model,
)
from yolor_mtl.config import fill, packaged
from yolor_mtl.data.coco import open_coco
from yolor_mtl.models.implicit import ImplicitAdd, ImplicitMultiply
from yolor_mtl.models.weights import read_weights, save_weights
from yolor_mtl.records import Category, LabelSpace, LossOutput, UserError
from yolor_mtl.tasks import TASKS
from yolor_mtl.tasks.base import total_loss
from yolor_mtl.tasks.captioning.tokenizer import CaptionTokenizer
from yolor_mtl.training.config import TrainConfig, train_config

CONFIGS = resources.files("yolor_mtl") / "configs"


def _names(kind: str) -> list[str]:
    return sorted(Path(entry.name).stem for entry in (CONFIGS / kind).iterdir() if entry.name.endswith(".yaml"))


def _tiny_config() -> ModelConfig:
    return ModelConfig(64, dict(tiny.TRUNK), {name: dict(block) for name, block in tiny.BLOCKS.items()})


def _model(**changes: Any) -> Model:
    torch.manual_seed(0)
    return build_model(_tiny_config(), tiny.space(), **changes)


def test_overrides() -> None:
    plain = model_config("nano")
    changed = model_config("nano", {"semantic": {"loss": "multilabel"}, "trunk": {"width": 0.5}, "panoptic": {}})
    assert changed.tasks["semantic"] == {**plain.tasks["semantic"], "loss": "multilabel"}
    assert changed.trunk == {**plain.trunk, "width": 0.5}
    assert {name: changed.tasks[name] for name in ("detection", "captioning")} == {
        name: plain.tasks[name] for name in ("detection", "captioning")
    }
    assert model_config("nano") == plain


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("nanno", {}, r"'nanno' \(did you mean 'nano'\?\)"),
        ("nano", {"semantics": {"loss": "x"}}, r"no part 'semantics' \(did you mean 'semantic'\?\)"),
        ("nano", {"trunc": {"width": 1}}, r"did you mean 'trunk'"),
        ("nano", {"semantic": {"losss": "x"}}, r"'semantic\.losss' \(did you mean 'loss'\?\)"),
        ("nano", {"semantic": "multilabel"}, r"semantic='multilabel': name a key of it, such as semantic\.features="),
    ],
)
def test_refused(name: str, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model_config(name, overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"trunk": {"widht": 1}}, r"did you mean 'width'"),
        ({"semantic": {"loss": "softmx"}}, r"semantic\.loss='softmx' \(did you mean 'softmax'\?\)"),
        ({"detection": {"features": ["p3", "p9"]}}, r"no feature \['p9'\]"),
    ],
)
def test_refused_at_the_building(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_model(model_config("nano", overrides), tiny.space())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks: {semantics: {}}", r"no task 'semantics' \(did you mean 'semantic'\?\); there are: detection"),
        ("tasks: {semantic: softmax}", r"tasks\.semantic holds keys of its own, not 'softmax'"),
        ("task: {}", r"unknown key .*task' \(did you mean 'tasks'\?\)"),
    ],
)
def test_a_file_of_the_user(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        model_config(str(path), {"semantic": {"loss": "multilabel"}})


@pytest.mark.parametrize("place", IMPLICIT)
def test_where_implicit_knowledge_is(place: str) -> None:
    model = build_model(model_config("nano", {"implicit": place}), tiny.space())
    neck = [part for part in model.network.trunk.modules() if isinstance(part, ImplicitAdd)]
    heads = {name: _implicit_parts(head) for name, head in model.network.heads.items()}
    assert len(neck) == (3 if place == "heads+neck" else 0)
    assert {name: bool(parts) for name, parts in heads.items()} == dict.fromkeys(heads, place != "off")
    assert fill(ModelConfig, model.config.__dict__) == model.config


def _implicit_parts(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, ImplicitAdd | ImplicitMultiply)]


def test_a_head_has_the_last_word_on_its_implicit_knowledge() -> None:
    changes = {"implicit": "off", "semantic": {"implicit": True}}
    heads = build_model(model_config("nano", changes), tiny.space()).network.heads
    assert {name: bool(_implicit_parts(head)) for name, head in heads.items()} == {
        "detection": False,
        "instance": False,
        "semantic": True,
        "captioning": False,
    }


@pytest.mark.parametrize("value", ["head", "neck", True])
def test_no_such_place(value: Any) -> None:
    with pytest.raises(UserError, match=r"unknown implicit=.*there are: off, heads, heads\+neck"):
        model_config("nano", {"implicit": value})


def test_off_without_quotation_marks(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("implicit: off")
    assert model_config(str(path)).implicit == "off"


@pytest.mark.parametrize("name", ["yolov7-af-pan", "gelan-c-pan", "gyolo"])
def test_released_networks_have_none(name: str) -> None:
    with torch.device("meta"):
        network = build_model(model_config(name), tiny.space()).network
    assert _implicit_parts(network) == []


@pytest.mark.parametrize("kind", ["elan", "gelan", "gyolo"])
def test_implicit_knowledge_everywhere_folds_into_plain_convolutions(kind: str) -> None:
    trunk = tiny.TRUNK if kind == "elan" else {"kind": kind, "width": 0.25}
    torch.manual_seed(0)
    model = build_model(replace(_tiny_config(), trunk=dict(trunk), implicit="heads+neck"), tiny.space())
    aligned = _implicit_parts(model.network.trunk)
    assert aligned
    tiny.randomise(model.network)
    before = _outputs(model)
    for part in aligned:
        part.value.data.zero_()  # type: ignore[operator, union-attr]
    without = _outputs(model)
    assert {name.split("/")[0] for name in before if not torch.equal(before[name], without[name])} == {
        task.name for task in model.tasks if task.head is not None
    }
    tiny.randomise(model.network)
    before = _outputs(model)
    model.inference()
    assert _implicit_parts(model.network.trunk) == []
    for name, value in _outputs(model).items():
        assert (value - before[name]).abs().max() <= 1e-4 * before[name].abs().max(), name


# Boxes about the centre of one cell of stride 8, 16 and 32, each without a centre of another stride.
ON_EACH_LEVEL = {
    "detection": tiny.boxes_table(
        [[(0.5, 0.5, 7.5, 7.5), (4.5, 4.5, 11.5, 11.5), (12.5, 12.5, 19.5, 19.5)], [(10.0, 10, 60, 50)]]
    ),
    "instance": {
        "masks": torch.randint(0, 2, (4, 32, 40), dtype=torch.uint8),
        "mask_index": torch.tensor([[0, 1, 2], [3, -1, -1]]),
    },
}


@pytest.mark.parametrize("name", _names("models"))
def test_every_value_in_use_is_trained(name: str) -> None:
    """At 128 px; what is fixed (steps of a distribution, values kept for a release alone) is not trained."""
    torch.manual_seed(0)
    model = build_model(model_config(name), tiny.space())
    size = (128, 160)
    images, targets = tiny.images(size=size), {**tiny.targets(size), **ON_EACH_LEVEL}
    outputs = model.network.train()(images, inputs=targets)
    losses: dict[str, LossOutput] = {}
    for task in model.tasks:
        if task.loss is not None:
            used = {other: losses[other].shared for other in task.uses}
            losses[task.name] = task.loss(outputs[task.name], targets[task.name], used)
    total, _ = total_loss(model.tasks, losses)
    total.backward()
    assert set(losses) == {task for task in model.config.tasks if task != "panoptic"}
    parameters = dict(model.network.named_parameters())
    trained = {key: value.grad for key, value in parameters.items() if value.requires_grad}
    assert [key for key, gradient in trained.items() if gradient is None or not gradient.any()] == []
    fixed = [key for key, value in parameters.items() if not value.requires_grad]
    assert [key for key in fixed if not {"steps", "positions", "unused_gate"} & set(key.split("."))] == []


def test_the_largest_network_is_a_short_row() -> None:
    assert all(len((CONFIGS / "models" / f"{name}.yaml").read_text().splitlines()) < 60 for name in _names("models"))


def test_no_code_asks_for_the_name_of_a_network() -> None:
    source = Path(str(resources.files("yolor_mtl")))
    released = source / "upstream" / "releases.py"
    texts = {path: path.read_text() for path in source.rglob("*.py") if path != released}
    asking = re.compile(r"(==|!=|\bin\b|case)\s*\(?\[?[\"'](" + "|".join(_names("models")) + r")[\"']")
    assert [str(path) for path, text in texts.items() if asking.search(text)] == []


def test_possible_tasks() -> None:
    config = model_config("nano")
    whole = tiny.space()
    assert possible_tasks(config, whole) == list(TASKS)
    without_captions = ["detection", "instance", "semantic", "panoptic"]
    assert possible_tasks(config, whole.with_vocabulary(None)) == without_captions
    assert possible_tasks(config, replace(whole, semantic=())) == ["detection", "instance", "captioning"]
    assert possible_tasks(config, replace(whole, things=())) == ["semantic", "captioning"]
    assert possible_tasks(config, LabelSpace()) == []
    for space in (whole.with_vocabulary(None), replace(whole, semantic=())):
        model = build_model(config, space, possible_tasks(config, space))
        assert {task.name for task in model.tasks} == set(possible_tasks(config, space))


def test_tasks_that_cannot_be_built() -> None:
    for only, message in (
        (["semantics"], r"no task 'semantics' \(did you mean 'semantic'\?\)"),
        (["instance"], r"task 'instance' needs \['detection'\]"),
        (["panoptic"], r"task 'panoptic' needs"),
    ):
        with pytest.raises(UserError, match=message):
            _model(only=only)
    with pytest.raises(UserError, match="no captions; leave captioning out"):
        build_model(_tiny_config(), tiny.space().with_vocabulary(None))


def _space(things: int, classes: int, words: int) -> LabelSpace:
    names = [Category(number, f"class {number}", number < things) for number in range(classes)]
    spelled = ("".join(letters) for letters in product("abcdefgh", repeat=4))
    vocabulary = CaptionTokenizer.train(islice(spelled, 2 * words), words)
    assert vocabulary.size == words
    return LabelSpace(tuple(names[:things]), tuple(names), f"panoptic-{classes}", vocabulary.to_json())


@pytest.mark.parametrize(("things", "classes", "words"), [(26, 53, 300), (80, 133, 300), (80, 133, 3000)])
def test_nano_is_small(things: int, classes: int, words: int) -> None:
    model = build_model(model_config("nano"), _space(things, classes, words))
    parts = model.parameters_by_part()
    assert list(parts) == ["trunk", "detection", "instance", "semantic", "captioning"]
    assert sum(parts.values()) == sum(parameter.numel() for parameter in model.network.parameters()) < 3_000_000


def _outputs(model: Model) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    pictures = tiny.images()
    with torch.inference_mode():
        found = model.network.eval()(pictures, inputs={"captioning": tiny.targets()["captioning"]})
    return {f"{task}/{name}": value for task, named in found.items() for name, value in named.items()}


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = _model()
    tiny.randomise(model.network)
    path = tmp_path / "model.safetensors"
    save_model(model, path, extra={"note": "x"})
    loaded = load_model(path)
    assert not loaded.network.training
    assert loaded.config == model.config
    assert loaded.space == model.space
    assert [task.name for task in loaded.tasks] == [task.name for task in model.tasks]
    before, after = _outputs(model), _outputs(loaded)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert read_weights(path)[1]["note"] == "x"


def test_other_weights_and_half_storage(tmp_path: Path) -> None:
    model = _model()
    tiny.randomise(model.network)
    halved = {name: value / 2 if value.is_floating_point() else value for name, value in _state(model).items()}
    save_model(model, tmp_path / "a.safetensors", halved, dtype=torch.float16)
    assert (tmp_path / "a.safetensors").stat().st_size < 2.6 * sum(value.numel() for value in halved.values())
    for name, value in _state(load_model(tmp_path / "a.safetensors")).items():
        torch.testing.assert_close(value, halved[name], rtol=1e-3, atol=1e-6)


def _state(model: Model) -> dict[str, torch.Tensor]:
    return dict(model.network.state_dict())


@pytest.mark.parametrize(
    "only", [["semantic"], ["captioning"], ["detection"], ["detection", "instance"], ["semantic", "captioning"]]
)
def test_a_subset_of_tasks(tmp_path: Path, only: list[str]) -> None:
    model = _model()
    tiny.randomise(model.network)
    save_model(model, tmp_path / "model.safetensors")
    part = load_model(tmp_path / "model.safetensors", only)
    assert [task.name for task in part.tasks] == only
    assert list(part.network.heads) == only
    whole, found = _outputs(model), _outputs(part)
    assert {name.split("/")[0] for name in found} == set(only)
    for name, value in found.items():
        torch.testing.assert_close(value, whole[name])


def test_a_subset_must_be_whole(tmp_path: Path) -> None:
    model = _model()
    for gone, message in (("heads.semantic", "missing"), ("trunk.backbone", "missing")):
        state = {name: value for name, value in _state(model).items() if not name.startswith(gone)}
        save_model(model, tmp_path / "model.safetensors", state)
        with pytest.raises(UserError, match=rf"{message} \({gone}"):
            load_model(tmp_path / "model.safetensors", ["semantic"])
    save_model(model, tmp_path / "model.safetensors", {**_state(model), "heads.semantic.more": torch.zeros(1)})
    with pytest.raises(UserError, match=r"1 unknown \(heads\.semantic\.more"):
        load_model(tmp_path / "model.safetensors", ["semantic"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "metadata is incomplete"),
        ("{", "metadata is incomplete"),
        ("3", "metadata is incomplete"),
        ('{"layers": 3}', "unknown key"),
        ('{"tasks": {"depth": {}}}', "no task 'depth'"),
        ('{"tasks": {"semantic": 3}}', "semantic holds keys of its own"),
    ],
)
def test_metadata_that_means_nothing(tmp_path: Path, config: str | None, message: str) -> None:
    path = tmp_path / "model.safetensors"
    metadata = {"label_space": tiny.space().to_json(), **({} if config is None else {"config": config})}
    save_weights(path, _state(_model()), metadata)
    with pytest.raises(UserError, match=message) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_weights_of_another_network(tmp_path: Path) -> None:
    model, path = _model(), tmp_path / "model.safetensors"
    config = {**json.loads(json.dumps(_tiny_config().__dict__)), "trunk": {**tiny.TRUNK, "width": 0.5}}
    save_weights(path, _state(model), {"config": json.dumps(config), "label_space": tiny.space().to_json()})
    with pytest.raises(UserError, match=r"does not fit the network: tensors \d+ of another shape"):
        load_model(path)


def test_inference_form() -> None:
    model = _model()
    tiny.randomise(model.network)
    before = _outputs(model)
    assert model.inference() is model
    assert not model.network.training
    after = _outputs(model)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=1e-3, atol=1e-3)


def test_learn_space(tmp_path: Path) -> None:
    config = model_config("nano", {"captioning": {"vocabulary": 40}})
    with_captions = open_coco(write_set(tmp_path / "a", ["bmpc", "c"]), ["train"], cache=False)
    space = learn_space(with_captions, config)
    assert space.things == tiny.space().things
    assert space.vocabulary is not None
    assert CaptionTokenizer.from_json(space.vocabulary).size <= 40
    without = open_coco(write_set(tmp_path / "b", ["bmp"]), ["train"], cache=False)
    assert learn_space(without, config).vocabulary is None


@pytest.mark.parametrize("name", _names("models"))
def test_shipped_networks(name: str) -> None:
    config = model_config(name)
    assert set(config.tasks) <= set(TASKS)
    model = build_model(config, tiny.space())
    assert config.imgsz % model.network.trunk.multiple == 0
    assert fill(ModelConfig, model.config.__dict__) == model.config


@pytest.mark.parametrize("name", _names("train"))
def test_shipped_recipes(name: str) -> None:
    config = train_config({}, recipe=name)
    assert fill(TrainConfig, packaged("train", name)).epochs == config.epochs
    assert config.model in _names("models")


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in ("models", "train", "data") for name in _names(kind)]
)
def test_shipped_files_begin_with_a_command(kind: str, name: str) -> None:
    first = (CONFIGS / kind / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# yolor-mtl ")
    assert first.split()[2] in ("train", "demo", "data", "val", "predict")
