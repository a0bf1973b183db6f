"""``yolor-mtl diagnose``: tables, numbers and a heat map, and what is refused."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import runs
from PIL import Image

from yolor_mtl.build import Model
from yolor_mtl.records import Batch
from yolor_mtl.training.diagnose import Cosines, gradient_cosines

TASKS = ["detection", "instance", "semantic", "captioning"]


@pytest.fixture(scope="module")
def given(trained: Path, scenes: Path) -> list[str]:
    return ["diagnose", f"model={trained}", f"data={scenes}", "batch=2", "workers=0", "device=cpu"]


def without(scenes: Path, root: Path, kind: str) -> Path:
    """The scenes without a kind of labels."""
    for entry in scenes.iterdir():
        if entry.name != "annotations":
            (root / entry.name).symlink_to(entry)
    (root / "annotations").mkdir()
    for entry in (scenes / "annotations").iterdir():
        if not entry.name.startswith(kind):
            (root / "annotations" / entry.name).symlink_to(entry)
    return root


def test_tables_and_files(command: runs.Command, given: list[str], tmp_path: Path) -> None:
    said = command(*given, "images=6", f"out={tmp_path}")
    assert (said.code, said.err) == (0, "")
    content = json.loads((tmp_path / "diagnose.json").read_text())
    assert content.pop("schema") == 1
    protocol = content.pop("protocol")
    assert all(isinstance(value, float | int) for value in content.values())
    assert (protocol["images"], protocol["batches"], protocol["batch"], protocol["imgsz"]) == (6, 3, 2, 64)
    assert (protocol["tasks"], protocol["split"], protocol["left out"]) == (TASKS, ["train"], {})
    stages = protocol["stages"]
    assert (stages[0], stages[-1]) == ("stem", "trunk")
    for stage in ("stem", "c5", "trunk"):
        assert -1 <= content[f"{stage}/detection+captioning/cosine"] <= 1
        assert content[f"{stage}/detection+captioning/batches"] == 3
        assert content[f"{stage}/semantic/norm"] > 0
    # The map of classes reads p3 alone.
    assert not any(key.startswith("p5/") and "semantic" in key for key in content)
    assert all(word in said.out for word in (*stages, *TASKS, "< 0", "norm of the gradient"))
    assert f"{content['trunk/detection+instance/cosine']:+.2f}±" in said.out
    assert "most alike: " in said.out
    assert f"diagnose.json, diagnose.png and diagnose.svg in {tmp_path}/" in said.out
    assert Image.open(tmp_path / "diagnose.png").size > (400, 400)
    assert "<svg" in (tmp_path / "diagnose.svg").read_text(encoding="utf-8")


def test_labels_that_are_missing_are_said(
    command: runs.Command, given: list[str], scenes: Path, tmp_path: Path
) -> None:
    root = without(scenes, tmp_path, "captions")
    said = command(*given, f"data={root}", "images=2", f"out={tmp_path / 'out'}", "--json")
    assert said.code == 0
    assert "captioning is left out: none of the 2 pictures" in " ".join(said.err.split())
    content = said.json()
    assert content["protocol"]["tasks"] == TASKS[:3]
    assert content["protocol"]["left out"].keys() == {"captioning"}
    assert content == json.loads((tmp_path / "out" / "diagnose.json").read_text())
    runs.refused(command(*given, f"data={root}", "tasks=[semantic,captioning]"), "two tasks", "captioning is left out")


def test_other_classes_are_left_out(command: runs.Command, given: list[str], scenes: Path, tmp_path: Path) -> None:
    root = tmp_path / "scenes"
    shutil.copytree(scenes, root)
    for path in (root / "annotations").glob("panoptic_*.json"):
        text = path.read_text()
        assert '"sky-other-merged"' in text
        path.write_text(text.replace('"sky-other-merged"', '"heaven"'))
    said = command(*given, f"data={root}", "images=2", f"out={tmp_path / 'out'}", "--json")
    assert said.code == 0
    assert said.json()["protocol"]["tasks"] == ["detection", "instance", "captioning"]
    assert "'heaven'" in said.json()["protocol"]["left out"]["semantic"]


def test_a_task_without_a_gradient_is_said(
    command: runs.Command, given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_two(model: Model, batches: Iterable[Batch]) -> Cosines:
        found = gradient_cosines(model, batches)
        return replace(found, tasks=found.tasks[:2], cosines=found.cosines[:, :, :2, :2], norms=found.norms[..., :2])

    monkeypatch.setattr("yolor_mtl.commands.diagnose.gradient_cosines", first_two)
    said = command(*given, "tasks=[detection,instance,semantic]", "images=2", f"out={tmp_path}", "--json")
    assert said.code == 0
    assert "semantic is left out: its loss has no gradient" in said.err
    assert said.json()["protocol"]["left out"] == {"semantic": "its loss has no gradient in the trunk"}


def test_broken_pictures_are_listed(command: runs.Command, given: list[str], scenes: Path, tmp_path: Path) -> None:
    root = tmp_path / "scenes"
    shutil.copytree(scenes, root)
    broken = sorted((root / "train").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:100])
    said = command(*given, f"data={root}", "tasks=[detection,semantic]", f"out={tmp_path / 'out'}")
    assert said.code == 1
    assert broken.name in said.out
    protocol = json.loads((tmp_path / "out" / "diagnose.json").read_text())["protocol"]
    assert protocol["images"] == 11
    assert list(protocol["failures"]) == [str(broken)]


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["model="], ["model= is missing"]),
        (["tasks=semantic"], ["two tasks", "semantic"]),
        (["images=0"], ["images=0", "least, 1"]),
        (["batch=0"], ["batch=0", "least, 1"]),
        (["imgsz=100"], ["imgsz=100", "multiple of 32"]),
        (["split=test"], ["test", "train, val"]),
        (["device=tpu"], ["device=tpu", "cpu"]),
        (["imags=3"], ["imags", "did you mean 'images'?"]),
    ],
)
def test_refused(command: runs.Command, given: list[str], tmp_path: Path, more: list[str], parts: list[str]) -> None:
    runs.refused(command(*given, f"out={tmp_path / 'out'}", *more), *parts)
    assert not (tmp_path / "out").exists()
