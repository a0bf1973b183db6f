"""``yolor-mtl diagnose``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from yolor_mtl.build import Model, check_space
from yolor_mtl.commands.common import counting, data_root, report_failures, warn
from yolor_mtl.config import fill, parse_assignments, split_names
from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.labels import Labels
from yolor_mtl.data.named import SCENES
from yolor_mtl.inference.model import load_weights
from yolor_mtl.ops.device import choose_device, loading_processes
from yolor_mtl.ops.files import write_atomic, write_text
from yolor_mtl.records import Batch, UserError
from yolor_mtl.report.heat import heat_maps
from yolor_mtl.tasks import TASKS
from yolor_mtl.training.diagnose import (
    Agreement,
    Cosines,
    draw_pictures,
    gradient_cosines,
    labelled_for,
    still_batches,
)

SCHEMA = 1
"""Version of ``diagnose.json``."""


@dataclass
class DiagnoseConfig:
    """How much the tasks' gradients agree in each stage of the trunk: tables, ``diagnose.json`` and a heat map.

    Attributes:
        model: a ``.safetensors``, a run's folder, a shipped name such as scenes-nano, or a published ``.pt``.
        data: a folder in COCO's layout, a YAML file, or the word scenes.
        split: split or splits to take pictures from.
        maps: where semantic classes come from if the data has both: panoptic, stuff, or auto (panoptic first).
        out: the folder to write.
        tasks: tasks to compare; by default all that have a loss and are labelled.
        images: pictures, drawn by chance.
        seed: of the choice of pictures.
        batch: pictures whose mean gradient is compared at once.
        imgsz: side of the square frame, pixels; 0 takes the model's own.
        workers: processes that load pictures; -1 chooses.
        device: auto, cpu, cuda, mps, or a GPU's number.
        vocab: the word list that was published with a ``.pt`` that writes captions.
        strict: refuse a ``.pt`` that has tensors without a place, or places without a tensor; false only warns.
        json: print the numbers as JSON.
    """

    model: str = ""
    data: str = SCENES
    split: Any = "train"
    maps: str = "auto"
    out: str = "runs/diagnose"
    tasks: list[str] | None = None
    images: int = 200
    seed: int = 0
    batch: int = 8
    imgsz: int = 0
    workers: int = -1
    device: str = "auto"
    vocab: str = ""
    strict: bool = True
    json: bool = False


def diagnose(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl diagnose``."""
    config = fill(DiagnoseConfig, parse_assignments(words))
    for key, least in (("images", 1), ("batch", 1), ("imgsz", 0), ("workers", -1)):
        if getattr(config, key) < least:
            raise UserError(f"{key}={getattr(config, key)} is below the least, {least}")
    if not config.model:
        raise UserError("model= is missing; give a .safetensors file or a run's folder, such as runs/NAME")
    quiet = Console(quiet=True) if config.json else console
    device = choose_device(config.device)
    model = load_weights(config.model, config.tasks or [], config.vocab, config.strict, warn)
    size = _size(config, model)
    dataset = open_coco(data_root(config.data, quiet), split_names(config.split), maps=config.maps)
    labels, pictures, left_out = _compared(config, model, dataset)
    for task in model.tasks:
        if task.study is not None and task.name in labels:
            task.study(dataset.caption_groups())
    torch.manual_seed(config.seed)  # a loss may draw: captions that are rewarded are written by chance
    model.network.to(device)
    failures: dict[str, str] = {}
    with counting(quiet, "gradients", len(pictures)) as progress:

        def watched() -> Iterator[Batch]:
            workers = loading_processes(config.workers, device)
            for batch in still_batches(dataset, labels, pictures, size, batch=config.batch, workers=workers):
                yield batch
                failures.update(batch.failures)
                progress.advance(progress.task_ids[0], len(batch.images) + len(batch.failures))

        cosines = gradient_cosines(model, watched())
    if len(failures) == len(pictures):
        raise UserError(f"none of the {len(pictures)} pictures can be read, such as {': '.join(min(failures.items()))}")
    if not any(cosines.between(stage, *pair) for stage in cosines.stages for pair in cosines.pairs()):
        raise UserError(f"no batch has two tasks with a gradient in the same place; raise batch={config.batch}")
    for name in [name for name in labels if name not in cosines.tasks]:
        left_out[name] = "its loss has no gradient in the trunk"  # as where the only branch left cuts it
        warn(f"{name} is left out: {left_out[name]}")
    protocol = {
        **_told(config, dataset, size, cosines),
        "images": len(pictures) - len(failures),
        "left out": left_out,
        "failures": failures,
    }
    content = {"schema": SCHEMA, **cosines.numbers(), "protocol": protocol}
    _write(Path(config.out), content, cosines)
    if config.json:
        console.print_json(data=content)
        return 1 if failures else 0
    _print(console, cosines)
    console.print(f"diagnose.json, diagnose.png and diagnose.svg in {config.out}/", highlight=False)
    return report_failures(console, failures)


def _told(config: DiagnoseConfig, dataset: CocoDataset, size: tuple[int, int], cosines: Cosines) -> dict[str, Any]:
    """What was asked for, and of what the numbers are."""
    return {
        "model": config.model,
        "data": config.data,
        "split": list(dataset.split_names),
        "batches": len(cosines.cosines),
        "batch": config.batch,
        "imgsz": size[0],
        "seed": config.seed,
        "gradients": "of each task's weighted loss, in float32 and evaluation mode, on pictures without augmentation",
        "tasks": list(cosines.tasks),
        "stages": list(cosines.stages),
    }


def _size(config: DiagnoseConfig, model: Model) -> tuple[int, int]:
    side, multiple = config.imgsz or model.config.imgsz, model.network.trunk.multiple
    if side % multiple:
        raise UserError(f"imgsz={side} must be a multiple of {multiple}")
    return side, side


def _compared(
    config: DiagnoseConfig, model: Model, dataset: CocoDataset
) -> tuple[dict[str, Labels], list[int], dict[str, str]]:
    """Labels of the tasks to compare, positions of the pictures, and why other tasks are left out.

    Raises:
        UserError: fewer than two tasks are left.
    """
    labels = {task.name: task.labels for task in model.tasks if task.loss is not None and task.labels is not None}
    left_out = {name: why for name in labels if (why := _misfit(name, model, dataset))}
    labels = {name: each for name, each in labels.items() if name not in left_out}
    pictures = draw_pictures(dataset, labels, config.images, config.seed)
    labelled = {name for index in pictures for name in labelled_for(dataset, labels, index)}
    split = "+".join(dataset.split_names)
    reason = f"none of the {len(pictures)} pictures drawn of split {split} is labelled for it"
    left_out |= {name: reason for name in labels if name not in labelled}
    labels = {name: each for name, each in labels.items() if name in labelled}
    if len(labels) < 2:
        reasons = "".join(f"; {name} is left out: {why}" for name, why in left_out.items())
        raise UserError(f"two tasks are needed to compare, and there is {' '.join(labels) or 'none'}{reasons}")
    for name, why in left_out.items():
        warn(f"{name} is left out: {why}")
    return labels, pictures, left_out


def _misfit(name: str, model: Model, dataset: CocoDataset) -> str:
    """Why a task's labels are not in this data's classes; empty where they are."""
    own, needs = model.space, TASKS[name].needs
    read = replace(
        own, things=own.things if "things" in needs else (), semantic=own.semantic if "semantic" in needs else ()
    )
    try:
        check_space(read, dataset.space)
    except UserError as error:
        return str(error)
    return ""


def _write(out: Path, content: dict[str, Any], cosines: Cosines) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "diagnose.json", json.dumps(content, indent=1))
    told = content["protocol"]
    shown = [s for s in cosines.stages if any(cosines.between(s, *pair) for pair in cosines.pairs())]
    figure = heat_maps(
        {stage: cosines.means(stage) for stage in shown},
        cosines.tasks,
        f"Cosine between the tasks' gradients in each stage of the trunk, from input to output\n{told['model']}, "
        f"{told['images']} pictures of {told['data']} {'+'.join(told['split'])}, mean of {told['batches']} batches",
        bold={stage: cosines.clear(stage) for stage in shown},
        ends=("pull against\neach other", "pull the\nsame way"),
        note="bold: more than two standard errors from 0     \N{EN DASH}: one of the two has no gradient there",
    )
    for ending in ("png", "svg"):
        write_atomic(out / f"diagnose.{ending}", figure.savefig)


def _print(console: Console, cosines: Cosines) -> None:
    """A table of cosines and one of norms, a row each stage, and what stands out."""
    pairs = cosines.pairs()
    cells = [(stage, *(_cell(cosines.between(stage, *pair)) for pair in pairs)) for stage in cosines.stages]
    console.print("[bold]cosine between gradients[/bold]: mean±standard error over batches, and batches below 0")
    console.print(_table(cells, ("stage", *("\n".join(pair) for pair in pairs))))
    norms = [(stage, *(_norm(cosines.norm(stage, task)) for task in cosines.tasks)) for stage in cosines.stages]
    console.print("[bold]norm of the gradient[/bold]: mean over batches")
    console.print(_table(norms, ("stage", *cosines.tasks)))
    found = [(each.mean, *pair, s) for s in cosines.stages for pair in pairs if (each := cosines.between(s, *pair))]
    for word, (cosine, first, second, stage) in (("most", max(found)), ("least", min(found))):
        console.print(f"{word} alike: {first} and {second} in {stage}, {cosine:+z.2f}", highlight=False)


def _table(rows: Sequence[Sequence[str]], headings: Sequence[str]) -> Table:
    """Narrow, since there are many pairs; what does not fit all the same is folded and never cut."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAVY, padding=0)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _cell(found: Agreement | None) -> str:
    if found is None:
        return "-"
    error = "" if found.error is None else f"±{found.error:.2f}"
    return f"{found.mean:+z.2f}{error}\n[dim]{found.negative:.0%} < 0[/dim]"


def _norm(found: float | None) -> str:
    return "-" if found is None else f"{found:.3g}"
