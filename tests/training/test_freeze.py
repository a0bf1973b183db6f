"""Parts that keep their weights while others learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import runs
import tiny
import torch
from safetensors.torch import load_file

from yolor_mtl.records import UserError
from yolor_mtl.training.freeze import Freezer
from yolor_mtl.training.history import read_rows


def _changed(before: Path, after: Path) -> set[str]:
    """Parts of which a tensor, batch norm's statistics among them, differs between two files of weights."""
    one, other = load_file(before), load_file(after)
    assert one.keys() == other.keys()
    names = {name for name, value in one.items() if not torch.equal(value, other[name])}
    return {"trunk" if name.startswith("trunk") else name.split(".")[1] for name in names}


@pytest.mark.parametrize(
    ("frozen", "learning", "terms"),
    [
        (["trunk", "detection", "instance", "semantic"], {"captioning"}, {"loss/captioning/words"}),
        # The masks' loss asks detection which points answer for which object.
        (["trunk", "detection", "semantic", "captioning"], {"instance"}, {"loss/instance/mask"}),
    ],
)
def test_one_head_learns_alone(
    trained: Path, scenes: Path, tmp_path: Path, frozen: list[str], learning: set[str], terms: set[str]
) -> None:
    weights = trained / "best.safetensors"
    run = runs.run_training(scenes, tmp_path / "run", weights=str(weights), freeze=frozen, epochs=1, ema=0.0).out
    assert _changed(weights, run / "best.safetensors") == learning
    row = read_rows(run / "metrics.csv")[-1]
    assert {name for name in row if name.startswith("loss/")} == terms
    assert {"box/AP", "semantic/mIoU", "caption/CIDEr"} <= row.keys()  # all tasks are scored all the same


def test_the_trunk_thaws(trained: Path, scenes: Path, tmp_path: Path) -> None:
    weights, found = trained / "best.safetensors", []
    for epochs in (1, 2):
        out = tmp_path / str(epochs)
        keys = {"freeze": ["trunk"], "freeze_epochs": 1, "epochs": epochs, "ema": 0.0}
        runs.run_training(scenes, out, weights=str(weights), **keys)
        current = torch.load(out / "last.ckpt", weights_only=True)["state_dict"]
        before = load_file(weights)
        found.append(
            {
                "trunk" if name.startswith("network.trunk") else name.split(".")[2]
                for name, value in current.items()
                if (short := name.removeprefix("network.")) in before and not torch.equal(value, before[short])
            }
        )
    heads = {"detection", "instance", "semantic", "captioning"}
    assert found == [heads, {"trunk", *heads}]


def test_what_cannot_be_frozen() -> None:
    tasks, network = tiny.build()
    with pytest.raises(
        UserError, match=r"freeze: no part 'detektion' \(did you mean 'detection'\?\); there are: trunk"
    ):
        Freezer(network, tasks, ["detektion"], 0)
    with pytest.raises(UserError, match="nothing is left to train"):
        Freezer(network, tasks, ["trunk", *network.heads], 0)


def test_nothing_frozen_changes_nothing() -> None:
    tasks, network = tiny.build()
    network.trunk.eval()
    freezer = Freezer(network, tasks, [], 0)
    freezer.apply(0)
    assert not network.trunk.training
    assert freezer.trained() == freezer.consulted() == [task for task in tasks if task.loss is not None]
    assert all(parameter.requires_grad for parameter in network.trunk.parameters())
