"""The batch that is kept can be read without trust, and holds what the loss was of."""

from pathlib import Path

import tiny
import torch

from yolor_mtl.records import Batch
from yolor_mtl.training.diverged import keep_batch


def test_the_batch_comes_back(tmp_path: Path) -> None:
    targets = tiny.targets()
    given = Batch(tiny.images(), {"semantic": torch.tensor([0, 1])}, {"semantic": targets["semantic"]})
    path = keep_batch(given, tmp_path / "run", ["a.jpg", "b.jpg"], step=7, seed=3, message="x is nan")
    assert path == tmp_path / "run" / "diverged.pt"
    kept = torch.load(path, weights_only=True)
    assert torch.equal(kept["images"], given.images)
    assert torch.equal(kept["rows"]["semantic"], given.rows["semantic"])
    assert torch.equal(kept["targets"]["semantic"]["maps"], targets["semantic"]["maps"])
    found = {name: kept[name] for name in ("paths", "step", "seed", "message")}
    assert found == {"paths": ["a.jpg", "b.jpg"], "step": 7, "seed": 3, "message": "x is nan"}
