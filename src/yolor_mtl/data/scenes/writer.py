"""Writes the data set: pictures first, by several processes, then the annotation files that make it one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

from yolor_mtl.data.scenes.pictures import Entry, Job, Labels, make_picture
from yolor_mtl.data.scenes.stuff import STUFF_IDS
from yolor_mtl.data.scenes.things import THINGS
from yolor_mtl.ops.files import write_text
from yolor_mtl.ops.processes import in_processes, processes
from yolor_mtl.records import UserError

MARKER = "scenes.json"
"""File that says that a folder is ours; there from the first moment on, also in a folder that was never finished."""

_GENERATOR = "yolor_mtl.data.scenes"
_FIRST_IDS = MappingProxyType({"train": 1, "val": 1_000_001})


def write_scenes(
    out: Path,
    *,
    train: int = 2000,
    val: int = 200,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Draws the scenes data set in COCO's layout.

    The annotation files come last, each in one step, so that an interrupted run leaves no folder that could be
    taken for a whole data set; running again starts over.

    Args:
        out: folder to write; made if need be. One that an earlier run wrote is replaced.
        train: pictures of the split ``train``.
        val: pictures of the split ``val``; a split of none is not written.
        seed: the same seed gives the same bytes, whatever the number of workers.
        workers: processes; as many as there are processors where ``None``.
        progress: called with the number of pictures finished since the last call.

    Raises:
        UserError: ``out`` holds something else, or a number makes no sense.
        Fault: a process was killed.
    """
    if min(train, val) < 0 or train + val == 0 or max(train, val) >= 1_000_000 or seed < 0:
        raise UserError(f"scenes: train={train}, val={val}, seed={seed}: expected 0 or more, and at least one picture")
    if workers is not None and workers < 1:
        raise UserError(f"scenes: workers={workers}: expected 1 or more")
    out = Path(out)
    counts = {split: count for split, count in (("train", train), ("val", val)) if count}
    _clear(out)
    (out / MARKER).write_text(json.dumps({"generator": _GENERATOR, "seed": seed, **counts}) + "\n", encoding="utf-8")
    jobs = []
    for number, (split, first) in enumerate(_FIRST_IDS.items()):
        if split in counts:
            (out / split).mkdir(parents=True)
            (out / "annotations" / f"panoptic_{split}").mkdir(parents=True)
        jobs += [Job(out, split, (seed, number, index), first + index) for index in range(counts.get(split, 0))]
    labels: dict[str, list[Labels]] = {split: [] for split in counts}
    for job, made in zip(jobs, in_processes(make_picture, jobs, processes(workers or 0)), strict=True):
        labels[job.split].append(made)
        if progress is not None:
            progress(1)
    _write_annotations(out, labels)


def _clear(out: Path) -> None:
    """Make an empty folder, taking away what an earlier run left there and nothing else."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; name a folder")
    if out.is_dir() and any(out.iterdir()):
        if not _is_ours(out):
            raise UserError(f"{out}: not empty, and not written by this command; name another folder or empty this one")
        # Annotations first: with them gone, what remains of an interrupted removal is no data set.
        for name in ("annotations", *_FIRST_IDS):
            if (out / name).is_dir():
                shutil.rmtree(out / name)
    out.mkdir(parents=True, exist_ok=True)


def _is_ours(out: Path) -> bool:
    try:
        content = json.loads((out / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("generator") == _GENERATOR


def _write_annotations(out: Path, labels: dict[str, list[Labels]]) -> None:
    """The annotation files of all splits; all name all classes, so that what learnt on some scenes fits any others."""
    things: list[Entry] = [{"id": kind.id, "name": kind.name, "supercategory": kind.supercategory} for kind in THINGS]
    stuff: list[Entry] = [
        {"id": number, "name": name, "supercategory": "stuff", "isthing": 0} for name, number in STUFF_IDS.items()
    ]
    panoptic_classes = [entry | {"isthing": 1} for entry in things] + stuff
    info = {"description": "Scenes drawn by yolor_mtl", "version": "1"}
    for split, made in labels.items():
        head = {"info": info, "licenses": [], "images": [entry.image for entry in made]}
        objects = [thing for entry in made for thing in entry.objects]
        captions = [caption for entry in made for caption in entry.captions]
        panoptic = [entry.panoptic for entry in made]
        folder = out / "annotations"
        _write_json(folder / f"panoptic_{split}.json", head | {"annotations": panoptic, "categories": panoptic_classes})
        _write_json(folder / f"captions_{split}.json", head | {"annotations": captions})
        _write_json(folder / f"instances_{split}.json", head | {"annotations": objects, "categories": things})


def _write_json(path: Path, content: Entry) -> None:
    write_text(path, json.dumps(content, separators=(",", ":")))
