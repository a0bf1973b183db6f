"""What ``data=`` may be: a place on disk, or the word ``scenes``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from yolor_mtl.config import packaged
from yolor_mtl.data.array_cache import cache_folder
from yolor_mtl.data.scenes import write_scenes
from yolor_mtl.records import UserError

SCENES = "scenes"
"""The word for the embedded scenes."""

DRAWING = 1
"""Version of the drawing: another one is kept in another folder of the cache."""

WHOLE = "annotations/instances_val.json"
"""The file of a scenes folder that is written last."""


def find_data(data: str, progress: Callable[[int, int], Any] = lambda done, total: None) -> Path:
    """The folder or YAML file that ``data=`` stands for; scenes are drawn at their first use.

    Args:
        data: a path, or ``scenes``.
        progress: called with the pictures drawn so far and their total, while scenes are drawn.

    Raises:
        UserError: there is no such place.
    """
    if data == SCENES:
        return _embedded(progress)
    path = Path(data)
    if not path.exists():
        remedy = "give a folder in COCO's or YOLO's layout, a YAML file, or the word scenes"
        raise UserError(f"data={data}: no such folder or file; {remedy}")

    return path


def _embedded(progress: Callable[[int, int], Any]) -> Path:
    row = packaged("data", SCENES)
    out = cache_folder() / f"scenes-{DRAWING}-{row['train']}-{row['val']}-{row['seed']}"
    if (out / WHOLE).is_file():
        return out
    done, total = 0, row["train"] + row["val"]

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total)

    write_scenes(out, train=row["train"], val=row["val"], seed=row["seed"], progress=count)
    return out
