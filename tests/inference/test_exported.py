"""``meta.json`` keeps what it was told, and a graph's outputs find their tasks."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import tiny
import torch
from torch import Tensor

from yolor_mtl.build import ModelConfig
from yolor_mtl.inference.backends.base import GraphRuntime
from yolor_mtl.inference.exported import Exported, GraphMeta, Meta, Port, is_exported
from yolor_mtl.records import Category, LabelSpace, Outputs, UserError

UNSORTED = (Category(90, "sheep"), Category(3, "dog", supercategory="animal"), Category(7, "traffic light"))
FROM_ZERO = (Category(0, "dog"), Category(1, "sheep"))


def meta(space: LabelSpace) -> Meta:
    ports = {"images": Port(["batch", 3, "height", "width"], "uint8")}
    graph = GraphMeta("model.onnx", ports, {"detection.anchors": Port(["21*height*width/1024", 3], "float32")})
    config = ModelConfig(imgsz=96, trunk=dict(tiny.TRUNK), tasks={"detection": dict(tiny.BLOCKS["detection"])})
    return Meta("onnx", ("detection",), 32, "auto", False, {"trunk": 7}, {"model": graph}, config, space, {"x": [1]})


@pytest.mark.parametrize("things", [UNSORTED, FROM_ZERO])
def test_names_are_those_of_the_labels_whatever_their_ids(things: tuple[Category, ...], tmp_path: Path) -> None:
    space = LabelSpace(things, things, "own", tiny.space().vocabulary)
    meta(space).write(tmp_path)
    raw = json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))
    assert [raw["names"][str(index)] for index in range(len(things))] == [category.name for category in things]
    assert [entry["id"] for entry in raw["label_space"]["things"]] == [category.id for category in things]
    assert Meta.read(tmp_path).space == space


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert not is_exported(tmp_path)
    told = meta(tiny.space())
    told.write(tmp_path)
    assert is_exported(tmp_path)
    assert asdict(Meta.read(tmp_path)) == asdict(told)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": "yolor-mtl-export/1"}'])
def test_a_broken_meta_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(UserError, match=r"meta\.json"):
        Meta.read(tmp_path)


class Known:
    """A graph that gives what it was made of, and remembers what was wanted."""

    def __init__(self) -> None:
        self.wanted: set[str] = set()

    def __call__(self, inputs: Mapping[str, Tensor], wanted: Collection[str] = ()) -> Outputs:
        self.wanted = set(wanted)
        return {name: inputs["images"] + number for number, name in enumerate(wanted)}


def test_outputs_by_task() -> None:
    graph = Known()
    names = ("detection.main.steps", "semantic.logits", "nms.boxes", "detection.anchors")
    found = GraphRuntime(graph, ("detection",), names, False)(torch.zeros(1))
    assert graph.wanted == {"detection.main.steps", "detection.anchors"}
    assert {task: sorted(outputs) for task, outputs in found.items()} == {"detection": ["anchors", "main.steps"]}


@pytest.mark.parametrize(
    ("kind", "stored", "asked", "pays", "short"),
    [
        ("openvino", "auto", "auto", True, True),
        ("openvino", "auto", "auto", False, False),
        ("openvino", "auto", "false", True, False),
        ("openvino", "true", "auto", False, True),
        ("openvino", "true", "false", True, False),
        ("openvino", "false", "auto", True, False),
        ("openvino", "false", "true", False, True),
        ("onnx", "auto", "auto", True, False),
    ],
)
def test_precision(
    kind: str, stored: str, asked: str, pays: bool, short: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("yolor_mtl.inference.exported.half_pays", lambda device: pays)
    told = replace(meta(tiny.space()), format=kind, half=stored)
    assert Exported(tmp_path, told, ()).short(asked) is short


def test_precisions_that_do_not_exist(tmp_path: Path) -> None:
    exported = Exported(tmp_path, meta(tiny.space()), ())
    for word in ("fp16", "int4"):
        with pytest.raises(UserError, match=f"half={word}"):
            exported.short(word)
