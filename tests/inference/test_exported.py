"""``meta.json`` keeps what it was told, and a graph's outputs find their tasks."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path

import pytest
import tiny
import torch
from torch import Tensor

from yolor_mtl.build import ModelConfig
from yolor_mtl.inference.backends.base import GraphRuntime
from yolor_mtl.inference.exported import Exported, GraphMeta, Meta, Port, is_exported, load_exported
from yolor_mtl.inference.exporter import with_notes
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


def test_case_18_another_vocabulary_is_refused(tmp_path: Path) -> None:
    """One word of the list, or its hash, is exchanged for another after the folder was written."""
    meta(tiny.space()).write(tmp_path)
    path = tmp_path / "meta.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    space, words = content["label_space"], content["label_space"]["vocabulary"]
    longest = max((word for word in json.loads(words)["model"]["vocab"] if word.isalpha()), key=len)
    other = words.replace(longest, longest[::-1])
    assert other != words
    for changed in ({"label_space": {**space, "vocabulary": other}}, {"vocabulary_sha256": "0" * 64}):
        path.write_text(json.dumps({**content, **changed}), encoding="utf-8")
        with pytest.raises(UserError, match="vocabulary is not the one that was exported"):
            load_exported(tmp_path)


def folder_of(kind: str, folder: Path) -> dict[str, Path]:
    """An export whose graph is opened by nobody, and its files by their endings."""
    files = {ending: folder / f"model{ending}" for ending in ENDINGS[kind]}
    for number, path in enumerate(files.values()):
        path.write_bytes(bytes(range(100 + number)))
    told = meta(tiny.space())
    graph = replace(told.graphs["model"], file=next(iter(files.values())).name)
    replace(told, format=kind, graphs={"model": graph}).stamped(folder)
    return files


ENDINGS = {"onnx": (".onnx",), "openvino": (".xml", ".bin")}

HARMS: dict[str, Callable[[bytes], bytes]] = {
    "a byte": lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:],
    "the end": lambda data: data[:-1],
    "one more": lambda data: data + b"\n",
    "all": lambda data: b"",
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize(("kind", "ending"), [(kind, ending) for kind in ENDINGS for ending in ENDINGS[kind]])
def test_an_altered_graph_is_refused(kind: str, ending: str, harm: str, tmp_path: Path) -> None:
    path = folder_of(kind, tmp_path)[ending]
    assert load_exported(tmp_path).meta.files.keys() == {f"model{ending}" for ending in ENDINGS[kind]}
    whole = path.read_bytes()
    path.write_bytes(HARMS[harm](whole))
    with pytest.raises(UserError, match=rf"model\{ending} was altered after it was written.*export anew"):
        load_exported(tmp_path)
    path.write_bytes(whole)
    load_exported(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=rf"model\{ending} is missing"):
        load_exported(tmp_path)


def test_sizes_and_digests_are_written_as_b2sum_tells_them(tmp_path: Path) -> None:
    path = folder_of("onnx", tmp_path)[".onnx"]
    found = json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))["files"]
    assert found == {"model.onnx": {"size": 100, "blake2b": blake2b(path.read_bytes(), digest_size=16).hexdigest()}}
    with_notes(Meta.read(tmp_path), tmp_path, more=1)
    assert Meta.read(tmp_path).notes["more"] == 1
    load_exported(tmp_path)


def test_a_graph_that_the_digests_leave_out_is_refused(tmp_path: Path) -> None:
    folder_of("onnx", tmp_path)
    path = tmp_path / "meta.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["files"] = {"other": raw["files"]["model.onnx"]}
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(UserError, match=r"model\.onnx was altered"):
        load_exported(tmp_path)
    path.write_text(json.dumps({**raw, "files": {"model.onnx": 3}}), encoding="utf-8")
    with pytest.raises(UserError, match=r"meta\.json is incomplete"):
        load_exported(tmp_path)


def test_folders_from_before_there_were_digests_are_opened(tmp_path: Path) -> None:
    files = folder_of("openvino", tmp_path)
    replace(Meta.read(tmp_path), files={}).write(tmp_path)
    assert "files" not in json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))
    files[".bin"].write_bytes(b"other")
    assert load_exported(tmp_path).meta.files == {}


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
