"""What the frozen part of a network makes of every picture, worked out once while one head alone learns.

A head that learns alone, on frames that are the same in every epoch, reads the same in every epoch. A pass of the trunk
costs more than the text decoder's step, so the reading is kept in a file.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from yolor_mtl.build import Model
from yolor_mtl.data.augment import AugmentConfig, is_still
from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.data.labels import Labels
from yolor_mtl.data.loader import Collate, EvaluationSet, evaluation_loader, load_sample
from yolor_mtl.data.schedule import Draw, StepSampler
from yolor_mtl.models.network import Gleaner
from yolor_mtl.records import Annotations, Batch, Outputs, View
from yolor_mtl.training.freeze import Freezer

ROOM = 0.5
"""Share of the disk's free space that may be taken."""


@dataclass(frozen=True)
class Layout:
    """Named tensors of one picture as one row of bytes.

    Attributes:
        parts: name -> shape without the batch, and dtype.
    """

    parts: Mapping[str, tuple[torch.Size, torch.dtype]]

    @classmethod
    def of(cls, gleaned: Outputs) -> Layout:
        """The layout of tensors (B, ...)."""
        return cls({name: (tensor.shape[1:], tensor.dtype) for name, tensor in gleaned.items()})

    @property
    def size(self) -> int:
        """Bytes of a row."""
        return sum(shape.numel() * dtype.itemsize for shape, dtype in self.parts.values())

    def pack(self, gleaned: Outputs) -> Tensor:
        """Tensors (B, ...) to (B, size) uint8, in the computer's memory."""
        rows = [gleaned[name].cpu().contiguous().flatten(1).view(torch.uint8) for name in self.parts]
        return torch.cat(rows, dim=1)

    def unpack(self, rows: Tensor) -> Outputs:
        """Inverse of :meth:`pack`."""
        lengths = [shape.numel() * dtype.itemsize for shape, dtype in self.parts.values()]
        # Copies, since bytes are only read as other numbers from where such numbers may lie.
        pieces = [piece.clone(memory_format=torch.contiguous_format) for piece in rows.split(lengths, dim=1)]
        return {
            name: piece.view(dtype).unflatten(1, shape)
            for (name, (shape, dtype)), piece in zip(self.parts.items(), pieces, strict=True)
        }


class KeptSet(Dataset[Batch]):
    """Batches of draws from what is kept, without pixels.

    Args:
        dataset: the raw labels.
        labels: of the one task that learns, by task.
        rows: (N, size) uint8, a row a picture.
        layout: of the rows.
        places: position in the data set -> row; pictures that are not there are left out.
    """

    def __init__(
        self, dataset: CocoDataset, labels: Mapping[str, Labels], rows: Tensor, layout: Layout, places: dict[int, int]
    ) -> None:
        self.dataset, self.labels, self.rows, self.layout, self.places = dataset, labels, rows, layout, places
        self.collate = Collate(labels)

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        """One batch, as :class:`Collate` makes it, with ``gleaned``."""
        there = [draw for draw in draws if draw.index in self.places]
        samples = [
            load_sample(self.dataset.annotations(draw.index), self.labels, draw.view, _no_pixels) for draw in there
        ]
        batch = self.collate([(sample, ()) for sample in samples])
        for name, rows in batch.rows.items():
            chosen = torch.tensor([self.places[there[int(row)].index] for row in rows], dtype=torch.int64)
            batch.gleaned[name] = self.layout.unpack(self.rows[chosen])
        return batch


def _no_pixels(annotations: Annotations) -> tv_tensors.Image:
    return tv_tensors.Image(torch.zeros(3, 0, 0, dtype=torch.uint8))


def lone_reader(model: Model, freezer: Freezer, pipelines: Mapping[View, AugmentConfig]) -> str | None:
    """The task whose head learns alone and reads the same of a picture in every epoch; ``None`` where there is none.

    Args:
        model: the network and its tasks.
        freezer: what is frozen.
        pipelines: the augmentation of each view.
    """
    learning = [task for task in freezer.consulted() if task.head is not None]
    others = {"trunk", *model.network.heads} - {task.name for task in learning}
    if len(learning) != 1 or freezer.epochs or others - set(freezer.parts):
        return None
    task = learning[0]
    if task.labels is None or not isinstance(task.head, Gleaner) or not is_still(pipelines[task.labels.view]):
        return None
    return task.name


def keep_features(
    model: Model,
    labels: Mapping[str, Labels],
    data: CocoDataset,
    pool: Sequence[int],
    size: tuple[int, int],
    *,
    device: torch.device,
    half: torch.dtype | None,
    batch: int,
    workers: int,
    folder: Path,
    console: Console,
) -> tuple[KeptSet, dict[str, str]] | None:
    """Reads every picture once.

    Args:
        model: its network is read with, in evaluation mode.
        labels: of the one task that learns, by task.
        data: the pictures.
        pool: positions of the pictures to read.
        size: (height, width) of the frame.
        device: where the network computes.
        half: in which short numbers, ``None`` for float32.
        batch: pictures at once.
        workers: loading processes.
        folder: for the file, which no other process sees and which is gone when this one ends.
        console: for progress and messages.

    Returns:
        The batches and the pictures that could not be read; ``None`` where the disk has no room for it.
    """
    (task,) = labels
    # A copy: the form in which a network is fast cannot be trained.
    network = replace(model, network=copy.deepcopy(model.network).to(device)).inference().network
    loader = evaluation_loader(EvaluationSet(data, size, pool), batch=batch, workers=workers)
    place_of = {data.annotations(index).path: index for index in pool}
    places: dict[int, int] = {}
    failures: dict[str, str] = {}
    layouts: list[Layout] = []
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".features-", suffix=".bin") as file:
        try:
            for pictures in track(loader, "looking at every picture once", console=console, transient=True):
                failures.update(pictures.failures)
                if not len(pictures.images):
                    continue
                with torch.inference_mode(), torch.autocast(device.type, half, enabled=half is not None):
                    gleaned = network.glean(pictures.images.to(device), task)
                if not layouts:
                    layouts.append(Layout.of(gleaned))
                    _check_room(layouts[0].size * len(pool), folder)
                file.write(layouts[0].pack(gleaned).numpy().tobytes())
                for seen in pictures.annotations:
                    assert seen is not None
                    places[place_of[seen.path]] = len(places)
            file.flush()
        except OSError as error:
            console.print(f"what the frozen part sees is worked out at every step: {error}", soft_wrap=True)
            return None
        if not layouts:
            return None
        layout = layouts[0]
        total = layout.size * len(places)
        rows = torch.from_file(file.name, shared=False, size=total, dtype=torch.uint8).view(-1, layout.size)
    console.print(f"what the frozen part sees of {len(places)} pictures is kept on disk, {total / 1e9:.2f} GB")
    return KeptSet(data, labels, rows, layout, places), failures


def _check_room(wanted: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if wanted > ROOM * free:
        raise OSError(f"it would take {wanted / 1e9:.1f} of the {free / 1e9:.1f} GB that are free beside {folder}")


def kept_loader(data: KeptSet, sampler: StepSampler) -> DataLoader[Batch]:
    """Batches of an epoch, in this process: there is nothing to decode."""
    return DataLoader(data, batch_sampler=sampler, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    """What :meth:`KeptSet.__getitems__` gives is a batch already."""
    return batch
