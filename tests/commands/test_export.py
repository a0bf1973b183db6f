"""``yolor-mtl export``: a folder that answers as the weights do, in either format, or none at all."""

import contextlib
import io
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import runs
import torch

from yolor_mtl import YOLORMTL, cli
from yolor_mtl.build import Model
from yolor_mtl.commands import export
from yolor_mtl.data.scenes import write_scenes
from yolor_mtl.inference import exporter
from yolor_mtl.inference.exported import Meta
from yolor_mtl.inference.model import load_weights
from yolor_mtl.inference.predictor import to_tensor
from yolor_mtl.ops.frame import letterbox
from yolor_mtl.records import UserError
from yolor_mtl.tasks.base import DecodeOptions

for package in ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf"):
    # Not imported: OpenVINO would report that to its makers before our code can keep it from it.
    if find_spec(package) is None:
        pytest.skip(f"{package} is absent: it comes with the extra [export]", allow_module_level=True)

MODEL, SIDE = "scenes-nano", 192
"""A model that finds things, in a small frame."""


@pytest.fixture(scope="module")
def pictures(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight scenes with labels."""
    folder = tmp_path_factory.mktemp("data") / "eight"
    write_scenes(folder, train=0, val=8, seed=5, workers=1)
    return folder


def exported(kind: str, pictures: Path, out: Path, *more: str) -> Path:
    """The folder; what was printed is beside it."""
    folder = out / kind
    words = (f"model={MODEL}", f"format={kind}", f"out={folder}", f"source={pictures / 'val'}", f"imgsz={SIDE}", *more)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert cli.main(["export", *words]) == 0
    printed(folder).write_text(said.getvalue(), encoding="utf-8")
    return folder


def printed(folder: Path) -> Path:
    return folder.with_suffix(".txt")


@pytest.fixture(scope="module")
def onnx(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("onnx", pictures, tmp_path_factory.mktemp("exported"), "nms=inside", "conf=0.1")


@pytest.fixture(scope="module")
def openvino(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("openvino", pictures, tmp_path_factory.mktemp("exported"))


@pytest.fixture
def ready(openvino: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs that are there already stand for the minute that tracing takes."""

    def copied(model: Model, folder: Path, *more: object) -> Meta:
        shutil.copytree(openvino, folder, dirs_exist_ok=True)
        return Meta.read(folder)

    monkeypatch.setattr(export, "write_graphs", copied)


@pytest.fixture(scope="module")
def weights(quick: None) -> YOLORMTL:
    return YOLORMTL(MODEL, device="cpu", half=False, imgsz=SIDE)


@pytest.fixture(params=["onnx", "openvino"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def meta_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return found


def test_case_13_what_is_in_the_folder(folder: Path, weights: YOLORMTL) -> None:
    meta = meta_of(folder)
    graphs = {"onnx": (".onnx",), "openvino": (".bin", ".xml")}[meta["format"]]
    names = [f"{name}{ending}" for name in ("caption_start", "caption_step", "model") for ending in graphs]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "meta.json"])
    assert {int(key): name for key, name in meta["names"].items()} == weights.names
    assert [entry["name"] for entry in meta["label_space"]["things"]] == list(weights.names.values())
    assert meta["imgsz"] == SIDE
    agreement = meta["notes"]["fp32"]["agreement"]
    assert agreement["pictures"] == 8
    assert agreement["boxes"] > 8
    assert agreement["box_iou"] > 0.999
    assert agreement["mask_iou"] > 0.99
    assert agreement["captions"] == 1.0
    gaps = meta["notes"]["fp32"]["greatest_differences"]
    assert gaps.keys() == {name for name in meta["graphs"]["model"]["outputs"] if not name.startswith("nms.")}
    # Of captions' memory the order may differ: see the next test.
    ordered = {name: gap for name, gap in gaps.items() if name not in ("captioning.memory", "captioning.places")}
    assert len(ordered) == len(gaps) - 2
    assert all(gap["most"] <= 1e-3 * max(1, gap["scale"]) for gap in ordered.values())
    lines = [line.split("│") for line in printed(folder).read_text(encoding="utf-8").splitlines()]
    cells = [[cell.strip() for cell in line[1:-1]] for line in lines]
    for name, gap in gaps.items():
        assert [name, f"{gap['most']:.2e}", f"{gap['scale']:.2e}"] in cells


@pytest.mark.parametrize("size", [(SIDE, SIDE), (SIDE, SIDE // 2)])
def test_case_13_captions_look_at_the_same_things(
    folder: Path, weights: YOLORMTL, pictures: Path, size: tuple[int, int]
) -> None:
    """Objects come in the order of their scores: two that are equal but for rounding may change places, and whoever
    reads the memory does not mind."""
    graph = YOLORMTL(folder)
    for path in sorted((pictures / "val").glob("*.jpg")):
        image = letterbox(to_tensor(path), size)[0][None]
        should, found = (
            torch.cat([outputs["memory"][0], outputs["places"][0]], dim=1)
            for outputs in (model._predictor.runtime(image)["captioning"] for model in (weights, graph))
        )
        apart = (should[:, None] - found[None]).abs().amax(dim=2)
        assert len(should) == len(found)
        # Of twins either may be the partner, so that each is looked for among the others, both ways.
        assert apart.amin(dim=1).max() < 1e-3
        assert apart.amin(dim=0).max() < 1e-3


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
@pytest.mark.parametrize("batch", [1, 3])
def test_case_13_outputs_have_the_names_and_shapes_that_are_written_down(
    folder: Path, weights: YOLORMTL, size: tuple[int, int], batch: int
) -> None:
    graph = meta_of(folder)["graphs"]["model"]
    images = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8)
    runtime = YOLORMTL(folder)._predictor.runtime
    found = {f"{task}.{name}": value for task, outputs in runtime(images).items() for name, value in outputs.items()}
    written = {name: port for name, port in graph["outputs"].items() if not name.startswith("nms.")}
    assert found.keys() == written.keys()
    sizes = {"batch": batch, "height": size[0], "width": size[1], "Min": min, "min": min}
    for name, port in written.items():
        assert [eval(str(side), {}, sizes) for side in port["shape"]] == list(found[name].shape), name
        assert str(found[name].dtype) == f"torch.{port['dtype']}"
    should = weights._predictor.runtime(images)
    for name, value in found.items():
        task, output = name.split(".", 1)
        assert torch.allclose(value, should[task][output], rtol=1e-3, atol=1e-3), name


def test_frames_of_fewer_points_than_captions_look_at(onnx: Path, weights: YOLORMTL) -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    should, found = (model._predictor.runtime(images) for model in (weights, YOLORMTL(onnx)))
    assert found["captioning"]["memory"].shape == should["captioning"]["memory"].shape
    assert found["captioning"]["memory"].shape[:2] == (2, 1 + 21)
    assert torch.allclose(found["semantic"]["logits"], should["semantic"]["logits"], rtol=1e-3, atol=1e-3)


def lines(command: runs.Command, model: object, pictures: Path, out: Path, *more: str) -> list[dict[str, Any]]:
    source = f"source={pictures / 'val'}"
    said = command("predict", f"model={model}", source, f"out={out}", "half=false", f"imgsz={SIDE}", *more)
    assert said.code == 0, said.err
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("beam", [1, 3])
def test_case_13_predict_says_the_same(
    command: runs.Command, folder: Path, pictures: Path, tmp_path: Path, beam: int
) -> None:
    first, second = (
        lines(command, model, pictures, tmp_path / name, f"beam={beam}")
        for name, model in (("torch", MODEL), ("graph", folder))
    )
    assert len(first) == len(second) == 8
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        assert one["caption"]["text"] == other["caption"]["text"]
        assert one["caption"]["score"] == pytest.approx(other["caption"]["score"], abs=1e-3)
        assert [entry["class"] for entry in one["detections"]] == [entry["class"] for entry in other["detections"]]
        for ours, theirs in zip(one["detections"], other["detections"], strict=True):
            assert ours["xyxy"] == pytest.approx(theirs["xyxy"], abs=0.1)
        assert one["semantic"]["classes"].keys() == other["semantic"]["classes"].keys()
        assert len(one["panoptic"]["segments"]) == len(other["panoptic"]["segments"])


def test_val_gives_the_same_scores(command: runs.Command, folder: Path, pictures: Path, tmp_path: Path) -> None:
    scores = []
    for name, model in (("torch", MODEL), ("graph", str(folder))):
        out, data = f"out={tmp_path / name}", f"data={pictures}"
        words = ("half=false", f"imgsz={SIDE}", "workers=0", "plots=0", "extremes=0", "--json")
        said = command("val", f"model={model}", data, out, *words)
        assert said.code == 0, said.err
        scores.append({key: value for key, value in said.json().items() if isinstance(value, float)})
    assert scores[0]["box/AP50"] > 0.2
    assert scores[0].keys() == scores[1].keys()
    assert scores[1] == pytest.approx(scores[0], abs=5e-3)


def test_a_choice_of_tasks(folder: Path, pictures: Path) -> None:
    model = YOLORMTL(folder, tasks=["captioning"])
    (result,) = model.predict(next((pictures / "val").glob("*.jpg")))
    assert result.boxes is None
    assert result.caption
    with pytest.raises(UserError, match="did you mean 'semantic'"):
        YOLORMTL(folder, tasks=["semantics"])


def test_boxes_inside_the_graph_are_those_that_predict_finds(onnx: Path, weights: YOLORMTL, pictures: Path) -> None:
    import onnxruntime

    read = [to_tensor(path) for path in sorted((pictures / "val").glob("*.jpg"))]
    images = torch.stack([letterbox(picture, (SIDE, SIDE))[0].as_subclass(torch.Tensor) for picture in read])
    session = onnxruntime.InferenceSession(str(onnx / "model.onnx"))
    names = [f"nms.{name}" for name in ("images", "boxes", "scores", "classes", "points")]
    rows, boxes, scores, classes, points = (torch.from_numpy(x) for x in session.run(names, {"images": images.numpy()}))
    predictor = weights._predictor
    (detection,) = (task for task in predictor.model.tasks if task.name == "detection")
    wanted = detection.decode(dict(predictor.runtime(images)["detection"]), {}, DecodeOptions(conf=0.1))
    assert torch.equal(rows, rows.sort().values)
    assert len(rows) == sum(len(should["scores"]) for should in wanted) > 16
    for row, should in enumerate(wanted):
        own = rows == row
        assert torch.equal(points[own], should["points"])
        assert torch.equal(classes[own], should["classes"])
        assert torch.allclose(scores[own], should["scores"], atol=1e-4)
        assert torch.allclose(boxes[own], should["boxes"], atol=1e-2)


INT8 = ("format=openvino", "int8=true", f"imgsz={SIDE}", "pictures=2", "workers=0")


def test_case_14_int8_tells_what_it_costs(ready: None, command: runs.Command, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8"
    words = (f"model={MODEL}", *INT8, f"out={out}", f"data={pictures}", "calibration=8", "max_drop=0.2")
    said = command("export", *words)
    assert said.code == 0, said.err
    assert "before" in said.out
    assert "fitness" in said.out
    meta = meta_of(out)
    assert meta["int8"] is True
    scores = meta["notes"]["int8"]
    assert scores["before"].keys() == scores["after"].keys()
    assert 0 < scores["before"]["fitness"] - 0.2 < scores["after"]["fitness"]
    assert "FakeQuantize" in (out / "model.xml").read_text(encoding="utf-8")
    assert YOLORMTL(out).predict(next((pictures / "val").glob("*.jpg")))[0].caption


def test_case_14_int8_that_costs_too_much_leaves_nothing(
    ready: None, command: runs.Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calibrated on black pictures, a good model sees little any more."""
    plain = exporter.openvino.quantise

    def on_black(path: Path, images: list[torch.Tensor], number: int) -> None:
        plain(path, [torch.zeros_like(image) for image in images], number)

    monkeypatch.setattr(exporter.openvino, "quantise", on_black)
    said = command("export", f"model={MODEL}", *INT8, f"out={tmp_path / 'int8'}", f"data={pictures}", "calibration=2")
    assert said.code == 3
    assert "int8 costs" in said.err
    assert "max_drop=0.02" in said.err
    assert list(tmp_path.iterdir()) == []


def test_graphs_that_say_something_else_are_not_written(
    ready: None, command: runs.Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Graphs of the model with one layer changed."""

    def other(*given: Any) -> Model:
        model = load_weights(*given)
        with torch.no_grad():
            next(parameter for name, parameter in model.network.named_parameters() if "boxes" in name).mul_(1.5)
        return model

    monkeypatch.setattr(export, "load_weights", other)
    words = (
        f"model={MODEL}",
        "format=openvino",
        f"imgsz={SIDE}",
        f"out={tmp_path / 'x'}",
        f"source={pictures / 'val'}",
    )
    said = command("export", *words)
    assert said.code == 3
    assert "do not say what the model says: box_iou" in " ".join(said.err.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("out=x",), ("model= is missing",)),
        (("model=scenes-nano",), ("out= is missing",)),
        (("model=scenes-nano", "out=x", "format=onx"), ("did you mean 'onnx'",)),
        (("model=scenes-nano", "out=x", "int8=true"), ("format=openvino",)),
        (("model=scenes-nano", "out=x", "half=true"), ("format=openvino",)),
        (("model=scenes-nano", "out=x", "format=openvino", "int8=true"), ("data=",)),
        (("model=scenes-nano", "out=x", "format=openvino", "nms=inside"), ("nms=inside", "format=onnx")),
        (("model=scenes-nano", "out=x", "pictures=0"), ("pictures=0",)),
    ],
)
def test_refused(command: runs.Command, words: tuple[str, ...], parts: tuple[str, ...]) -> None:
    runs.refused(command("export", *words), *parts)


def test_a_folder_of_somebody_else_is_not_written_over(command: runs.Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    runs.refused(command("export", f"model={MODEL}", f"out={tmp_path}"), "no exported model")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_without_the_packages(
    command: runs.Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yolor_mtl.ops.extras.find_spec", lambda name: None)
    said = command("export", f"model={MODEL}", f"out={tmp_path / 'x'}", f"source={pictures / 'val'}", "imgsz=64")
    runs.refused(said, "pip install 'yolor-mtl[export]'")
    assert list(tmp_path.iterdir()) == []


def changed(folder: Path, tmp_path: Path, **keys: Any) -> Path:
    out = tmp_path / "changed"
    shutil.copytree(folder, out)
    (out / "meta.json").write_text(json.dumps({**meta_of(folder), **keys}), encoding="utf-8")
    return out


def test_a_vocabulary_of_another_model_is_refused(onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="vocabulary"):
        YOLORMTL(changed(onnx, tmp_path, vocabulary_sha256="0" * 64))


@pytest.mark.parametrize("keys", [{"schema": "other/1"}, {"graphs": {}}, {"format": "tflite"}, {"config": None}])
def test_a_meta_that_says_something_else_is_refused(onnx: Path, tmp_path: Path, keys: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"meta\.json"):
        YOLORMTL(changed(onnx, tmp_path, **keys))


def test_a_broken_graph_is_refused(folder: Path, tmp_path: Path) -> None:
    out = changed(folder, tmp_path)
    graph = out / meta_of(out)["graphs"]["model"]["file"]
    graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(UserError, match="export"):
        YOLORMTL(out)
    graph.unlink()
    with pytest.raises(UserError, match="is missing"):
        YOLORMTL(out)


def test_what_graphs_cannot_do_is_refused(command: runs.Command, onnx: Path, pictures: Path, tmp_path: Path) -> None:
    source, out = f"source={pictures / 'val'}", f"out={tmp_path}"
    runs.refused(command("predict", f"model={onnx}", source, out, "device=cuda"), "CPU")
    runs.refused(command("predict", f"model={onnx}", source, out, "half=true"), "fp32")
    runs.refused(command("predict", f"model={onnx}", source, out, "imgsz=33"), "multiple of 32")
    runs.refused(command("diagnose", f"model={onnx}"), "exported folder")
    runs.refused(command("export", f"model={onnx}", f"out={tmp_path / 'again'}"), "exported folder")
