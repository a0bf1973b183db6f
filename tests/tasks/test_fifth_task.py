"""A fifth task, as docs/adding-a-task.md has it: one folder and one line, and everything else follows."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import tiny
import torch
from torch import nn
from torchvision import tv_tensors

import yolor_mtl.build
from yolor_mtl.build import ModelConfig, build_model
from yolor_mtl.data.labels import Columns
from yolor_mtl.data.loader import Collate
from yolor_mtl.ops.details import Details
from yolor_mtl.ops.frame import letterbox_frame
from yolor_mtl.records import LossOutput, Sample
from yolor_mtl.tasks import TASKS
from yolor_mtl.tasks.base import DecodeOptions, Scoring, Task, TaskKind, decode_all, task_losses, total_loss


@dataclass
class BrightnessConfig:
    feature: str = "p5"


class BrightnessLabels:
    view = "vision"

    def labelled(self, annotations):
        return True

    def columns(self, annotations):
        return Columns()

    def usable(self, sample):
        return sample.view == self.view

    def targets(self, samples):
        return {
            "level": torch.stack([sample.image.as_subclass(torch.Tensor).float().mean() / 255 for sample in samples])
        }


class BrightnessHead(nn.Module):
    def __init__(self, feature, channels):
        super().__init__()
        self.feature = feature
        self.out = nn.Linear(channels, 1)

    def forward(self, features, read, inputs=None):
        return {"level": self.out(features[self.feature].mean((2, 3)))[:, 0]}


def brightness_loss(out, targets, used):
    error = (out["level"].float() - targets["level"]).square()
    return LossOutput({"square": (error.sum(), torch.tensor(float(len(error))))})


class BrightnessDecode:
    def __call__(self, out, used, options):
        return [{"level": float(level)} for level in out["level"]]

    def restore(self, prediction, frame, restored):
        return prediction


class BrightnessMetric:
    headline, shown, protocol = "brightness/error", ("brightness/error",), {}

    def __init__(self):
        self.errors = []

    def evaluates(self, annotations):
        return True

    def update(self, prediction, annotations):
        self.errors.append(abs(prediction["level"] - 0.5))

    def compute(self):
        return {"brightness/error": sum(self.errors) / len(self.errors)}

    def details(self):
        return Details()

    def write(self, folder):
        return []


class BrightnessShow:
    def draw(self, canvas, prediction):
        canvas.lines.append(f"brightness {prediction['level']:.2f}")

    def to_json(self, prediction, record):
        record["brightness"] = prediction["level"]

    def images(self, prediction):
        return {}


def build_brightness(config, space, infos):
    return Task(
        name="brightness",
        features=(config.feature,),
        head=BrightnessHead(config.feature, infos[config.feature].channels),
        labels=BrightnessLabels(),
        loss=brightness_loss,
        decode=BrightnessDecode(),
        scoring=scoring(space),
        show=BrightnessShow(),
    )


def scoring(space):
    return Scoring(BrightnessMetric, lambda annotations: {"level": 0.5}, lambda folder: None)


@pytest.fixture
def model(monkeypatch):
    kind = TaskKind(BrightnessConfig, lambda config: (config.feature,), build_brightness, scoring)
    monkeypatch.setattr(yolor_mtl.build, "TASKS", {**TASKS, "brightness": kind})
    torch.manual_seed(0)
    return build_model(ModelConfig(64, tiny.TRUNK, {**tiny.BLOCKS, "brightness": {}}), tiny.space())


def test_it_trains_beside_the_others(model):
    labels = {task.name: task.labels for task in model.tasks if task.labels is not None}
    levels = (40, 220)
    samples = [
        Sample(tv_tensors.Image(torch.full((3, 64, 64), level, dtype=torch.uint8)), "vision") for level in levels
    ]
    batch = Collate(labels)([(sample, ()) for sample in samples])
    assert batch.rows["brightness"].tolist() == [0, 1]
    assert all(not len(rows) for name, rows in batch.rows.items() if name != "brightness")
    optimizer = torch.optim.Adam(model.network.parameters(), lr=0.01)
    first = None
    for _ in range(40):
        outputs = model.network(batch.images, rows=batch.rows, inputs=batch.targets)
        loss, parts = total_loss(model.tasks, task_losses(model.tasks, outputs, batch.targets))
        assert list(parts) == ["brightness/square"]
        first = loss.item() if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05 * first


def test_it_answers_draws_and_scores(model):
    model.network.eval()
    frame = letterbox_frame((64, 64), (64, 64))
    with torch.inference_mode():
        outputs = model.network(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
        answer = decode_all(model.tasks, outputs, [frame], DecodeOptions())[0]
    task = next(task for task in model.tasks if task.name == "brightness")
    record: dict[str, object] = {}
    task.show.to_json(answer["brightness"], record)
    assert set(answer) == {*TASKS, "brightness"}
    assert isinstance(record["brightness"], float)
