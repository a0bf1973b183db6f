"""Panoptic segments from a result file and its PNGs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from yolor_mtl.data.coco import panoptic_ids
from yolor_mtl.data.coco_json import Id
from yolor_mtl.records import Annotations, LabelSpace, Prediction
from yolor_mtl.tasks.panoptic.metric import segment_ids
from yolor_mtl.tasks.results import Entry, FileAnswers, ResultFile, class_places, predicted_map, read_results


class SegmentEntry(msgspec.Struct, gc=False):
    """An entry of ``segments_info``; its id is a colour of the PNG."""

    id: Annotated[int, msgspec.Meta(ge=1, lt=2**24)]
    category_id: Id


class PanopticEntry(Entry):
    """An entry of ``panoptic.json``."""

    file_name: str
    segments_info: list[SegmentEntry]


def read_segments(folder: Path, space: LabelSpace) -> FileAnswers | None:
    """``panoptic.json`` (``annotations`` of ``image_id, file_name, segments_info``) and its PNGs in ``panoptic/``.

    An image that the file does not list is answered with void.

    Raises:
        UserError: it is not such a file, has two answers of one image, a segment of a category that the data has not
            or, when its image is asked for, a PNG that is missing or has ids that are not listed.
    """
    file = read_results(folder / "panoptic.json", list[PanopticEntry], inside="annotations")
    if file is None:
        return None
    file.check_single()
    places = class_places(space.semantic)
    listed = [_listed(file, number, places) for number in range(len(file.entries))]

    def answer(annotations: Annotations) -> Prediction:
        ids, categories = np.zeros((annotations.height, annotations.width), dtype=np.int32), dict[int, int]()
        for number in file.of(annotations.image_id):
            path, categories = folder / "panoptic" / file.entries[number].file_name, listed[number]
            ids = panoptic_ids(predicted_map(path, annotations, ("RGB", "RGBA")))
            if strange := sorted(segment_ids(ids) - categories.keys()):
                raise file.fault(
                    number, f"{len(strange)} segment ids of {path} are not in segments_info, the first is {strange[0]}"
                )
        return {"map": ids, "segments": [{"id": key, "category": place} for key, place in categories.items()]}

    return FileAnswers(file, answer)


def _listed(file: ResultFile[PanopticEntry], number: int, places: dict[int, int]) -> dict[int, int]:
    """An entry's segment ids with their classes, once its file name is known to stay in ``panoptic/``."""
    entry = file.entries[number]
    if Path(entry.file_name).name != entry.file_name or entry.file_name in ("", ".."):
        raise file.fault(number, f"file_name {entry.file_name!r} must be a name in panoptic/, without folders")
    found: dict[int, int] = {}
    for segment in entry.segments_info:
        if segment.id in found:
            raise file.fault(number, f"two segments have the id {segment.id}")
        found[segment.id] = file.class_index(number, segment.category_id, places)
    return found
