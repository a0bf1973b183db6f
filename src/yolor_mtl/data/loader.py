"""From a data set to batches: labels of the asked tasks, geometry by view, and per task the rows it trains on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from yolor_mtl.data.augment import AugmentConfig
from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.data.image import UnreadableImageError, read_image
from yolor_mtl.data.labels import Labels, trainable
from yolor_mtl.data.pipeline import Pipeline
from yolor_mtl.data.schedule import VIEWS, Draw, StepSampler
from yolor_mtl.ops.frame import letterbox
from yolor_mtl.ops.processes import live_and_die_with_the_parent, return_free_memory
from yolor_mtl.records import Annotations, Batch, PackedError, Sample, View

ATTEMPTS = 8
"""Other pictures that are tried in place of one that cannot be read."""

Failure = tuple[str, str]
"""Path of a picture and why it could not be read."""

Entry = tuple[Sample | None, tuple[Failure, ...]]
"""A sample, where one could be read, and the pictures that failed on the way."""


def checked_image(annotations: Annotations) -> tv_tensors.Image:
    """The picture of annotations, refused where its size is not the annotated one: the labels would not fit.

    Raises:
        UnreadableImageError: it cannot be read, or is of another size.
    """
    image = read_image(annotations.path, annotations.opened)
    height, width = (int(side) for side in image.shape[-2:])
    if (height, width) != (annotations.height, annotations.width):
        told = f"annotated as {annotations.width} x {annotations.height}"
        raise UnreadableImageError(f"the upright picture is {width} x {height}, {told}")
    return image


def load_sample(
    annotations: Annotations,
    labels: Mapping[str, Labels],
    view: View,
    read: Callable[[Annotations], tv_tensors.Image] = checked_image,
) -> Sample:
    """A picture with the labels of the tasks that train on this view, in the original frame.

    Args:
        annotations: what the files say.
        labels: labels of the trained tasks, by task.
        view: its view.
        read: gives the picture.

    Raises:
        UnreadableImageError: see :func:`checked_image`.
    """
    annotations = trainable(annotations)
    sample = Sample(image=read(annotations), view=view)
    objects: dict[str, Any] | None = None
    for task in labels.values():
        if task.view != view or not task.labelled(annotations):
            continue
        columns = task.columns(annotations)
        if columns.objects is not None:
            objects = {**(objects or {}), **columns.objects}
        sample.maps.update({name: tv_tensors.Mask(value) for name, value in columns.maps.items()})
        sample.texts.update(columns.texts)
    return replace(sample, objects=objects)


def view_pools(dataset: CocoDataset, labels: Mapping[str, Labels]) -> dict[View, np.ndarray]:
    """Positions of the pictures that are labelled for at least one task of each view."""
    found: dict[View, list[int]] = {view: [] for view in VIEWS}
    for index in range(len(dataset)):
        annotations = dataset.annotations(index)
        for view in VIEWS:
            if any(task.view == view and task.labelled(annotations) for task in labels.values()):
                found[view].append(index)
    return {view: np.asarray(indices, dtype=np.int64) for view, indices in found.items()}


class TrainingSet(Dataset[Entry]):
    """Augmented samples by :class:`Draw`.

    Args:
        dataset: pictures and raw labels.
        labels: labels of the trained tasks, by task.
        pools: see :func:`view_pools`.
        size: (height, width) of the frame.
        pipelines: the augmentation of each view.
    """

    def __init__(
        self,
        dataset: CocoDataset,
        labels: Mapping[str, Labels],
        pools: Mapping[View, np.ndarray],
        size: tuple[int, int],
        pipelines: Mapping[View, AugmentConfig],
    ) -> None:
        self.dataset, self.labels, self.size = dataset, labels, size
        self.pipelines = {view: Pipeline(config, size) for view, config in pipelines.items()}
        # A picture whose objects are unknown must not lend its pixels to one whose objects are known: they would
        # count as background. So partners of what mixes pictures come from the same side.
        self.partners: dict[tuple[View, bool, int], np.ndarray] = {}
        for view, pool in pools.items():
            known = np.array([dataset.annotations(int(index)).objects is not None for index in pool], dtype=bool)
            group = np.zeros(len(pool), dtype=np.int64) if dataset.groups is None else dataset.groups[pool]
            for side in (True, False):
                for number in np.unique(group[known == side]).tolist():
                    self.partners[view, side, number] = pool[(known == side) & (group == number)]

    def __getitem__(self, draw: Draw) -> Entry:
        """A sample of the frame's size (none where nothing could be read), and the pictures that failed on the way."""
        rng = np.random.default_rng(draw.seed)
        failures: list[Failure] = []
        first = self._readable(draw.index, draw.view, rng, failures)
        if first is None:
            return None, tuple(failures)

        def partner() -> Sample | None:
            index = int(rng.choice(self._partners(draw.index, draw.view)))
            return self._readable(index, draw.view, rng, failures)

        return self.pipelines[draw.view](first, partner, draw.calm, rng), tuple(failures)

    def _partners(self, index: int, view: View) -> np.ndarray:
        """Those at hand of which as much is known: by the files, not by what the trained tasks loaded of them."""
        group = 0 if self.dataset.groups is None else int(self.dataset.groups[index])
        return self.partners[view, self.dataset.annotations(index).objects is not None, group]

    def _readable(self, index: int, view: View, rng: np.random.Generator, failures: list[Failure]) -> Sample | None:
        """The picture, or in place of a broken one another of its kind."""
        for candidate in self._candidates(index, view, rng):
            annotations = self.dataset.annotations(candidate)
            try:
                return load_sample(annotations, self.labels, view)
            except (UnreadableImageError, PackedError) as error:
                failures.append((str(annotations.path), str(error)))
        return None

    def _candidates(self, index: int, view: View, rng: np.random.Generator) -> Iterator[int]:
        """The picture itself, then others, of which as much is known."""
        yield index
        pool = self._partners(index, view)
        others = pool[pool != index]
        yield from rng.choice(others, min(ATTEMPTS, len(others)), replace=False).tolist()


class Collate:
    """Samples of one size to a batch with the targets of every task.

    Args:
        labels: labels of the trained tasks, by task.
    """

    def __init__(self, labels: Mapping[str, Labels]) -> None:
        self.labels = labels

    def __call__(self, entries: Sequence[Entry]) -> Batch:
        """The batch; without any readable picture its images are (0, 3, 0, 0)."""
        samples = [sample for sample, _ in entries if sample is not None]
        failures = tuple(dict.fromkeys(failure for _, found in entries for failure in found))
        if not samples:
            return Batch(images=torch.zeros(0, 3, 0, 0, dtype=torch.uint8), failures=failures)
        batch = Batch(images=torch.stack([sample.image.as_subclass(torch.Tensor) for sample in samples]))
        for name, task in self.labels.items():
            rows = [row for row, sample in enumerate(samples) if task.usable(sample)]
            batch.rows[name] = torch.tensor(rows, dtype=torch.int64)
            batch.targets[name] = task.targets([samples[row] for row in rows]) if rows else {}
        return replace(batch, failures=failures)


def training_loader(
    data: TrainingSet, sampler: StepSampler, *, workers: int, pin_memory: bool = False
) -> DataLoader[Any]:
    """Batches of an epoch; the sampler decides which."""
    return DataLoader(
        data,
        batch_sampler=sampler,
        collate_fn=Collate(data.labels),
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=live_and_die_with_the_parent,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
    )


class EvaluationSet(Dataset[Entry]):
    """Letterboxed pictures with their raw annotations, in the data set's reading order.

    Args:
        dataset: pictures and raw labels.
        size: (height, width) of the frame.
        indices: positions to evaluate; all by default.
    """

    def __init__(self, dataset: CocoDataset, size: tuple[int, int], indices: Sequence[int] | None = None) -> None:
        self.dataset, self.size = dataset, size
        self.indices = dataset.reading_order(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Entry:
        """The sample of one place, or why there is none."""
        annotations = self.dataset.annotations(self.indices[place])
        try:
            image, frame = letterbox(checked_image(annotations), self.size)
        except UnreadableImageError as error:
            return None, ((str(annotations.path), str(error)),)
        return Sample(tv_tensors.Image(image), "vision", frame=frame, annotations=annotations), ()


def collate_evaluation(entries: Sequence[Entry]) -> Batch:
    """Letterboxed samples to a batch without targets."""
    batch = Collate({})(entries)
    samples = [sample for sample, _ in entries if sample is not None]
    return replace(
        batch,
        frames=tuple(sample.frame for sample in samples),
        annotations=tuple(sample.annotations for sample in samples),
    )


class EvaluationLoader:
    """Batches of pictures with their raw annotations; its processes end before the last batch is given out.

    Lightning takes as many batches as there are and never asks for one more, so that the processes of a plain
    ``DataLoader`` would stay, with all they hold, through the whole epoch that follows.

    Args:
        loader: what makes the batches.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        """The batches, each when the next one is there."""
        if self._loader.num_workers:
            return_free_memory()
        batches = iter(self._loader)
        # No name for what is given out: whoever keeps this iterator would keep the last batch.
        ahead = deque(islice(batches, 1))
        while ahead:
            ahead.extend(islice(batches, 1))
            yield ahead.popleft()


def evaluation_loader(
    data: EvaluationSet, *, batch: int, workers: int, rank: int = 0, world: int = 1, batches: int = 0
) -> EvaluationLoader:
    """Every picture once and in order; with several processes each takes every ``world``-th, none is padded in.

    Args:
        data: the pictures.
        batch: pictures at once.
        workers: loading processes.
        rank: number of this process.
        world: number of processes.
        batches: the greatest number; 0 for all.
    """
    places = range(rank, len(data), world)
    loader: DataLoader[Any] = DataLoader(
        data,
        batch_size=batch,
        sampler=places[: batches * batch] if batches else places,
        collate_fn=collate_evaluation,
        num_workers=workers,
        worker_init_fn=live_and_die_with_the_parent,
    )
    return EvaluationLoader(loader)
