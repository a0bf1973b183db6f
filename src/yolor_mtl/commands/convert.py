"""``yolor-mtl convert``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape

from yolor_mtl.build import Model, save_model
from yolor_mtl.commands.common import print_table, warn, with_keys
from yolor_mtl.config import fill, nearest, parse_assignments
from yolor_mtl.inference.model import load_weights
from yolor_mtl.inference.published import SUFFIXES, Imported, import_model
from yolor_mtl.records import UserError

OURS = ".safetensors"
DTYPES = {"float32": torch.float32, "float16": torch.float16}

EXAMPLE = "yolor-mtl convert gelan-c-pan.pt gelan-c-pan.safetensors"


@dataclass
class ConvertConfig:
    """A published checkpoint as weights of ours, with a report of what became of its tensors; or our own made smaller.

    Attributes:
        source: the published ``.pt``, of which nothing is executed; or a ``.safetensors`` of ours.
        out: the ``.safetensors`` to write, whole or not at all.
        vocab: the word list that was published with a network that writes captions; kept in the weights.
        tasks: tasks to keep; all that are possible by default.
        dtype: what numbers are stored as: float32, or float16 for half the size.
        imgsz: side of the square frame that the weights are used at unless told otherwise; 0 leaves it as it is.
        branches: keep the auxiliary branches of a published checkpoint, which only a training from these weights needs.
        strict: refuse a checkpoint that has tensors without a place, or places without a tensor; false only warns.
        overwrite: replace ``out`` if it is there.
        json: print the report as JSON.
    """

    source: str = ""
    out: str = ""
    vocab: str = ""
    tasks: list[str] = field(default_factory=list)
    dtype: str = "float32"
    imgsz: int = 0
    branches: bool = False
    strict: bool = True
    overwrite: bool = False
    json: bool = False


def convert(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl convert``."""
    config = fill(ConvertConfig, parse_assignments(with_keys(words, "source", "out")))
    source, out = _files(config)
    if config.dtype not in DTYPES:
        raise UserError(f"dtype={config.dtype}{nearest(config.dtype, DTYPES)}; there are: {', '.join(DTYPES)}")
    if source.suffix == OURS:
        return _again(config, source, out, console)
    imported = import_model(source, config.tasks, config.vocab, config.branches)
    if config.json:
        console.print_json(data=_record(imported, out))
    else:
        _print(imported, console)
    if config.strict:
        imported.check()
    for note in imported.notes():
        warn(note)
    _save(imported.model, out, config)
    if not config.json:
        _print_file(imported.model, out, console)
    return 0


def _again(config: ConvertConfig, source: Path, out: Path, console: Console) -> int:
    """Weights of ours, written with other numbers or fewer tasks."""
    model = load_weights(str(source), config.tasks, config.vocab)
    _save(model, out, config)
    if config.json:
        console.print_json(data={"source": str(source), "out": str(out), "tasks": list(model.config.tasks)})
    else:
        _print_file(model, out, console)
    return 0


def _save(model: Model, out: Path, config: ConvertConfig) -> None:
    side = config.imgsz or model.config.imgsz
    if side < 0 or side % model.network.trunk.multiple:
        raise UserError(f"imgsz={side} must be a multiple of {model.network.trunk.multiple}")
    save_model(replace(model, config=replace(model.config, imgsz=side)), out, dtype=DTYPES[config.dtype])


def _print_file(model: Model, out: Path, console: Console) -> None:
    told = f"{out}: {out.stat().st_size / 1e6:.1f} MB, {', '.join(model.config.tasks)}"
    console.print(told, highlight=False, soft_wrap=True, markup=False)


def _files(config: ConvertConfig) -> tuple[Path, Path]:
    """The file to read and the one to write, before anything is read.

    Raises:
        UserError: one is missing, has another ending, is the other one, or must not be replaced.
    """
    if not config.source or not config.out:
        raise UserError(f"convert: two files are needed, the one to read and the one to write: {EXAMPLE}")
    source, out = Path(config.source), Path(config.out)
    if source.exists() and out.exists() and source.samefile(out):
        raise UserError(f"out={out} is the file to read; choose another name")
    if source.suffix not in (*SUFFIXES, OURS):
        endings = " or ".join((*SUFFIXES, OURS))
        raise UserError(f"source={source}: weights that can be read end in {endings}: {EXAMPLE}")
    if out.suffix != OURS:
        raise UserError(f"out={out}: weights are written as .safetensors; choose {out.with_suffix('.safetensors')}")
    if out.is_dir():
        raise UserError(f"out={out} is a folder; name a file in it")
    if out.exists() and not config.overwrite:
        raise UserError(f"out={out} is there already; choose another name, or overwrite=true")
    return source, out


def _record(imported: Imported, out: Path) -> dict[str, Any]:
    """The report as plain values."""
    translation = imported.translation
    return {
        "source": str(imported.path),
        "out": str(out),
        "release": imported.release.name,
        "part": imported.part,
        "tasks": list(imported.model.config.tasks),
        "tensors": imported.tensors,
        "used": imported.used,
        "dropped": imported.dropped,
        "added": list(translation.added),
        "unused": list(translation.unused),
        "missing": list(translation.missing),
        "misfits": list(translation.misfits),
    }


def _print(imported: Imported, console: Console) -> None:
    """The report as a table of counts, and below it every key that does not fit."""
    translation = imported.translation
    problems = {
        "unused": translation.unused,
        "missing": translation.missing,
        "of another shape": translation.misfits,
    }
    rows = [
        ("weights from", imported.part or "the whole file"),
        ("tensors there", str(imported.tensors)),
        ("used", str(imported.used)),
        *((f"dropped, {part}", str(count)) for part, count in imported.dropped.items()),
        *([("counters set to 0", str(len(translation.added)))] if translation.added else []),
        *((what, str(len(keys))) for what, keys in problems.items()),
    ]
    print_table(console, escape(str(imported.path)), rows, ("network", imported.release.name))
    for what, keys in problems.items():
        for key in keys:
            console.print(f"{what}: {key}", highlight=False, soft_wrap=True, markup=False)
