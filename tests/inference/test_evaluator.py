"""A model of the released networks' classes on COCO's own labels, from the weights to the table."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import runs
import tiny
import torch
from rich.console import Console

from yolor_mtl.build import Model, ModelConfig, build_model, check_space, save_model
from yolor_mtl.commands import val
from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.coco_stuff_classes import released_space
from yolor_mtl.inference.evaluator import GROUND_TRUTH, evaluate, evaluate_answers
from yolor_mtl.inference.gallery import examples, model_drawer, truth_of
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.records import Category, LabelSpace, UserError
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.captioning.metric import CaptionMetric

VISION = ("detection", "instance", "semantic", "panoptic")


@pytest.fixture(scope="module")
def root(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of the real sample, with all of its labels and classes."""
    source = shared / "coco_sample"
    if not source.is_dir():
        pytest.skip(f"{source} is absent: the real COCO sample lives there")
    out = tmp_path_factory.mktemp("coco")
    (out / "annotations").mkdir()
    (out / "images").symlink_to(source / "images")
    (out / "annotations" / "panoptic_val2017").symlink_to(source / "annotations" / "panoptic_val2017")
    chosen: set[int] = set()
    for kind in ("panoptic", "instances", "captions"):
        name = f"{kind}_val2017.json"
        content = json.loads((source / "annotations" / name).read_text())
        chosen = chosen or {entry["id"] for entry in content["images"][:3]}
        content["images"] = [entry for entry in content["images"] if entry["id"] in chosen]
        content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in chosen]
        (out / "annotations" / name).write_text(json.dumps(content))
    return out


@pytest.fixture(scope="module")
def dataset(root: Path) -> CocoDataset:
    return open_coco(root, ["val2017"], cache=False)


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    blocks = {name: tiny.BLOCKS[name] for name in VISION}
    return build_model(ModelConfig(64, tiny.TRUNK, blocks), released_space())


def test_the_classes_are_translated_and_the_gaps_are_said(model: Model, dataset: CocoDataset, tmp_path: Path) -> None:
    evaluation = evaluate(
        Predictor(model, "cpu", "false"), dataset, workers=0, options=DecodeOptions(conf=0.0, max_det=5)
    )
    assert {"semantic/mIoU", "semantic/super-mIoU", "panoptic/PQ", "box/AP", "mask/AP"} <= evaluation.scores.keys()
    evaluation.write(tmp_path)
    protocol = json.loads((tmp_path / "metrics.json").read_text())["protocol"]
    assert protocol["semantic"] == "panoptic-133"
    assert protocol["semantic/answers"].startswith("coco-stuff-173")
    assert protocol["panoptic"].endswith("panoptic-133")
    assert protocol["semantic/model classes without a place in the data"][-2:] == ["other", "unlabeled"]
    assert protocol["semantic/data classes that the model cannot say"] == []
    assert "over 0," in protocol["box/decoding"]
    assert "at most 5 boxes" in protocol["box/decoding"]
    assert protocol["box/decoding"] in protocol["mask/decoding"]
    assert "0.50% of the picture" in protocol["panoptic/decoding"]
    assert "0.25" in protocol["panoptic/decoding"]
    assert {protocol[f"{group}/split"] for group in ("box", "mask", "semantic", "panoptic")} == {"val2017"}
    known = {category.id for category in dataset.space.semantic}
    segments = json.loads((tmp_path / "panoptic.json").read_text())["annotations"]
    assert {segment["category_id"] for row in segments for segment in row["segments_info"]} <= known


def test_labels_are_drawn_in_their_own_words(model: Model, dataset: CocoDataset) -> None:
    judges = [task.judged_on(dataset.space) for task in model.tasks]
    truth = truth_of(judges, dataset.annotations(0))
    record: dict = {}
    show = next(task.show for task in judges if task.name == "panoptic")
    show.to_json(truth["panoptic"], record)
    names = {row["class"] for row in record["panoptic"]["segments"]}
    panoptic = dataset.annotations(0).panoptic
    assert panoptic is not None
    assert names == {dataset.space.semantic_names[s.category] for s in panoptic.segments if not s.crowd}
    drawer = model_drawer(Predictor(model, "cpu", "false"), DecodeOptions())
    drawn = list(examples(dataset, [0], judges, {"the model": drawer}))
    assert drawn[0].truth is not None


def test_the_table_says_each_gap_once(command: runs.Command, model: Model, root: Path, tmp_path: Path) -> None:
    save_model(model, tmp_path / "released.safetensors")
    keys = [f"model={tmp_path / 'released.safetensors'}", f"data={root}", "split=val2017", f"out={tmp_path / 'out'}"]
    said = command("val", *keys, "workers=0", "max_det=5", "plots=1", "extremes=0", "device=cpu", "half=false")
    assert said.code == 0, said.err
    assert said.out.count("clothes, furniture-other") == 1
    assert said.out.count("semantic/data classes that the model cannot say: none") == 1
    assert "panoptic-133; val2017; the class with the greatest logit" in said.out


def test_what_nobody_labelled_is_left_out_or_refused(model: Model, root: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    (part / "annotations").mkdir(parents=True)
    (part / "images").symlink_to(root / "images")
    names = ("instances_val2017.json", "panoptic_val2017.json", "panoptic_val2017")
    for name in names[1:]:
        (part / "annotations" / name).symlink_to(root / "annotations" / name)
    content = json.loads((root / "annotations" / names[0]).read_text())
    (part / "annotations" / names[0]).write_text(json.dumps({**content, "images": [], "annotations": []}))
    data, predictor = open_coco(part, ["val2017"], cache=False), Predictor(model, "cpu", "false")
    few = DecodeOptions(conf=0.0, max_det=5)
    evaluation = evaluate(predictor, data, workers=0, options=few)
    assert set(evaluation.metrics) == {"semantic", "panoptic"}
    assert set(evaluation.protocol["not scored"]) == {"detection", "instance"}
    assert not any(key.startswith(("box", "mask")) for key in evaluation.protocol)
    # Asked for by name, but only because panoptic needs it, is no reason to stop.
    assert evaluate(predictor, data, workers=0, options=few, asked=["instance", "semantic", "panoptic"]).scores
    with pytest.raises(UserError, match=r"nothing to score detection by.*val2017.*instances_val2017\.json"):
        evaluate(predictor, data, workers=0, options=few, asked=["detection"])


def test_training_takes_no_translation(model: Model, dataset: CocoDataset) -> None:
    check_space(model.space, dataset.space, scored=True)
    with pytest.raises(UserError, match="the data has 133 semantic classes, the model 173"):
        check_space(model.space, dataset.space)


def test_other_things_are_refused(model: Model, dataset: CocoDataset) -> None:
    other = LabelSpace((Category(1, "unicorn"), *model.space.things[1:]), model.space.semantic, "coco-stuff-173")
    with pytest.raises(UserError, match="80 object classes, the model 80, and they differ"):
        check_space(other, dataset.space, scored=True)


def test_java_is_asked_for_before_the_work(
    command: runs.Command, root: Path, dataset: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    given = ["val", f"predictions={GROUND_TRUTH}", f"data={root}", "split=val2017", f"out={tmp_path / 'out'}"]
    runs.refused(command(*given, "java=true"), "java=true", "install one")
    assert not (tmp_path / "out" / "metrics.json").exists()
    evaluate_answers(dataset, GROUND_TRUTH, ["semantic"], java=True)  # no score of it needs Java


def test_java_s_scores_and_what_is_left_out(dataset: CocoDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CaptionMetric, "check_java", lambda self: None)
    notes = {"caption/METEOR": "version", "caption/SPICE": "left out: [no] parser"}
    monkeypatch.setattr(CaptionMetric, "java_scores", lambda self: ({"caption/METEOR": 0.25}, notes))
    evaluation = evaluate_answers(dataset, GROUND_TRUTH, ["captioning"], java=True)
    assert evaluation.scores["caption/METEOR"] == 0.25
    assert evaluation.protocol["caption/SPICE"] == "left out: [no] parser"
    assert evaluation.protocol["caption/split"] == "val2017"
    console = Console(record=True, width=200, file=io.StringIO())
    val.print_scores(console, evaluation)
    text = console.export_text()
    assert "METEOR 0.250" in text
    assert "caption/SPICE: left out: [no] parser" in text
    plain = evaluate_answers(dataset, GROUND_TRUTH, ["captioning"])
    assert not any("METEOR" in key or "SPICE" in key for key in [*plain.scores, *plain.protocol])
