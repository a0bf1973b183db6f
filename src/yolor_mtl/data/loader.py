"""From a data set to batches: labels of the asked tasks, geometry by view, and per task the rows it trains on."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.data.image import UnreadableImageError, read_image
from yolor_mtl.data.labels import Labels, trainable
from yolor_mtl.data.mosaic import TILES, mixup, mosaic, single
from yolor_mtl.data.schedule import VIEWS, Draw, StepSampler
from yolor_mtl.data.transforms import AugmentConfig, assemble, map_sample, recolour, whole_cut
from yolor_mtl.ops.frame import letterbox
from yolor_mtl.records import Annotations, Batch, Sample, View

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
    image = read_image(annotations.path)
    height, width = (int(side) for side in image.shape[-2:])
    if (height, width) != (annotations.height, annotations.width):
        told = f"annotated as {annotations.width} x {annotations.height}"
        raise UnreadableImageError(f"the upright picture is {width} x {height}, {told}")
    return image


def load_sample(annotations: Annotations, labels: Mapping[str, Labels], view: View) -> Sample:
    """A picture with the labels of the tasks that train on this view, in the original frame.

    Raises:
        UnreadableImageError: see :func:`checked_image`.
    """
    annotations = trainable(annotations)
    sample = Sample(image=checked_image(annotations), view=view)
    objects: dict[str, torch.Tensor] | None = None
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
        augment: strong augmentation of the vision view.
    """

    def __init__(
        self,
        dataset: CocoDataset,
        labels: Mapping[str, Labels],
        pools: Mapping[View, np.ndarray],
        size: tuple[int, int],
        augment: AugmentConfig,
    ) -> None:
        self.dataset, self.labels, self.size, self.augment = dataset, labels, size, augment
        vision = pools.get("vision", np.zeros(0, dtype=np.int64))
        known = np.array([dataset.annotations(int(i)).objects is not None for i in vision], dtype=bool)
        # A picture whose objects are unknown must not lend its pixels to one whose objects are known: they would
        # count as background. So partners of mosaic and mixup come from the same side.
        self.partners = {True: vision[known], False: vision[~known]}
        self.language = pools.get("language", np.zeros(0, dtype=np.int64))

    def __getitem__(self, draw: Draw) -> Entry:
        """A sample of the frame's size (none where nothing could be read), and the pictures that failed on the way."""
        rng = np.random.default_rng(draw.seed)
        failures: list[Failure] = []
        if draw.view == "language":
            sample = self._readable(draw.index, draw.view, rng, failures)
            return sample and self._weak(sample), tuple(failures)
        sample = self._frame(draw, rng, failures)
        if sample is not None and not draw.calm and rng.random() < self.augment.mixup:
            partner = int(rng.choice(self._partners(draw.index)))
            other = self._frame(replace(draw, index=partner), rng, failures)
            sample = sample if other is None else mixup(sample, other, rng)
        return sample and self._finish(sample, rng), tuple(failures)

    def _weak(self, sample: Sample) -> Sample:
        shape = (int(sample.image.shape[-2]), int(sample.image.shape[-1]))
        return assemble([(sample, whole_cut(shape, self.size))], self.size)

    def _frame(self, draw: Draw, rng: np.random.Generator, failures: list[Failure]) -> Sample | None:
        """One picture, or four in a mosaic."""
        first = self._readable(draw.index, draw.view, rng, failures)
        if first is None:
            return None
        if draw.calm or rng.random() >= self.augment.mosaic:
            return single(first, self.size, self.augment.scale, rng)
        chosen = rng.choice(self._partners(draw.index), TILES - 1)
        tiles = [first, *(self._readable(int(index), draw.view, rng, failures) for index in chosen)]
        readable = [tile for tile in tiles if tile is not None]
        return mosaic((readable * TILES)[:TILES], self.size, self.augment.scale, rng)

    def _partners(self, index: int) -> np.ndarray:
        """The pictures of which as much is known: by the files, not by what the trained tasks loaded of them."""
        partners: np.ndarray = self.partners[self.dataset.annotations(index).objects is not None]
        return partners

    def _readable(self, index: int, view: View, rng: np.random.Generator, failures: list[Failure]) -> Sample | None:
        """The picture, or in place of a broken one another of its kind."""
        for candidate in self._candidates(index, view, rng):
            annotations = self.dataset.annotations(candidate)
            try:
                return load_sample(annotations, self.labels, view)
            except UnreadableImageError as error:
                failures.append((str(annotations.path), str(error)))
        return None

    def _candidates(self, index: int, view: View, rng: np.random.Generator) -> Iterator[int]:
        """The picture itself, then others, of which as much is known."""
        yield index
        pool = self._partners(index) if view == "vision" else self.language
        others = pool[pool != index]
        yield from rng.choice(others, min(ATTEMPTS, len(others)), replace=False).tolist()

    def _finish(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() < self.augment.flip:
            sample = map_sample(sample, F.horizontal_flip)
        return replace(sample, image=recolour(sample.image, self.augment, rng))


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


def leave_signals_to_the_parent(worker: int) -> None:
    """A terminal and a scheduler signal the whole group; a loading process goes on until its parent ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


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
        worker_init_fn=leave_signals_to_the_parent,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
    )


class EvaluationSet(Dataset[Entry]):
    """Letterboxed pictures with their raw annotations.

    Args:
        dataset: pictures and raw labels.
        size: (height, width) of the frame.
        indices: positions to evaluate; all by default.
    """

    def __init__(self, dataset: CocoDataset, size: tuple[int, int], indices: Sequence[int] | None = None) -> None:
        self.dataset, self.size = dataset, size
        self.indices = range(len(dataset)) if indices is None else indices

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


def evaluation_loader(
    data: EvaluationSet, *, batch: int, workers: int, rank: int = 0, world: int = 1
) -> DataLoader[Any]:
    """Every picture once and in order; with several processes each takes every ``world``-th, none is padded in."""
    return DataLoader(
        data,
        batch_size=batch,
        sampler=range(rank, len(data), world),
        collate_fn=collate_evaluation,
        num_workers=workers,
        worker_init_fn=leave_signals_to_the_parent,
    )
