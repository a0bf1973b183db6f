"""``yolor-mtl data convert``, and trainings on what it wrote."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import runs
import shelf
import torch
from drawn import write_set

from yolor_mtl.data.shards import fetched
from yolor_mtl.training.callbacks import Recorder

KEYS: Mapping[str, Any] = {"tasks": ["detection", "semantic", "captioning"], "epochs": 2}


@pytest.fixture(scope="module")
def packed(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes, two or three to a shard."""
    return shelf.pack(scenes, tmp_path_factory.mktemp("packed") / "shards", size=60_000)


def test_as_json(scenes: Path, tmp_path: Path, command: runs.Command) -> None:
    said = command("data", "convert", str(scenes), str(tmp_path / "packed"), "format=shards", "shard_mb=1", "json=true")
    assert said.code == 0
    found = said.json()
    # A picture and its panoptic map.
    assert {split: each["files"] for split, each in found.items()} == {"train": 24, "val": 8}
    assert command("data", "stats", str(tmp_path / "packed"), "json=true").json() == (
        command("data", "stats", str(scenes), "json=true").json()
    )


def test_missing_pictures(tmp_path: Path, command: runs.Command) -> None:
    root = write_set(tmp_path / "loose", ["bmpc"] * 3)
    (root / "images" / "train" / "000002.png").unlink()
    said = command("data", "convert", str(root), str(tmp_path / "packed"))
    assert said.code == 1
    assert "000002.png: No such file" in said.out
    assert "1 pictures could not be read" in said.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "two places are needed"),
        (["{data}"], "two places are needed"),
        (["{data}", "{tmp}/x", "format=shard"], "did you mean"),
        (["{data}", "{tmp}/x", "shard_mb=0"], "shard_mb=0 is below the least"),
        (["{data}", "{data}"], "not an empty folder"),
        (["{data}", "{tmp}/x", "split=trian"], "no split 'trian'"),
    ],
)
def test_refused(scenes: Path, tmp_path: Path, command: runs.Command, words: list[str], told: str) -> None:
    said = command("data", "convert", *(word.format(data=scenes, tmp=tmp_path) for word in words))
    assert said.code == 2
    assert told in said.err


def test_check_names_the_remedy(packed: Path, command: runs.Command) -> None:
    said = command("data", "check", str(packed))
    assert said.code == 2
    assert "check the data set that they were made from" in said.err


def test_trained_from_an_address_as_from_the_disk(packed: Path, tmp_path: Path) -> None:
    """Fetched with two loading processes or lying here, it is the same training, and every shard is fetched once."""
    here = runs.run_training(packed, tmp_path / "here", **KEYS).out
    with shelf.served(packed / "shards") as (url, asked):
        path = shelf.described(packed, url, tmp_path / "cache")
        there = runs.run_training(path, tmp_path / "there", **KEYS, workers=2).out
    assert sorted(asked) == sorted(set(asked))
    assert len(asked) > 5
    _same(here, there)


def test_a_server_that_is_gone_ends_it(
    packed: Path, tmp_path: Path, command: runs.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loading processes do not wait for ever, and the training says what is missing."""
    monkeypatch.setattr(fetched, "WAITS", (0, None))
    with shelf.served(packed / "shards") as (url, _):
        path = shelf.described(packed, url, tmp_path / "cache")
    said = command("train", *runs.words(data=path, out=tmp_path / "run", workers=2))
    assert said.code == 3
    assert "cannot be fetched" in said.out + said.err


def test_resumed_inside_an_epoch(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of the second epoch and gone on with: the same weights, to the bit."""
    whole = runs.run_training(packed, tmp_path / "whole", **KEYS).out
    record = Recorder.on_train_batch_end

    def stop(self, trainer, module, outputs, batch, place):
        record(self, trainer, module, outputs, batch, place)
        if trainer.global_step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Recorder, "on_train_batch_end", stop)
    stopped = runs.run_training(packed, tmp_path / "run", **KEYS)
    assert stopped.exit_code == 130
    monkeypatch.undo()
    assert runs.run_training(packed, resume=str(stopped.out), epochs=2).exit_code == 0
    _same(whole, stopped.out)


def _same(one: Path, other: Path) -> None:
    first, second = (torch.load(run / "last.ckpt", weights_only=True)["state_dict"] for run in (one, other))
    assert first.keys() == second.keys()
    assert [name for name, tensor in first.items() if not torch.equal(tensor, second[name])] == []
