"""Panoptic quality."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from yolor_mtl.data.class_translation import Translation, translation
from yolor_mtl.data.coco import panoptic_map, panoptic_pixels
from yolor_mtl.ops.details import Breakdown, Details
from yolor_mtl.records import Annotations, LabelSpace, PanopticLabel, Prediction
from yolor_mtl.tasks.rows import Rows

VOID = 0
"""Id of pixels without a segment."""


@dataclass(frozen=True)
class Matches:
    """What one image adds; categories are indices in ``LabelSpace.semantic``.

    Attributes:
        hits: (category, IoU) of each matched pair.
        false: categories of predicted segments that match nothing.
        missed: categories of labelled segments that nothing matches.
    """

    hits: tuple[tuple[int, float], ...]
    false: tuple[int, ...]
    missed: tuple[int, ...]


@dataclass(frozen=True)
class _Row:
    """One image: its matches, and its answer in COCO's result format (the PNG compressed: a few kilobytes)."""

    matches: Matches
    png: bytes
    segments: list[dict[str, int]]


def match_segments(
    truth: np.ndarray, label: PanopticLabel, answer: np.ndarray, categories: Mapping[int, int]
) -> Matches:
    """Matches segments as Kirillov et al. (Panoptic Segmentation, CVPR 2019, sections 4.1 and 4.2) define it.

    Two segments of one category match where their IoU, without the pixels of the prediction that carry no label,
    is over 0.5; there can be only one such partner. A crowd is no segment to find; a prediction that lies to more
    than half on pixels without label or on crowds of its category is no false one.

    Args:
        truth: (H, W) int segment ids, 0 without label.
        label: the labelled segments; ids that it does not list count as without label.
        answer: (H, W) int segment ids, 0 void.
        categories: predicted id -> category.

    Raises:
        ValueError: the maps differ in size, or the answer has an id that is not in ``categories``.
    """
    if truth.shape != answer.shape:
        raise ValueError(f"panoptic map of {answer.shape} for labels of {truth.shape}")
    listed = {segment.id: segment for segment in label.segments}
    starts, lengths = _stretches(truth, answer)
    true_ids, true_codes = np.unique(truth.ravel()[starts], return_inverse=True)
    told_ids, told_codes = np.unique(answer.ravel()[starts], return_inverse=True)
    if unknown := {int(i) for i in told_ids} - set(categories) - {VOID}:
        raise ValueError(f"segment ids {sorted(unknown)} stand in the map but not in its list of segments")
    pairs = np.zeros((len(true_ids), len(told_ids)), dtype=np.int64)
    np.add.at(pairs, (true_codes, told_codes), lengths)
    true_area, told_area = pairs.sum(axis=1), pairs.sum(axis=0)
    segments = [listed.get(int(i)) if i != VOID else None for i in true_ids]
    told = [categories[int(i)] if i != VOID else -1 for i in told_ids]
    unlabelled = pairs[[segment is None for segment in segments]].sum(axis=0)

    hits, found, used = [], set(), set()
    for row, column in np.argwhere(2 * pairs > np.maximum(true_area[:, None], 1)):
        # Over half of the labelled segment is necessary for an IoU over 0.5.
        segment = segments[row]
        if segment is None or segment.crowd or segment.category != told[column]:
            continue
        union = true_area[row] + told_area[column] - pairs[row, column] - unlabelled[column]
        if 2 * pairs[row, column] > union:
            hits.append((segment.category, float(pairs[row, column] / union)))
            found.add(int(row))
            used.add(int(column))
    missed = [s.category for row, s in enumerate(segments) if s is not None and not s.crowd and row not in found]
    false = []
    for column, category in enumerate(told):
        if category < 0 or column in used:
            continue
        crowds = [s is not None and s.crowd and s.category == category for s in segments]
        if 2 * (unlabelled[column] + pairs[crowds, column].sum()) <= told_area[column]:
            false.append(category)
    return Matches(tuple(hits), tuple(false), tuple(missed))


def translated(
    answer: np.ndarray, categories: Mapping[int, int], words: Translation, stuff: Collection[int]
) -> tuple[np.ndarray, dict[int, int]]:
    """Predicted segments in the data's classes.

    A segment whose class has no place becomes void; those that become one kind of stuff become one segment, since
    stuff has one segment a picture.

    Args:
        answer: (H, W) int segment ids, 0 void.
        categories: predicted id -> class of the model.
        words: the model's classes to the data's.
        stuff: the data's classes that are stuff.

    Returns:
        (H, W) int segment ids, and id -> class of the data.
    """
    kept: dict[int, int] = {}  # id -> class of the data
    becomes: dict[int, int] = {}  # id -> id
    first: dict[int, int] = {}  # stuff -> its segment
    for number, category in categories.items():
        place = words.places[category]
        becomes[number] = number if place >= 0 else VOID
        if place in stuff:
            becomes[number] = first.setdefault(place, number)
        if becomes[number] != VOID:
            kept[becomes[number]] = place
    ids, codes = np.unique(answer, return_inverse=True)
    new = np.array([becomes.get(int(number), int(number)) for number in ids], dtype=answer.dtype)
    return new[codes].reshape(answer.shape), kept


def _stretches(*maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where stretches of pixels begin, row by row, over which no map of one shape changes, and their lengths.

    A map of segments has a few thousand: far fewer than pixels to sort.
    """
    begins = np.ones(maps[0].size, dtype=bool)
    np.logical_or.reduce([line[1:] != line[:-1] for line in (ids.ravel() for ids in maps)], out=begins[1:])
    starts = np.flatnonzero(begins)
    return starts, np.diff(starts, append=begins.size)


def segment_ids(ids: np.ndarray) -> set[int]:
    """The ids in a map (H, W) int of segment ids, without :data:`VOID`."""
    return set(ids.ravel()[_stretches(ids)[0]].tolist()) - {VOID}


class PanopticMetric:
    """PQ, SQ and RQ.

    Reads of a prediction: ``map`` (H, W) int32 tensor or array of segment ids in the original frame, 0 void;
    ``segments``, a list of ``{"id", "category"}`` with ``category`` an index in ``space.semantic``. A listed segment
    without a pixel does not count.

    Args:
        space: the data's label space; C classes in ``space.semantic``.
        answers: the classes of the predictions, where they may be other ones; see :func:`translated`.

    Raises:
        UserError: there is no way from the classes of the predictions to the data's.
    """

    headline = "panoptic/PQ"
    shown: tuple[str, ...] = ("panoptic/PQ",)

    def __init__(self, space: LabelSpace, answers: LabelSpace | None = None) -> None:
        self._translation = translation(answers, space) if answers is not None else None
        self.protocol: Mapping[str, Any] = {
            "panoptic": f"PQ over {len(space.semantic)} classes of {space.semantic_protocol}",
            "panoptic/PQ": "mean over the classes that occur in the labels or in the predictions",
        }
        if self._translation is not None:
            changed = "merged in the model's classes, then translated; a segment without a place becomes void"
            self.protocol = {**self.protocol, "panoptic/answers": changed, **self._translation.protocol()}
        self._classes = space.semantic
        self._rows: Rows[_Row] = Rows()

    def evaluates(self, annotations: Annotations) -> bool:
        """Whether the image has panoptic labels."""
        return annotations.panoptic is not None

    def update(self, prediction: Prediction, annotations: Annotations) -> None:
        """Adds one image; seen twice, it counts once.

        Raises:
            ValueError: the map is not of the label's size, or has an id that ``segments`` does not list.
        """
        assert annotations.panoptic is not None
        answer = np.asarray(prediction["map"]).astype(np.int64)
        categories = {int(segment["id"]): int(segment["category"]) for segment in prediction["segments"]}
        if self._translation is not None:
            stuff = {place for place, category in enumerate(self._classes) if not category.isthing}
            answer, categories = translated(answer, categories, self._translation, stuff)
        matches = match_segments(panoptic_map(annotations), annotations.panoptic, answer, categories)
        present = segment_ids(answer)
        segments = [
            {"id": number, "category_id": self._classes[category].id}
            for number, category in categories.items()
            if number in present
        ]
        self._rows.add(annotations, _Row(matches, _png(answer), segments))

    def merge(self, other: PanopticMetric) -> None:
        """Adds what another process has seen."""
        self._rows.merge(other._rows)

    def compute(self) -> dict[str, float]:
        """``panoptic/PQ``, ``SQ``, ``RQ``, and each with ``-things`` and ``-stuff``, in 0..1.

        A group without a class is left out; without any image nothing is left.
        """
        quality = self.per_class()
        groups = {
            "": [*quality.values()],
            "-things": [row for category, row in quality.items() if self._classes[category].isthing],
            "-stuff": [row for category, row in quality.items() if not self._classes[category].isthing],
        }
        return {
            f"panoptic/{name}{group}": math.fsum(row[name] for row in rows) / len(rows)
            for group, rows in groups.items()
            if rows
            for name in ("PQ", "SQ", "RQ")
        }

    def per_class(self) -> dict[int, dict[str, float]]:
        """Semantic class -> its ``PQ``, ``SQ``, ``RQ``, for the classes that occur in labels or predictions."""
        ious: dict[int, list[float]] = {}
        wrong: dict[int, int] = {}
        for _, row in self._rows.sorted():
            for category, iou in row.matches.hits:
                ious.setdefault(category, []).append(iou)
            for category in row.matches.false + row.matches.missed:
                wrong[category] = wrong.get(category, 0) + 1
        quality = {}
        for category in sorted({*ious, *wrong}):
            hits = len(ious.get(category, ()))
            total = math.fsum(ious.get(category, ()))
            weight = hits + wrong.get(category, 0) / 2
            quality[category] = {"PQ": total / weight, "SQ": total / max(hits, 1), "RQ": hits / weight}
        return quality

    def details(self) -> Details:
        """PQ, SQ and RQ by class, and the quality of each image."""
        rows = [
            (self._classes[category].name, (row["PQ"], row["SQ"], row["RQ"]))
            for category, row in self.per_class().items()
        ]
        rows.sort(key=lambda row: -row[1][0])
        return Details(
            tables=[Breakdown("panoptic segments, class by class", ("class", "PQ", "SQ", "RQ"), rows)],
            images={label.image_id: _image_quality(row.matches) for label, row in self._rows.sorted()},
        )

    def write(self, folder: Path) -> list[Path]:
        """``panoptic.json`` and ``panoptic/<stem>.png`` in COCO's result format; equal stems get a number."""
        pictures = folder / "panoptic"
        pictures.mkdir(parents=True, exist_ok=True)
        records, paths, names = [], [folder / "panoptic.json"], set()
        for image, row in self._rows.sorted():
            name, number = f"{image.path.stem}.png", 1
            while name in names:
                number += 1
                name = f"{image.path.stem}-{number}.png"
            names.add(name)
            (pictures / name).write_bytes(row.png)
            records.append({"image_id": image.image_id, "file_name": name, "segments_info": row.segments})
            paths.append(pictures / name)
        paths[0].write_text(json.dumps({"annotations": records}), encoding="utf-8")
        return paths


def _image_quality(matches: Matches) -> float:
    """PQ of one image's segments, all classes together."""
    weight = len(matches.hits) + (len(matches.false) + len(matches.missed)) / 2
    return math.fsum(iou for _, iou in matches.hits) / weight if weight else 1.0


def _png(ids: np.ndarray) -> bytes:
    """COCO's picture of segment ids (H, W): id = R + 256 G + 65536 B."""
    file = io.BytesIO()
    Image.fromarray(panoptic_pixels(ids)).save(file, format="PNG", compress_level=1)
    return file.getvalue()
