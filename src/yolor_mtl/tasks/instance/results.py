"""Masks from a result file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import torch

from yolor_mtl.data.coco_json import Id, JsonRle
from yolor_mtl.ops.masks import CroppedMasks, decode_segmentation
from yolor_mtl.records import Annotations, LabelSpace, Prediction
from yolor_mtl.tasks.results import Entry, FileAnswers, ResultFile, Score, class_places, read_results

Coordinate = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
"""Pixels. pycocotools walks along the sides of a polygon: one that leads far away takes all memory."""


class MaskEntry(Entry, gc=False):
    """An entry of ``segmentations.json``."""

    category_id: Id
    segmentation: list[list[Coordinate]] | JsonRle
    score: Score


def read_masks(folder: Path, space: LabelSpace) -> FileAnswers | None:
    """``segmentations.json``: COCO's list of ``image_id, category_id, segmentation`` (RLE) and ``score``.

    A mask is decoded when its image is asked for, one after the other, and kept as its crop.

    Raises:
        UserError: it is not such a list, has a category that the data has not or, when its image is asked for, a mask
            that is none of that image.
    """
    file = read_results(folder / "segmentations.json", list[MaskEntry])
    if file is None:
        return None
    places = class_places(space.things)
    classes = [file.class_index(number, entry.category_id, places) for number, entry in enumerate(file.entries)]

    def answer(annotations: Annotations) -> Prediction:
        numbers = file.of(annotations.image_id)
        size = (annotations.height, annotations.width)
        return {
            "masks": CroppedMasks.from_dense(size, (_mask(file, number, *size) for number in numbers)),
            "scores": torch.tensor([file.entries[number].score for number in numbers], dtype=torch.float64),
            "classes": torch.tensor([classes[number] for number in numbers], dtype=torch.int64),
        }

    return FileAnswers(file, answer)


def _mask(file: ResultFile[MaskEntry], number: int, height: int, width: int) -> np.ndarray:
    entry = file.entries[number]
    told = entry.segmentation
    segmentation = {"size": told.size, "counts": told.counts} if isinstance(told, JsonRle) else told
    try:
        return decode_segmentation(segmentation, height, width)
    except ValueError as error:
        raise file.fault(number, f"the mask of image {entry.image_id} cannot be read: {error}") from error
