"""What a training is told: recipes, files and words, and what makes no sense."""

from pathlib import Path
from typing import Any

import pytest

from yolor_mtl.config import to_yaml
from yolor_mtl.records import UserError
from yolor_mtl.training.config import resumed_folder, train_config


def test_recipes_files_and_words_in_this_order(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("epochs: 7\nbatch: 3\naugment: {flip: 0.25}\n")
    config = train_config({"config": str(file), "batch": 5}, {"trunk": {"width": 0.1}})
    assert (config.epochs, config.batch, config.augment.flip, config.augment.mosaic) == (7, 5, 0.25, 1.0)
    assert config.network == {"trunk": {"width": 0.1}}
    assert train_config({}, recipe="demo").minutes == 8


def test_a_shipped_recipe_by_name() -> None:
    config = train_config({"config": "scenes-nano", "batch": 5})
    assert (config.imgsz, config.batch, config.augment.mosaic) == (384, 5, 0.0)


def test_a_resumed_run_keeps_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(train_config({"epochs": 9, "lr": 0.5}, {"trunk": {"width": 0.1}})))
    for resume in (tmp_path, tmp_path / "last.ckpt"):
        config = train_config({"resume": str(resume), "epochs": 11})
        assert (config.epochs, config.lr, config.network) == (11, 0.5, {"trunk": {"width": 0.1}})
        assert resumed_folder(config.resume) == tmp_path


@pytest.mark.parametrize("given", [{"optimizer": "sgd"}, {"accumulate": 2}, {"balance": "uncertainty"}])
def test_a_resumed_run_keeps_what_its_state_is_made_of(tmp_path: Path, given: dict[str, Any]) -> None:
    (tmp_path / "config.yaml").write_text("epochs: 9\n")  # of a release without these keys
    assert train_config({"resume": str(tmp_path)}).optimizer == "adamw"
    with pytest.raises(UserError) as caught:
        train_config({"resume": str(tmp_path), **given})
    for part in (*given, "goes on with", f"weights={tmp_path}/best.safetensors"):
        assert part in str(caught.value)


def test_words_in_any_case() -> None:
    config = train_config({"half": True, "optimizer": "SGD"})
    assert (config.half, config.optimizer) == ("true", "sgd")


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"epohcs": 3}, ["epohcs", "did you mean 'epochs'"]),
        ({"epochs": 0}, ["epochs=0", "1"]),
        ({"epochs": "many"}, ["epochs"]),
        ({"batch": 0}, ["batch=0"]),
        ({"workers": -2}, ["workers=-2"]),
        ({"lr": 0}, ["lr=0"]),
        ({"ema": 1.0}, ["ema=1.0"]),
        ({"accumulate": 0}, ["accumulate=0", "1"]),
        ({"save_every": -1}, ["save_every=-1", "0"]),
        ({"samples": -1}, ["samples=-1", "0"]),
        ({"momentum": 1}, ["momentum=1", "excluded"]),
        ({"flat": 1.0}, ["flat=1.0", "excluded"]),
        ({"optimizer": "adam"}, ["optimizer=adam", "did you mean 'adamw'", "sgd"]),
        ({"schedule": "flatcosine"}, ["schedule=flatcosine", "did you mean 'flat-cosine'"]),
        ({"balance": "uncertain"}, ["balance=uncertain", "did you mean 'uncertainty'", "fixed"]),
        ({"surgery": "pc-grad"}, ["surgery=pc-grad", "did you mean 'pcgrad'", "upgrad"]),
        ({"half": "fp61"}, ["half=fp61", "did you mean 'fp16'"]),
        ({"surgery": "pcgrad", "half": "fp16"}, ["surgery=pcgrad", "half=fp16", "half=true"]),
        ({"language_share": 1.0}, ["language_share"]),
        ({"augment": {"mosaic": 1.5}}, ["augment.mosaic=1.5", "between 0 and 1"]),
        ({"augment": {"scale": 1.0}}, ["augment.scale=1.0", "between 0 and"]),
        ({"augment": {"hue": 0.7}}, ["augment.hue", "0.5"]),
        ({"augment": {"mosiac": 1}}, ["augment.mosiac", "did you mean 'mosaic'"]),
        ({"augment": 1}, ["augment"]),
        ({"config": "absent.yaml"}, ["absent.yaml"]),
        ({"config": "scenes-nanno"}, ["scenes-nanno", "did you mean 'scenes-nano'"]),
    ],
)
def test_refused(given: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        train_config(given)
    for part in parts:
        assert part in str(caught.value)
