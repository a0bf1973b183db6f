"""The Python door: every kind of picture, and the names that users know."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
import torch
from PIL import Image

from yolor_mtl import YOLORMTL, Result
from yolor_mtl.data.image import UnreadableImageError
from yolor_mtl.inference.model import load_weights
from yolor_mtl.records import UserError


@pytest.fixture(scope="module")
def model(trained: Path) -> YOLORMTL:
    return YOLORMTL(trained, device="cpu", half=False)


@pytest.fixture(scope="module")
def pictures(scenes: Path) -> list[Path]:
    return sorted((scenes / "val").glob("*.jpg"))


@pytest.fixture(scope="module")
def result(model: YOLORMTL, pictures: list[Path]) -> Result:
    return model.predict(pictures[0], conf=0.0, max_det=5)[0]


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


FORMS: dict[str, Any] = {
    "text": str,
    "bytes": Path.read_bytes,
    "PIL": Image.open,
    "array": pixels,
    "tensor": lambda path: torch.from_numpy(pixels(path)).permute(2, 0, 1),
    "list": lambda path: [path],
    "generator": lambda path: (picture for picture in [path]),
    "pattern": lambda path: str(path.parent / f"{path.stem}*"),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_agree(model: YOLORMTL, pictures: list[Path], result: Result, form: str) -> None:
    (found,) = model.predict(FORMS[form](pictures[0]), conf=0.0, max_det=5)
    assert torch.equal(found.boxes.xyxy, result.boxes.xyxy)
    assert found.caption == result.caption
    assert np.array_equal(found.image, result.image)


def test_a_folder_in_batches(model: YOLORMTL, pictures: list[Path]) -> None:
    found = model.predict(pictures[0].parent, batch=3)
    assert [Path(entry.path) for entry in found] == pictures


def test_names_that_users_know(model: YOLORMTL, result: Result) -> None:
    height, width = result.orig_shape
    boxes, masks = result.boxes, result.masks
    assert boxes.xyxy.shape == (5, 4)
    assert torch.allclose(boxes.xyxyn * torch.tensor([width, height, width, height]), boxes.xyxy)
    assert ((boxes.xyxyn >= 0) & (boxes.xyxyn <= 1)).all()
    assert boxes.conf.tolist() == sorted(boxes.conf.tolist(), reverse=True)
    assert boxes.cls.dtype == torch.int64
    assert boxes.id is None
    assert len(boxes) == len(masks) == len(masks.xy) == 5
    assert masks.data.shape == (5, height, width)
    assert masks.data.dtype == torch.bool
    assert all(outline.ndim == 2 and outline.shape[1] == 2 for outline in masks.xy)
    assert result.semantic.shape == (height, width)
    assert result.panoptic["map"].shape == (height, width)
    assert isinstance(result.caption, str)
    assert result.names == model.names
    assert set(boxes.cls.tolist()) <= set(result.names)
    assert result.speed.keys() == {"preprocess", "inference", "postprocess"}
    assert all(value >= 0 for value in result.speed.values())
    assert result["detection"]["boxes"] is boxes.xyxy
    assert "objects" in result.summary() or result.names[int(boxes.cls[0])] in result.summary()


def test_nothing_found(model: YOLORMTL, pictures: list[Path]) -> None:
    found = model.predict(pictures[0], conf=1.0)[0]
    assert len(found.boxes) == len(found.masks) == 0
    assert found.masks.data.shape == (0, *found.orig_shape)
    assert found.summary().startswith("no objects")
    assert found.to_json()["detections"] == []


def test_pictures_and_records(result: Result, tmp_path: Path) -> None:
    assert result.plot().width >= result.orig_shape[1]
    for name in ("a.png", "a.jpg"):
        result.save(tmp_path / name)
        assert Image.open(tmp_path / name).size == result.plot().size
    record = json.loads(json.dumps(result.to_json()))
    assert record.keys() == {"schema", "path", "height", "width", "detections", "semantic", "panoptic", "caption"}
    assert result.images().keys() == {"semantic", "panoptic"}


def test_to_supervision(model: YOLORMTL, trained: Path, pictures: list[Path], result: Result) -> None:
    pytest.importorskip("supervision")
    found = result.to_supervision()
    assert np.array_equal(found.xyxy, result.boxes.xyxy)
    assert np.array_equal(found.mask, result.masks.data)
    assert np.array_equal(found.confidence, result.boxes.conf)
    assert np.array_equal(found.class_id, result.boxes.cls)
    assert list(found["class_name"]) == [result.names[int(index)] for index in result.boxes.cls]
    assert found.tracker_id is None
    assert result.to_supervision(masks=False).mask is None
    nothing = model.predict(pictures[0], conf=1.0)[0].to_supervision()
    assert len(nothing) == 0
    assert nothing.xyxy.shape == (0, 4)
    bare = YOLORMTL(trained, tasks=["semantic"], device="cpu").predict(pictures[0])[0]
    with pytest.raises(UserError, match="no boxes to hand over; keep detection"):
        bare.to_supervision()


def test_weights_beside_an_export_are_found(trained: Path, tmp_path: Path) -> None:
    """``export`` may be told to write into the run's own folder."""
    shutil.copy(trained / "best.safetensors", tmp_path)
    (tmp_path / "meta.json").write_text("{}")
    assert load_weights(str(tmp_path), []).space == load_weights(str(trained), []).space
    (tmp_path / "best.safetensors").unlink()
    with pytest.raises(UserError, match="is an exported folder"):
        load_weights(str(tmp_path), [])


def test_some_tasks_only(trained: Path, pictures: list[Path]) -> None:
    found = YOLORMTL(trained / "best.safetensors", tasks=["semantic"], device="cpu").predict(pictures[0])[0]
    assert found.boxes is None
    assert found.masks is None
    assert found.panoptic is None
    assert found.caption is None
    assert found.summary() == ""
    assert found.to_json().keys() == {"schema", "path", "height", "width", "semantic"}


@pytest.mark.parametrize(
    "picture",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), torch.zeros(4, 4, 3)],
    ids=["grey", "four channels", "float", "tensor"],
)
def test_refused_arrays(model: YOLORMTL, picture: Any) -> None:
    with pytest.raises(UserError, match="uint8"):
        model.predict(picture)


def test_refused(model: YOLORMTL, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError):
        model.predict(b"no picture")
    with pytest.raises(UserError, match="no such file"):
        model.predict(tmp_path / "absent.jpg")
    with pytest.raises(UserError, match="safetensors"):
        YOLORMTL(tmp_path)
    with pytest.raises(UserError, match="multiple of 32"):
        YOLORMTL(trained, imgsz=100)
    with pytest.raises(UserError, match="did you mean 'semantic'"):
        YOLORMTL(trained, tasks=["semantics"])


def test_bytes_of_a_stream_and_grey_pictures(model: YOLORMTL) -> None:
    buffer = io.BytesIO()
    Image.new("L", (33, 17), 128).save(buffer, "PNG")
    assert model.predict(buffer.getvalue())[0].orig_shape == (17, 33)


def test_case_17_importing_does_nothing() -> None:
    said = runs.python(
        "import logging, socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.__init__ = socket.getaddrinfo = refuse\n"
        "before = list(logging.getLogger().handlers)\n"
        "import yolor_mtl, yolor_mtl.cli, yolor_mtl.commands.predict\n"
        "assert logging.getLogger().handlers == before\n"
        "print([name for name in ('lightning', 'tensorboard', 'pytorch_lightning') if name in sys.modules])"
    )
    assert said.strip() == "[]"


def test_case_17_weights_load_from_any_folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "été, 100 % [a]" / "{b}"
    place.mkdir(parents=True)
    shutil.copy(trained / "best.safetensors", place / "some name.safetensors")
    monkeypatch.chdir(place)
    moved = YOLORMTL("some name.safetensors", device="cpu", half=False)
    picture = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8)
    found, wanted = (
        model.predict(picture, conf=0)[0] for model in (moved, YOLORMTL(trained, device="cpu", half=False))
    )
    assert torch.equal(found.boxes.xyxy, wanted.boxes.xyxy)
    assert found.names == wanted.names
