"""``yolor-mtl data convert``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from yolor_mtl.commands.common import counting, data_root, print_table, report_failures, with_keys
from yolor_mtl.config import fill, nearest, parse_assignments, split_names
from yolor_mtl.data.coco import open_coco
from yolor_mtl.data.locate import Layout, find_layout, resolve_split
from yolor_mtl.data.shards.write import write_shards
from yolor_mtl.ops.console import Output
from yolor_mtl.records import UserError

FORMATS = ("shards",)


@dataclass
class DataConvertConfig:
    """Packs a data set's pictures and label maps into a few large tar files, for data larger than a disk.

    Attributes:
        path: a folder in COCO's layout, or a YAML file; may be given as the bare first word.
        out: the folder to write, which must be new or empty; may be given as the bare second word.
        format: ``shards``: tar files that WebDataset reads too, the annotation files, and a listing.
        split: split or splits to pack; all by default.
        shard_mb: megabytes (10^6 bytes) after which a shard is full.
        json: print what was written as JSON.
    """

    path: str = ""
    out: str = ""
    format: str = "shards"
    split: Any = None
    shard_mb: int = 256
    json: bool = False


def convert(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl data convert``: 1 where pictures could not be read."""
    config = fill(DataConvertConfig, parse_assignments(with_keys(words, "path", "out")))
    if not (config.path and config.out):
        raise UserError("data convert: two places are needed: yolor-mtl data convert path/to/coco OUT format=shards")
    if config.format not in FORMATS:
        known = f"{nearest(config.format, FORMATS)}; there are: {', '.join(FORMATS)}"
        raise UserError(f"format={config.format!r}{known}")
    if config.shard_mb < 1:
        raise UserError(f"shard_mb={config.shard_mb} is below the least, 1")
    quiet = Output(stderr=True) if config.json else console
    layout = _chosen(find_layout(data_root(config.path, quiet)), config.split)
    out = Path(config.out)
    total = sum(len(open_coco(layout.source, [split])) for split in layout.splits)
    with counting(quiet, "packing pictures", total) as progress:
        line = progress.task_ids[0]
        size = config.shard_mb * 10**6
        packed = write_shards(layout, out, size, lambda done: progress.advance(line, done), cache=True)
    if config.json:
        console.print_json(data={split: asdict(each) for split, each in packed.items()})
    else:
        rows = [(split, f"{e.files:,}", f"{e.shards:,}", f"{e.bytes / 1e9:.2f}") for split, e in packed.items()]
        print_table(console, f"shards in {out}", rows, ("split", "files", "shards", "GB"))
        told = f"train on it with data={out}; for shards at an address see docs/formats.md"
        console.print(told, highlight=False, soft_wrap=True)
    return report_failures(quiet, {path: why for each in packed.values() for path, why in each.failures.items()})


def _chosen(layout: Layout, split: Any) -> Layout:
    if split is None:
        return layout
    names = [resolve_split(layout.splits, asked) for asked in split_names(split)]
    return replace(layout, splits={name: layout.splits[name] for name in names})
