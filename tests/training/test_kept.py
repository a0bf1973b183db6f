"""What is worked out once, and trains the head as if it were worked out at every step."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import runs
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from safetensors.torch import load_file

from yolor_mtl.build import Model, ModelConfig, build_model
from yolor_mtl.data.augment import AugmentConfig, weak
from yolor_mtl.data.coco import open_coco
from yolor_mtl.training.callbacks import Recorder
from yolor_mtl.training.freeze import Freezer
from yolor_mtl.training.kept import Layout, keep_features, lone_reader

ALONE = ["trunk", "detection", "instance", "semantic"]
READ = {"captioning": {"width": 32, "feed_forward": 64, "objects": {"count": 5}, "features": ["p4", "p5"]}}


def _captions_alone(trained: Path, scenes: Path, out: Path, **keys: object) -> Path:
    start = {"weights": str(trained / "best.safetensors"), "freeze": ALONE, "ema": 0.0, "epochs": 2}
    return runs.run_training(scenes, out, **{**start, **keys}).out


def test_it_trains_the_same(trained: Path, scenes: Path, tmp_path: Path) -> None:
    # Not Adam, which makes a whole step of a rounding error where there is no gradient.
    keys = {"optimizer": "sgd", "lr": 0.05}
    kept = _captions_alone(trained, scenes, tmp_path / "kept", **keys)
    plain = _captions_alone(trained, scenes, tmp_path / "plain", keep_features=False, **keys)
    one, other = load_file(kept / "best.safetensors"), load_file(plain / "best.safetensors")
    before = load_file(trained / "best.safetensors")
    heads = [name for name in before if name.startswith("heads.captioning")]
    # The frozen part is read in its fused form, which rounds otherwise.
    assert all(torch.allclose(one[name], other[name], atol=2e-4) for name in before)
    assert any(not torch.allclose(one[name], before[name], atol=1e-3) for name in heads)
    assert not list(kept.glob(".features*"))


def test_resume_is_exact(trained: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _captions_alone(trained, scenes, tmp_path / "whole", epochs=3)
    record = Recorder.on_train_batch_end

    def press(self, trainer, module, outputs, batch, place):
        record(self, trainer, module, outputs, batch, place)
        assert "captioning" in batch.gleaned
        if trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Recorder, "on_train_batch_end", press)
    stopped = _captions_alone(trained, scenes, tmp_path / "run", epochs=3)
    monkeypatch.undo()
    runs.run_training(scenes, resume=str(stopped), epochs=3)
    states = [torch.load(run / "last.ckpt", weights_only=True)["state_dict"] for run in (whole, stopped)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_pictures_that_cannot_be_read_are_listed_and_left_out(trained: Path, scenes: Path, tmp_path: Path) -> None:
    broken = tmp_path / "scenes"
    shutil.copytree(scenes, broken)
    picture = sorted((broken / "train").iterdir())[2]
    picture.write_bytes(picture.read_bytes()[:100])
    keys = {"weights": str(trained / "best.safetensors"), "freeze": ALONE, "epochs": 1}
    result = runs.run_training(broken, tmp_path / "run", **keys)
    assert result.exit_code == 1
    assert [Path(path).name for path in result.failures] == [picture.name]


def test_without_room_it_is_worked_out_at_every_step(
    trained: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    model = _model()
    labels = {task.name: task.labels for task in model.tasks if task.name == "captioning" and task.labels}
    data = open_coco(scenes, ["train"])
    found = keep_features(
        model,
        labels,
        data,
        [0, 1],
        (64, 64),
        device=torch.device("cpu"),
        half=None,
        batch=2,
        workers=0,
        folder=tmp_path,
        console=Console(),
    )
    assert found is None
    said = " ".join(capsys.readouterr().out.split())
    assert "worked out at every step" in said
    assert "that are free" in said
    assert list(tmp_path.iterdir()) == []


def _model() -> Model:
    blocks = {name: dict(block) for name, block in tiny.BLOCKS.items()}
    return build_model(ModelConfig(64, dict(tiny.TRUNK), blocks | {"captioning": READ["captioning"]}), tiny.space())


def test_only_a_head_that_learns_alone_on_still_pictures() -> None:
    model = _model()
    pipelines = {"vision": AugmentConfig(), "language": weak()}

    def reader(frozen: list[str], epochs: int = 0, language: AugmentConfig | None = None) -> str | None:
        freezer = Freezer(model.network, model.tasks, frozen, epochs)
        return lone_reader(model, freezer, {**pipelines, "language": language or weak()})

    assert reader(ALONE) == "captioning"
    assert reader([]) is None
    assert reader(ALONE, epochs=3) is None
    assert reader(ALONE[1:]) is None  # the trunk learns
    assert reader(["trunk", "detection", "semantic", "captioning"]) is None  # the masks' head cannot
    for changes in ({"flip": 0.5}, {"place": True}, {"brightness": 0.1}):
        config = weak()
        for key, value in changes.items():
            setattr(config, key, value)
        assert reader(ALONE, language=config) is None


def test_what_the_head_says_is_the_same_either_way() -> None:
    model = _model()
    network = model.network.eval()
    images = tiny.images(2, (64, 64))
    inputs = tiny.targets((64, 64))["captioning"]
    with torch.inference_mode():
        direct = network(images, ["captioning"], inputs={"captioning": inputs})["captioning"]
        gleaned = network.glean(images, "captioning")
        layout = Layout.of(gleaned)
        told = network.heads["captioning"].tell(layout.unpack(layout.pack(gleaned)), inputs)
    assert {"p4", "p5", "objects.seen", "objects.classes", "objects.form"} == gleaned.keys()
    assert all(torch.equal(direct[name], told[name]) for name in direct)


@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sampled_from([torch.bfloat16, torch.float32, torch.uint8, torch.int64]), st.integers(1, 5)),
        min_size=1,
        max_size=4,
    ),
)
def test_bytes_and_back(rows: int, columns: list[tuple[torch.dtype, int]]) -> None:
    tensors = {
        str(place): torch.randint(0, 100, (rows, size, 2)).to(dtype) for place, (dtype, size) in enumerate(columns)
    }
    layout = Layout.of(tensors)
    packed = layout.pack(tensors)
    assert packed.shape == (rows, layout.size)
    back = layout.unpack(packed)
    assert all(torch.equal(back[name], tensor) and back[name].dtype == tensor.dtype for name, tensor in tensors.items())
