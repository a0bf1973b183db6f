"""``yolor-mtl data``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from yolor_mtl.commands.common import counting, data_root, print_table, with_keys
from yolor_mtl.config import fill, nearest, parse_assignments, split_names
from yolor_mtl.data.check.copy import check_destination, write_copy
from yolor_mtl.data.check.pictures import HOW, How
from yolor_mtl.data.check.result import LABELS, Checked
from yolor_mtl.data.check.run import check_data
from yolor_mtl.data.coco import find_splits, open_coco
from yolor_mtl.data.locate import Layout, find_file, find_layout
from yolor_mtl.data.scenes import write_scenes
from yolor_mtl.data.stats import data_stats, stats_rows
from yolor_mtl.ops.console import Output
from yolor_mtl.ops.files import write_text
from yolor_mtl.records import UserError
from yolor_mtl.report.check import groups, split_row, write_check


@dataclass
class ScenesConfig:
    """Draws the embedded scenes as a data set in COCO's layout.

    Attributes:
        out: the folder to write; may be given as the bare first word.
        train: pictures of the split train.
        val: pictures of the split val.
        seed: the same seed gives the same bytes.
        workers: processes; 0 takes one for each core.
    """

    out: str = ""
    train: int = 2000
    val: int = 200
    seed: int = 0
    workers: int = 0


@dataclass
class StatsConfig:
    """What a data set holds, in numbers.

    Attributes:
        path: a folder in COCO's layout, a YAML file, or the word scenes; may be given as the bare first word.
        split: split or splits; all by default.
        json: print as JSON.
    """

    path: str = ""
    split: Any = None
    json: bool = False


@dataclass
class CheckConfig:
    """Finds and names every defect of a data set.

    Attributes:
        path: what data= takes, or one annotation file; may be given as the bare first word.
        images: whole decodes every picture, head reads sizes only, none opens no picture and no label map.
        workers: processes that open pictures; 0 takes one for each core.
        out: folder for check.html and check.json, and for the cleaned copy.
        fix: write a cleaned copy to out, which must be empty and outside of the data.
        copy: copy pictures into it instead of linking them (hard links share the file's bytes).
        json: print check.json.
    """

    path: str = ""
    images: Any = "whole"
    workers: int = 0
    out: str = ""
    fix: bool = False
    copy: bool = False
    json: bool = False


def scenes(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl data scenes``."""
    config = fill(ScenesConfig, parse_assignments(with_keys(words, "out")))
    if not config.out:
        raise UserError("data scenes: the folder is missing: yolor-mtl data scenes OUT --train 2000 --val 200 --seed 0")
    with counting(console, "drawing scenes", config.train + config.val) as progress:
        line = progress.task_ids[0]
        write_scenes(
            Path(config.out),
            train=config.train,
            val=config.val,
            seed=config.seed,
            workers=config.workers or None,
            progress=lambda done: progress.advance(line, done),
        )
    console.print(f"{config.train} + {config.val} scenes in {config.out}/")
    return 0


def stats(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl data stats``."""
    config = fill(StatsConfig, parse_assignments(with_keys(words, "path")))
    if not config.path:
        raise UserError("data stats: the data set is missing: yolor-mtl data stats path/to/coco")
    root = data_root(config.path, Console(quiet=True) if config.json else console)
    splits = find_splits(root) if config.split is None else split_names(config.split)
    numbers = data_stats(open_coco(root, list(splits)))
    if config.json:
        console.print_json(data=numbers.to_dict())
    else:
        print_table(console, f"{config.path}: {', '.join(splits)}", stats_rows(numbers), ("what", "how much"))
    return 0


def check(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl data check``: 0 without errors, 1 with some."""
    config = fill(CheckConfig, parse_assignments(with_keys(words, "path")))
    if not config.path:
        raise UserError("data check: the data set is missing: yolor-mtl data check path/to/coco")
    how = _how(config.images)
    if config.workers < 0:
        raise UserError(f"workers={config.workers} is below the least, 0")
    quiet = Output(stderr=True) if config.json else console
    layout = _layout(config.path, quiet)
    if config.fix:
        _check_fix(config, layout, how)
    checked = _checked(layout, how, config.workers, quiet)
    if config.json:
        console.print_json(data=checked.to_dict())
    else:
        _print_check(checked, console)
    if config.fix:
        return _fix(checked, config, quiet)
    if config.out:
        _write_check(checked, Path(config.out), quiet)
    return 1 if checked.errors else 0


def _check_fix(config: CheckConfig, layout: Layout, how: How) -> None:
    """Refuses what cannot be written before an hour of checking has passed."""
    if not config.out:
        raise UserError("fix: out= is missing: the folder of the cleaned copy")
    if layout.source.suffix.lower() == ".json":
        raise UserError(f"fix: {layout.source} is one file; give the folder or YAML file of its data set")
    if how == "none":
        raise UserError("fix: images=none knows nothing of broken pictures; leave it out, or take images=head")
    check_destination(layout.root, {name: files.images for name, files in layout.splits.items()}, Path(config.out))


def _fix(checked: Checked, config: CheckConfig, console: Console) -> int:
    """Writes the cleaned copy and checks it in turn: its errors are what counts."""
    out = Path(config.out)
    with counting(console, "writing the copy"):
        copied, placing = write_copy(checked, out, link=not config.copy)
    _write_check(checked, out, console)
    rows = [
        (name, *(f"{value:,}" for value in (len(split.names), split.kept, split.mended, split.left_out)))
        for name, split in copied.items()
    ]
    print_table(console, f"cleaned copy in {out}", rows, ("split", "pictures", "labels kept", "mended", "left out"))
    told = (
        f"{placing.linked:,} files hard-linked (they share their bytes with the originals), {placing.copied:,} copied"
    )
    console.print(told, highlight=False)
    again = _checked(find_layout(out / checked.source.name if checked.source.is_file() else out), checked.how,
                     config.workers, console)  # fmt: skip
    totals = again.findings.severities()
    console.print(
        f"the copy has {totals['error']:,} errors, {totals['warning']:,} warnings, {totals['note']:,} notes",
        highlight=False,
    )
    return 1 if again.errors else 0


def _how(value: Any) -> How:
    """``images=``: a word, or true and false."""
    word = {True: "whole", False: "none"}.get(value, value) if isinstance(value, bool) else value
    if word not in HOW:
        raise UserError(f"images={value!r}{nearest(str(value), HOW)}; there are: {', '.join(HOW)}")
    found: How = word
    return found


def _layout(path: str, console: Console) -> Layout:
    root = data_root(path, console)
    layout = find_file(root) if root.suffix.lower() == ".json" else find_layout(root)
    if packed := [name for name, files in layout.splits.items() if files.shards]:
        raise UserError(f"{path}: {', '.join(packed)}: in shards; check the data set that they were made from")
    return layout


class _Shown:
    """Progress as a bar, a part after the other."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._line = progress, progress.task_ids[0]

    def begin(self, title: str, total: int) -> None:
        """A part begins; without a total nobody knows how long it is."""
        self._progress.reset(self._line, description=title, total=total or None)

    def step(self, number: int) -> None:
        """Steps are done."""
        self._progress.advance(self._line, number)


def _checked(layout: Layout, how: How, workers: int, console: Console) -> Checked:
    with counting(console, "checking") as progress:
        return check_data(layout, how, workers, _Shown(progress))


def _print_check(checked: Checked, console: Console) -> None:
    """What was found, on the terminal: five of a kind."""
    columns = [[f"{value:,}" for value in split_row(facts)] for facts in checked.splits.values()]
    names = ("images", *(f"labelled for {kind}" for kind in LABELS), "objects", "segments", "captions")
    rows = [(name, *values) for name, *values in zip(names, *columns, strict=True)]
    print_table(console, str(checked.source), rows, ("what", *checked.splits))
    found = groups(checked, 5, draw=False)
    colours = {"error": "red", "warning": "yellow", "note": "dim"}
    for group in found:
        kind, colour = group.kind, colours[group.kind.severity]
        title = f"\n[{colour}]{kind.severity}[/{colour}] [bold]{kind.id}[/bold] ({group.count:,}): {kind.meaning}"
        console.print(f"{title}; {escape(kind.remedy)}", soft_wrap=True, highlight=False)
        for finding in group.findings:
            console.print(f"  {escape(finding.where())}: {escape(finding.message)}", soft_wrap=True, highlight=False)
        if group.count > len(group.findings):
            console.print(f"  and {group.count - len(group.findings):,} more", highlight=False)
    totals = checked.findings.severities()
    opened = "" if checked.how == "whole" else f" (images={checked.how}: pictures were not decoded)"
    verdict = "no errors" if not checked.errors else f"[red]{checked.errors:,} errors[/red]"
    said = f"{verdict}, {totals['warning']:,} warnings, {totals['note']:,} notes{opened}"
    console.print(f"\n{said}", highlight=False)


def _write_check(checked: Checked, out: Path, console: Console) -> None:
    write_text(out / "check.json", json.dumps(checked.to_dict(), ensure_ascii=False, indent=1, allow_nan=False))
    write_check(checked, out / "check.html")
    console.print(f"{out / 'check.html'}, {out / 'check.json'}", highlight=False, soft_wrap=True)
