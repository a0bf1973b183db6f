"""The states that a training can go on from: the last one, and the one before it until the next is whole."""

from __future__ import annotations

import zipfile
from pathlib import Path

import lightning.pytorch as pl
import torch
from rich.console import Console

from yolor_mtl.data.schedule import StepSampler
from yolor_mtl.models.weights import BEST
from yolor_mtl.ops.faults import out_of_memory
from yolor_mtl.ops.files import write_atomic
from yolor_mtl.records import UserError

LAST, PREVIOUS = "last.ckpt", "last.previous.ckpt"
"""Names in a run's folder."""

KEPT = "epoch-{}.safetensors"
"""Weights there of an epoch."""

NEXT = "next.ckpt"
"""A whole state on its way to become the last one."""

LEFTOVERS = (
    NEXT,
    *(f".{stem}-????????{ending}" for stem, ending in (("next", ".ckpt"), ("metrics", ".csv"), ("losses", ".csv"))),
    *(f".{stem}-????????.safetensors" for stem in ("best", "epoch-*")),
    ".config-????????.yaml",
    ".features-????????.bin",
)
"""What a process that is killed while it writes leaves in a run's folder."""


class States:
    """Keeps the two newest states of a run. Whenever the process is killed, at least one whole state has its name.

    Args:
        folder: the run's.
        resumed: the state that the run goes on from; ``None`` for a run that begins.
    """

    def __init__(self, folder: Path, resumed: Path | None = None) -> None:
        self.folder = folder
        # A last state that could not be used must not push out the one before it, which could.
        self._whole = resumed is None or resumed.name == LAST

    def save(self, trainer: pl.Trainer) -> None:
        """Writes the next state; then the last one becomes the previous one, and the next one the last.

        Raises:
            OSError: the disk is full or cannot be written; both states stay as they are.
        """
        following, last = self.folder / NEXT, self.folder / LAST
        if trainer.world_size == 1:
            write_atomic(following, trainer.save_checkpoint)
        else:
            # Every process must take part, and only the first one writes: Lightning picks the file.
            trainer.save_checkpoint(following)
        if trainer.is_global_zero:
            if self._whole and last.is_file():
                last.replace(self.folder / PREVIOUS)
            following.replace(last)
        self._whole = True


def clear_leftovers(folder: Path) -> None:
    """Removes the unfinished files of a process that was killed; they may be as large as the states."""
    for pattern in LEFTOVERS:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def flaw(path: Path) -> str | None:
    """Why a file is no state to go on from, ``None`` for a whole one: every byte is read and its checksum compared."""
    if not path.is_file():
        return "there is no such file"
    try:
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
    # On altered bytes the reader raises more than its own BadZipFile, as unpacking meets what no writer would write.
    except Exception as error:
        return f"not a whole checkpoint ({error})"
    if altered is not None:
        return f"not a whole checkpoint (the checksum of {altered} does not fit)"
    try:
        _place(path)
    # What another program wrote may hold anything; that there is no memory says nothing about the file.
    except Exception as error:
        if out_of_memory(error):
            raise
        reason = next(iter(f"{error}".splitlines()), "")
        return f"not a whole checkpoint of a training ({type(error).__name__}: {reason})"
    return None


def find_state(resume: str, console: Console) -> Path:
    """The state to go on from: the last one, or where that is not whole the one before it, which is said aloud.

    Args:
        resume: a run's folder, or one of its checkpoints.
        console: for the message.

    Raises:
        UserError: none is whole.
    """
    named = Path(resume) if Path(resume).suffix == ".ckpt" else Path(resume) / LAST
    flaws: dict[Path, str] = {}
    for path in (named, named.with_name(PREVIOUS)) if named.name == LAST else (named,):
        if (reason := flaw(path)) is None:
            for other, told in flaws.items():
                text = f"{other}: {told}; going on from {path}, the state before it"
                console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)
            return path
        flaws[path] = reason
    told = "; ".join(f"{path}: {reason}" for path, reason in flaws.items())
    best = named.with_name(BEST)
    if best.is_file():
        remedy = f"start anew from its best weights, weights={best}, in another folder, out="
    else:
        remedy = "start anew; a run keeps its first state after save_every= minutes, or after its first epoch"
    raise UserError(f"resume={resume}: nothing whole to go on from. {told}. Remedy: {remedy}")


def set_place(path: Path, sampler: StepSampler) -> None:
    """Sets the sampler to the epoch and batch that come next in a state that has no :func:`flaw`."""
    epochs, inside = _place(path)
    steps = sampler.schedule.steps
    sampler.epoch, sampler.start = divmod(epochs * steps + inside, steps)


def _place(path: Path) -> tuple[int, int]:
    """Whole epochs, and batches of the one that was begun, as Lightning counts them; the tensors are not read."""
    loop = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["loops"]["fit_loop"]
    epochs, batches = (loop[name]["current"] for name in ("epoch_progress", "epoch_loop.batch_progress"))
    whole = int(epochs["processed"])
    return whole, int(batches["processed"]) if epochs["ready"] > whole else 0
