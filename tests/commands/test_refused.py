"""Input that is refused: exit code 2, a message that names file or key and the remedy, and never a traceback."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import runs

TRAIN: dict[str, tuple[list[str], list[str]]] = {
    "missing data": (["data={tmp}/absent"], ["absent", "COCO's or YOLO's layout"]),
    "empty data": (["data={tmp}/empty"], ["empty", "no annotations found"]),
    "unknown key": (["epohcs=3"], ["epohcs", "did you mean 'epochs'?"]),
    "unknown part": (["captionning.layers=1"], ["captionning", "did you mean 'captioning'?"]),
    "not key=value": (["epochs"], ["epochs", "key=value"]),
    "imgsz": (["imgsz=100"], ["imgsz=100", "multiple of 32", "imgsz=96"]),
    "unknown model": (["model=nanno"], ["nanno", "did you mean 'nano'?"]),
    "unknown split": (["train=training"], ["training", "train, val"]),
    "unknown task": (["tasks=[detektion]"], ["detektion", "did you mean 'detection'?"]),
    "unknown device": (["device=tpu"], ["device=tpu", "cpu"]),
    "mixup with softmax": (["augment.mixup=0.5"], ["augment.mixup", "semantic", "multilabel"]),
    "needs another": (["tasks=[instance]"], ["instance", "detection", "tasks="]),
    "unknown part's key": (["semantic.los=x"], ["semantic.los", "did you mean 'loss'?"]),
    "half": (["half=maybe"], ["half=maybe"]),
    "out is a file": (["out={tmp}/file/run"], ["file"]),
}


@pytest.mark.parametrize(("more", "parts"), TRAIN.values(), ids=list(TRAIN))
def test_train(command: runs.Command, scenes: Path, tmp_path: Path, more: list[str], parts: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    keys = {"data": scenes, "out": tmp_path / "run"}
    runs.refused(command("train", *runs.words(*(word.format(tmp=tmp_path) for word in more), **keys)), *parts)


OTHERS: dict[str, tuple[list[str], list[str]]] = {
    "no model": (["predict", "source={tmp}"], ["model= is missing", ".safetensors"]),
    "nothing to score": (["val"], ["model="]),
    "model is absent": (["val", "model={tmp}/a.safetensors"], ["no weights file", "a.safetensors"]),
    "model is cut off": (
        ["predict", "model={tmp}/cut.safetensors", "source={tmp}"],
        ["cut.safetensors", "whole"],
    ),
    "model is a picture": (["predict", "model={tmp}/one.jpg", "source={tmp}"], ["one.jpg", ".safetensors file"]),
    "no source": (["predict", "model={model}"], ["source= is missing"]),
    "source is absent": (["predict", "model={model}", "source={tmp}/nothing"], ["source=", "nothing", "no such"]),
    "source is empty": (["predict", "model={model}", "source={tmp}/empty"], ["empty", "no pictures", ".jpg"]),
    "imgsz": (["predict", "model={model}", "source={tmp}", "imgsz=33"], ["imgsz=33", "32"]),
    "device": (["predict", "model={model}", "source={tmp}", "device=9"], ["device=9", "cpu"]),
    "task": (["predict", "model={model}", "source={tmp}", "tasks=[boxes]"], ["boxes", "detection"]),
    "out is a file": (["predict", "model={model}", "source={tmp}", "out={tmp}/one.jpg"], ["one.jpg"]),
    "split": (["val", "model={model}", "data={data}", "split=test"], ["test", "train, val"]),
    "verb": (["trian"], ["trian", "did you mean 'train'?"]),
    "data's verb": (["data"], ["data scenes, data stats, data convert, data check"]),
}


@pytest.mark.parametrize(("given", "parts"), OTHERS.values(), ids=list(OTHERS))
def test_others(
    command: runs.Command, scenes: Path, trained: Path, tmp_path: Path, given: list[str], parts: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copy(next((scenes / "val").glob("*.jpg")), tmp_path / "one.jpg")
    (tmp_path / "cut.safetensors").write_bytes((trained / "best.safetensors").read_bytes()[:10_000])
    runs.refused(command(*(word.format(tmp=tmp_path, model=trained, data=scenes) for word in given)), *parts)


Change = Callable[[Path], object]


def changed(scenes: Path, root: Path, kind: str, change: Callable[[dict], object]) -> None:
    """A copy of the data set with one annotation file changed."""
    shutil.copytree(scenes, root)
    path = root / "annotations" / f"{kind}_train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_unknown_category(command: runs.Command, scenes: Path, tmp_path: Path) -> None:
    changed(scenes, tmp_path / "d", "instances", lambda c: c["annotations"][3].update(category_id=4711, id=99))
    said = command("train", *runs.words(data=tmp_path / "d", out=tmp_path / "run"))
    runs.refused(said, "instances_train.json", "annotation 99", "4711")


def test_missing_panoptic_png_is_told_from_inside_a_loading_process(
    command: runs.Command, scenes: Path, tmp_path: Path
) -> None:
    shutil.copytree(scenes, tmp_path / "d")
    gone = sorted((tmp_path / "d" / "annotations" / "panoptic_train").glob("*.png"))
    for path in gone:
        path.unlink()
    said = command("train", *runs.words(data=tmp_path / "d", out=tmp_path / "run", workers=1))
    runs.refused(said, "panoptic_train", ".png")


def test_no_labels_at_all(command: runs.Command, scenes: Path, tmp_path: Path) -> None:
    root = tmp_path / "d"
    changed(scenes, root, "instances", lambda c: c.update(annotations=[], images=[], categories=[]))
    for kind in ("captions", "panoptic"):
        for split in ("train", "val"):
            (root / "annotations" / f"{kind}_{split}.json").unlink()
    (root / "annotations" / "instances_val.json").unlink()
    said = command("train", *runs.words(data=root, out=tmp_path / "run", val="train"))
    assert said.code == 2, said
    assert "Traceback" not in said.err
    assert said.err.startswith("error:")
