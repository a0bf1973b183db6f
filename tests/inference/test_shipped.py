"""The weights that the package has with it: small, found by name, and good at what they were trained for."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import runs
from PIL import Image
from safetensors import safe_open

from yolor_mtl import YOLORMTL
from yolor_mtl.build import model_config
from yolor_mtl.data.coco import open_coco
from yolor_mtl.data.scenes import write_scenes
from yolor_mtl.inference.evaluator import evaluate
from yolor_mtl.inference.model import load_weights
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.models.weights import shipped_weights
from yolor_mtl.ops import draw
from yolor_mtl.records import UserError

WEIGHTS = resources.files("yolor_mtl") / "weights"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped") / "scenes"
    write_scenes(folder, train=0, val=16, seed=1234, workers=1)
    return folder


def test_files() -> None:
    assert shipped_weights() == ["scenes-nano"]
    with resources.as_file(WEIGHTS / "scenes-nano.safetensors") as path:
        assert path.stat().st_size <= 6_000_000
        with safe_open(path, "pt") as file:
            assert {str(file.get_tensor(name).dtype) for name in file.keys()} <= {"torch.float16", "torch.int64"}  # noqa: SIM118


def test_by_name(scenes: Path) -> None:
    model = YOLORMTL("scenes-nano")
    results = model.predict(scenes / "val")
    assert len(results) == 16
    assert sum(len(result.boxes) > 0 for result in results) >= 14
    assert all(result.caption for result in results)


def test_the_words_of_a_caption_in_the_picture(scenes: Path) -> None:
    """Each word has a place; one that names a thing has that thing's box, and a picture shows both."""
    model = YOLORMTL("scenes-nano", device="cpu", half=False)
    results = model.predict(scenes / "val", attention=True)
    tied = [
        (result, word)
        for result in results
        for word in result.words
        if {word.text, word.text.removesuffix("s")} & {model.names[int(index)] for index in result.boxes.cls}
    ]
    assert len(tied) >= 10
    for result, word in tied:
        assert word.box is not None
        assert model.names[int(result.boxes.cls[word.box])] in (word.text, word.text.removesuffix("s"))
    for result in results:
        assert " ".join(word.text for word in result.words) == result.caption
        for word in result.words:
            assert word.heat.min() >= 0
            assert word.heat.max() == pytest.approx(1)
    result, word = tied[0]
    height, width = result.orig_shape
    shown = np.asarray(result.plot(word=word.text.upper()))[:height].astype(float)
    left, top, right, bottom = (round(side) for side in result.boxes.xyxy[word.box].tolist())
    share = shown.sum() / result.image.sum()
    level = np.asarray(Image.fromarray(word.heat).resize((width, height)))
    seen, dark = ((shown[where].sum() / result.image[where].sum()) for where in (level > 0.6, level < 0.05))
    assert seen > 1.5 * dark
    assert share < 0.7
    away = np.ones((height, width), dtype=bool)
    away[-60:] = False  # the caption stands there
    away[max(0, top - 30) : bottom + 5, max(0, left - 5) : max(right + 5, left + 200)] = False
    bare = draw.heat(result.image, word.heat)[:height]
    framed = (shown != bare).any(axis=2)
    frame = framed[(top + bottom) // 2, max(0, left - 3) : left + 4]
    assert frame.any()
    assert not framed[away].any()
    with pytest.raises(UserError, match="'zebrafish' is not in the caption; its words are: "):
        result.plot(word="zebrafish")
    without = model.predict(scenes / "val")[0]
    assert without.words is None
    with pytest.raises(UserError, match="attention=True"):
        without.plot(word="a")


def test_as_a_command(command: runs.Command, scenes: Path, tmp_path: Path) -> None:
    said = command("predict", "model=scenes-nano", f"source={scenes / 'val'}", f"out={tmp_path}")
    assert said.code == 0
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 16
    segments = [segment for row in rows for segment in row["panoptic"]["segments"]]
    assert {segment["isthing"] for segment in segments} == {True, False}
    assert {type(segment["area"]) for segment in segments} == {int}


def test_it_learnt(scenes: Path) -> None:
    """Far below what 200 scenes give, for 16 are few; far above what an untrained network gives."""
    predictor = Predictor(load_weights("scenes-nano", []))
    scores = evaluate(predictor, open_coco(scenes, ["val"], cache=False), workers=0).scores
    least = {"box/AP": 0.45, "mask/AP": 0.3, "semantic/mIoU": 0.5, "panoptic/PQ": 0.45, "caption/CIDEr": 1.4}
    assert {key: scores[key] for key, value in least.items() if scores[key] < value} == {}


def test_its_network_is_the_one_that_is_trained_today() -> None:
    model = load_weights("scenes-nano", [])
    assert model.config.trunk.items() >= model_config("nano").trunk.items()


@pytest.mark.parametrize(
    ("name", "said"), [("scenes-nanno", "did you mean 'scenes-nano'"), ("photo.jpg", "shipped weights: scenes-nano")]
)
def test_other_names(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_weights(name, [])


def test_a_run_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scenes-nano").mkdir()
    (tmp_path / "scenes-nano" / "best.safetensors").write_bytes(b"no weights")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"scenes-nano/best\.safetensors"):
        load_weights("scenes-nano", [])
