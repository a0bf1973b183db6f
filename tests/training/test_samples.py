"""Pictures of the network's answers: always the first ones, small, and none where nobody asks."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from yolor_mtl.build import ModelConfig, build_model
from yolor_mtl.data.loader import EvaluationSet, collate_evaluation
from yolor_mtl.records import Annotations, Batch
from yolor_mtl.training.config import TrainConfig
from yolor_mtl.training.module import JointStep
from yolor_mtl.training.plan import Plan
from yolor_mtl.training.samples import SIDE, Samples, sheet, strip


@pytest.fixture(scope="module")
def module() -> JointStep:
    torch.manual_seed(0)
    model = build_model(ModelConfig(64, tiny.TRUNK, tiny.BLOCKS), tiny.space())
    model.network.eval()
    return JointStep(model, TrainConfig(epochs=5), Plan(50))


class Pictures:
    """Noise of several sizes, as a data set."""

    def __init__(self, folder: Path, number: int) -> None:
        self.labels = []
        for index in range(number):
            width, height = 40 + 8 * index, 50
            path = folder / f"{index}.png"
            noise = np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(noise).save(path)
            self.labels.append(Annotations(index, path, height, width))

    def annotations(self, index: int) -> Annotations:
        return self.labels[index]

    def reading_order(self, indices: None) -> range:
        return range(len(self.labels))

    def __len__(self) -> int:
        return len(self.labels)


@pytest.fixture
def batches(tmp_path: Path) -> list[Batch]:
    """Three batches of two pictures."""
    (tmp_path / "pictures").mkdir()
    pictures: Any = Pictures(tmp_path / "pictures", 6)
    data = EvaluationSet(pictures, (64, 64))
    return [collate_evaluation([data[index], data[index + 1]]) for index in (0, 2, 4)]


def validate(samples: Samples, module: JointStep, batches: list[Batch], step: int = 17, **more: Any) -> None:
    trainer: Any = SimpleNamespace(**{"is_global_zero": True, "global_step": step, "logger": None, **more})
    with torch.no_grad():
        for place, batch in enumerate(batches):
            samples.on_validation_batch_end(trainer, module, None, batch, place)
        samples.on_validation_end(trainer, module)


def test_the_first_pictures_after_every_validation(tmp_path: Path, module: JointStep, batches: list[Batch]) -> None:
    samples = Samples(tmp_path, 3)
    validate(samples, module, batches)
    validate(samples, module, batches, step=50)
    files = sorted((tmp_path / "samples").iterdir())
    assert [path.name for path in files] == ["epoch-0002.jpg", "epoch-0005.jpg"]
    assert files[0].read_bytes() == files[1].read_bytes()  # the network has not learnt in between
    with Image.open(files[0]) as picture:
        assert picture.format == "JPEG"
        assert picture.height <= SIDE
        assert picture.width <= 3 * SIDE
    assert files[0].stat().st_size < 2**20
    one = Samples(tmp_path / "one", 1)
    validate(one, module, batches)
    with Image.open(tmp_path / "one" / "samples" / "epoch-0002.jpg") as first, Image.open(files[0]) as three:
        part = np.asarray(three.crop((0, 0, *first.size)), dtype=np.int16)
        assert np.abs(part - np.asarray(first)).mean() < 3


def test_unreadable_and_empty_batches_are_left_out(tmp_path: Path, module: JointStep, batches: list[Batch]) -> None:
    path = batches[0].annotations[1].path
    path.unlink()
    empty = Batch(torch.zeros(0, 3, 0, 0, dtype=torch.uint8))
    validate(Samples(tmp_path, 2), module, [empty, *batches])
    assert (tmp_path / "samples" / "epoch-0002.jpg").is_file()


@pytest.mark.parametrize(("number", "first"), [(0, True), (4, False)], ids=["not asked for", "another process"])
def test_none(tmp_path: Path, module: JointStep, batches: list[Batch], number: int, first: bool) -> None:
    validate(Samples(tmp_path, number), module, batches, is_global_zero=first)
    assert not (tmp_path / "samples").exists()


def test_a_sheet_without_a_task_that_draws() -> None:
    image = np.full((30, 60, 3), 200, dtype=np.uint8)
    assert sheet(image, [], {}).width <= SIDE


def test_four_in_a_row() -> None:
    sheets = [Image.new("RGB", (10 + index, 20 - index), (index * 40, 0, 0)) for index in range(5)]
    whole = strip(sheets)
    assert whole.size == (10 + 11 + 12 + 13, 20 + 16)
    assert whole.getpixel((10 + 11, 0)) == (80, 0, 0)
    assert whole.getpixel((0, 20)) == (160, 0, 0)
