"""How much two runs of the same pictures agree: raw outputs value by value, and answers as users see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from yolor_mtl.inference.result import Result
from yolor_mtl.ops.boxes import iou
from yolor_mtl.records import Outputs


@dataclass(frozen=True)
class Agreement:
    """Means over pictures that can show it; ``None`` where none can.

    Attributes:
        pictures: how many were compared.
        boxes: number of the first run's boxes.
        box_iou: overlap of each of the first run's boxes with the second's best of the same class; 0 without one.
        mask_iou: of their masks.
        semantic: share of pixels with the same class.
        panoptic: share of pixels where both say the same class.
        captions: share of pictures with the same caption.
    """

    pictures: int
    boxes: int
    box_iou: float | None
    mask_iou: float | None
    semantic: float | None
    panoptic: float | None
    captions: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        """By name."""
        return asdict(self)


def compare(first: Sequence[Result], second: Sequence[Result]) -> Agreement:
    """What two runs of the same pictures in the same order have in common; the first is what the second should be."""
    boxes: list[float] = []
    masks: list[float] = []
    maps: list[float] = []
    panoptic: list[float] = []
    captions: list[float] = []
    for one, other in zip(first, second, strict=True):
        if one.boxes is not None and other.boxes is not None:
            places, overlaps = _partners(one, other)
            boxes += overlaps.tolist()
            if one.masks is not None and other.masks is not None:
                masks += _mask_overlaps(one.masks.data, other.masks.data, places.tolist())
        if one.semantic is not None and other.semantic is not None:
            maps.append(float((one.semantic == other.semantic).float().mean()))
        if one.panoptic is not None and other.panoptic is not None:
            panoptic.append(float((_classes(one.panoptic) == _classes(other.panoptic)).mean()))
        if one.caption is not None:
            captions.append(float(one.caption == other.caption))
    means = (_mean(values) for values in (boxes, masks, maps, panoptic, captions))
    return Agreement(len(first), len(boxes), *means)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _partners(one: Result, other: Result) -> tuple[Tensor, Tensor]:
    """For each box its best partner of the same class, -1 without one, and their overlap (N,)."""
    assert one.boxes is not None
    assert other.boxes is not None
    if not len(one.boxes.cls) or not len(other.boxes.cls):
        return torch.full((len(one.boxes.cls),), -1), torch.zeros(len(one.boxes.cls))
    overlaps = iou(one.boxes.xyxy[:, None].double(), other.boxes.xyxy[None].double(), eps=0.0).nan_to_num()
    overlaps = overlaps * (one.boxes.cls[:, None] == other.boxes.cls[None])
    best, places = overlaps.max(dim=1)
    return torch.where(best > 0, places, -1), best


def _mask_overlaps(first: Tensor, second: Tensor, partners: Sequence[int]) -> list[float]:
    found = []
    for mask, partner in zip(first, partners, strict=True):
        if partner < 0:
            found.append(0.0)
            continue
        either = int((mask | second[partner]).sum())
        found.append(int((mask & second[partner]).sum()) / either if either else 1.0)
    return found


def _classes(panoptic: Mapping[str, object]) -> np.ndarray:
    """(H, W) semantic class of each pixel, -1 for void."""
    ids = np.asarray(panoptic["map"])
    segments: Sequence[Mapping[str, int]] = panoptic["segments"]  # type: ignore[assignment]
    table = np.full(max([0, *(segment["id"] for segment in segments)]) + 1, -1)
    for segment in segments:
        table[segment["id"]] = segment["category"]
    found: np.ndarray = table[ids]
    return found


@dataclass(frozen=True)
class Gap:
    """How far a raw output is off.

    Attributes:
        most: greatest absolute difference of a value.
        scale: greatest absolute value, to compare it with.
    """

    most: float = 0.0
    scale: float = 0.0

    def joined(self, other: Gap) -> Gap:
        """Over both."""
        return Gap(max(self.most, other.most), max(self.scale, other.scale))


def gaps(first: Mapping[str, Outputs], second: Mapping[str, Outputs]) -> dict[str, Gap]:
    """By ``<task>.<output>``, of all that the second run has; the first is what it should be."""
    found: dict[str, Gap] = {}
    for task, outputs in second.items():
        for name, value in outputs.items():
            should, value = first[task][name].float().cpu(), value.float()
            if value.shape != should.shape:
                found[f"{task}.{name}"] = Gap(float("inf"))
            elif value.numel():
                found[f"{task}.{name}"] = Gap(float((should - value).abs().max()), float(should.abs().max()))
    return found
