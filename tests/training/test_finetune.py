"""From weights to other classes, words, sizes and tasks: what is known stays, what is not begins anew and is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import runs
import tiny
import torch
from rich.console import Console
from safetensors.torch import load_file

from yolor_mtl.build import Model, ModelConfig, build_model, load_model, save_model
from yolor_mtl.data.coco import open_coco
from yolor_mtl.records import Category, LabelSpace
from yolor_mtl.tasks.captioning.tokenizer import CaptionTokenizer
from yolor_mtl.training.config import train_config
from yolor_mtl.training.finetune import carry, compared, fine_tuned, listed_rows
from yolor_mtl.training.trainer import prepare_model

OTHER_THINGS = (Category(1, "bike"), Category(2, "zebra"), Category(3, "cat"))
OTHER_WORDS = ("a zebra runs on the grass", "two people sit on a red bike")


def _space() -> LabelSpace:
    """Two classes of the tiny ones at other places, one that is new, and words of which some are new."""
    words = CaptionTokenizer.train(OTHER_WORDS * 3, 200).to_json()
    stuff = (Category(4, "grass", isthing=False), Category(5, "snow", isthing=False))
    return LabelSpace(OTHER_THINGS, OTHER_THINGS + stuff, "panoptic-5", words)


def _model(space: LabelSpace, **changes: dict[str, object]) -> Model:
    blocks = {name: {**block, **changes.get(name, {})} for name, block in tiny.BLOCKS.items()}
    return build_model(ModelConfig(64, dict(tiny.TRUNK), blocks), space)


@pytest.mark.parametrize("same_number", [True, False])
def test_common_classes_answer_as_before(same_number: bool) -> None:
    before = _model(tiny.space())
    tiny.randomise(before.network)
    space = _space() if same_number else replace(_space(), things=OTHER_THINGS[:1])
    after = _model(space)
    carry(after, before.network.state_dict(), tiny.space())
    images = tiny.images(2, (64, 64))
    with torch.inference_mode():
        old, new = (model.network.eval()(images, ["detection", "semantic"]) for model in (before, after))
    torch.testing.assert_close(new["detection"]["main.box_logits"], old["detection"]["main.box_logits"])
    name = "main.class_logits"
    pairs = [(tiny.space().names.index(name), row) for row, name in enumerate(space.names) if name != "zebra"]
    for was, now in pairs:
        torch.testing.assert_close(new["detection"][name][..., now], old["detection"][name][..., was])
    pixels = {name: row for row, name in enumerate(tiny.space().semantic_names)}
    for row, name in enumerate(space.semantic_names):
        if name in pixels:
            torch.testing.assert_close(new["semantic"]["logits"][:, row], old["semantic"]["logits"][:, pixels[name]])


def test_common_words_keep_their_rows() -> None:
    before, after = _model(tiny.space()), _model(_space())
    carry(after, before.network.state_dict(), tiny.space())
    tables = [model.network.heads["captioning"].embedding.weight for model in (before, after)]
    names = [
        list(CaptionTokenizer.from_json(space.vocabulary or "").pieces.items()) for space in (tiny.space(), _space())
    ]
    place = {word: row for row, word in names[0]}
    found = {word: torch.equal(tables[1][row], tables[0][place[word]]) for row, word in names[1] if word in place}
    assert {"runs", "grass", "two", "red"} <= found.keys()
    assert all(found.values())
    assert "zebra" not in place


def test_it_says_what_is_new() -> None:
    lines = compared(tiny.space(), _space())
    assert lines[0] == "knows 2 of the 3 object classes, new ones begin anew (zebra)"
    assert lines[1] == "knows 3 of the 5 semantic classes, new ones begin anew (zebra, snow)"
    assert "words" in lines[2]
    assert compared(tiny.space(), tiny.space()) == []


def test_sizes_and_tasks_that_differ_begin_anew() -> None:
    before, after = _model(tiny.space()), _model(tiny.space(), captioning={"width": 64}, instance={"prototypes": 4})
    state = {name: value for name, value in before.network.state_dict().items() if not name.startswith("heads.seman")}
    carried = carry(after, state, tiny.space())
    said = carried.lines()
    assert said[0] == "trunk, detection taken over whole"
    assert "semantic begins anew" in said
    assert any(line.startswith("instance: ") and "begin anew" in line for line in said)
    assert any(line.startswith("captioning: ") and "begin anew" in line for line in said)
    own = after.network.state_dict()
    assert all(torch.equal(own[name], value) for name, value in state.items() if name.startswith("trunk"))


def test_which_tensors_have_a_row_a_name() -> None:
    found = listed_rows(_model(tiny.space()))
    assert {rows.listing.what for rows in found.values()} == {"object classes", "semantic classes", "words"}
    assert all(name.startswith("heads.") for name in found)
    assert any("embedding" in name for name in found)


@pytest.fixture(scope="module")
def vision(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without captions."""
    out = tmp_path_factory.mktemp("vision") / "run"
    return runs.run_training(scenes, out, epochs=1, tasks=["detection", "instance", "semantic", "panoptic"]).out


def test_captions_join_later(vision: Path, scenes: Path, tmp_path: Path) -> None:
    tasks = ["detection", "instance", "semantic", "captioning", "panoptic"]
    weights = vision / "best.safetensors"
    keys = {"weights": str(weights), "tasks": tasks, "freeze": ["trunk", "detection", "instance", "semantic"]}
    config = train_config({"data": str(scenes), **runs.KEYS, **keys}, dict(runs.PARTS))
    console = Console(record=True, width=200, quiet=False, file=(tmp_path / "said").open("w"))
    model = prepare_model(config, open_coco(scenes, ["train"]), console)
    assert "captioning begins anew" in console.export_text()
    assert model.network.training
    run = runs.run_training(scenes, tmp_path / "run", **{**keys, "weights": str(vision)}, epochs=1).out
    started, ended = load_file(weights), load_file(run / "best.safetensors")
    assert all(torch.equal(value, ended[name]) for name, value in started.items())
    assert any(name.startswith("heads.captioning") for name in ended)
    runs.run_training(scenes, resume=str(run), epochs=2)
    assert [row["epoch"] for row in runs.rows(run)] == [1, 2]


def test_own_classes_need_no_hand_edits(trained: Path, scenes: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(scenes, mine)
    for split in ("train", "val"):
        path = mine / "annotations" / f"instances_{split}.json"
        content = json.loads(path.read_text())
        gone, kept = content["categories"][0], content["categories"][1:]
        content["categories"] = [*reversed(kept), {**gone, "name": "gadget"}]
        path.write_text(json.dumps(content))
        for kind in ("panoptic", "captions"):
            (mine / "annotations" / f"{kind}_{split}.json").unlink()
    result = runs.run_training(mine, tmp_path / "run", weights=str(trained / "best.safetensors"), epochs=1)
    model = load_model(result.out / "best.safetensors")
    before = load_model(trained / "best.safetensors")
    assert "gadget" in model.space.names
    assert set(model.space.names) - {"gadget"} < set(before.space.names)
    # What the data does not speak of, the weights' answers go on with.
    assert model.space.vocabulary == before.space.vocabulary
    assert result.exit_code == 0


def test_a_fixed_number_of_slots_keeps_the_words(scenes: Path, tmp_path: Path) -> None:
    captions = {"captioning": {"width": 32, "feed_forward": 64, "slots": 300}}
    parts = {**runs.PARTS, **captions}
    config = train_config({"data": str(scenes), **runs.KEYS, "epochs": 1}, parts)
    start = build_model(ModelConfig(64, dict(tiny.TRUNK), {"captioning": captions["captioning"]}), tiny.space())
    save_model(start, tmp_path / "start.safetensors")
    model, _ = fine_tuned(tmp_path / "start.safetensors", open_coco(scenes, ["train"]), config)
    assert model.space.vocabulary == tiny.space().vocabulary
