"""Pictures whose pixels tell what their labels must say: as samples, and as a data set on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import coco_builder as coco
import numpy as np
import tiny
import torch
from torch import Tensor
from torchvision import tv_tensors

from yolor_mtl.ops.frame import GREY
from yolor_mtl.records import Sample

Extent = tuple[float, float, float, float]
"""xyxy, pixels."""

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
"""Colours of objects by number; their backgrounds are black, what no picture covers is grey."""

WIDTH, HEIGHT = 40, 30
"""Size of the data set's pictures."""

BOX = (2, 3, 12, 11)
"""Where :func:`coco_builder.thing` puts its object, xyxy."""


def drawn(shape: tuple[int, int], box: tuple[int, int, int, int], number: int = 0, **more: Any) -> Sample:
    """A black picture of (height, width) with one object, a rectangle of its number's colour and of class ``number``.

    Its semantic classes are ``2 * number + 1`` in the rectangle and ``2 * number`` around it. ``more`` replaces
    fields of the sample.
    """
    left, top, right, bottom = box
    inside = torch.zeros(shape, dtype=torch.uint8)
    inside[top:bottom, left:right] = 1
    table: dict[str, Tensor] = {
        "boxes": tv_tensors.BoundingBoxes(torch.tensor([box], dtype=torch.float32), format="XYXY", canvas_size=shape),
        "classes": torch.tensor([number]),
        "crowd": torch.tensor([False]),
        "masks": tv_tensors.Mask(inside[None]),
        "has_mask": torch.tensor([True]),
    }
    image = tv_tensors.Image(inside * torch.tensor(COLOURS[number], dtype=torch.uint8)[:, None, None])
    fields: dict[str, Any] = {
        "objects": table,
        "maps": {"semantic": tv_tensors.Mask((inside + 2 * number)[None])},
        "texts": {"captions": ("a rectangle",)},
    }
    return Sample(image, "vision", **fields | more)


def painted(image: Tensor) -> np.ndarray:
    """(H, W) number of the object whose colour a pixel has to more than half; -1 background, -2 nothing there."""
    pixels = image.as_subclass(Tensor).permute(1, 2, 0).numpy()
    numbers = np.full(pixels.shape[:2], -1)
    for number, colour in enumerate(COLOURS):
        numbers[((pixels >= 128) == (np.array(colour) > 0)).all(-1)] = number
    numbers[(pixels == GREY).all(-1)] = -2
    return numbers


def extent(pixels: Any) -> Extent:
    """The smallest box around what is true in (H, W)."""
    ys, xs = np.nonzero(np.asarray(pixels))
    return float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)


def write_set(root: Path, pictures: Iterable[str], name: str = "train") -> Path:
    """A split on disk whose k-th picture (id k + 1) is labelled for what its letters say; its classes are `tiny`'s.

    Letters: ``b`` boxes, one dog; ``m`` its mask; ``e`` boxes, but no object; ``p`` panoptic; ``c`` captions;
    ``x`` a picture that cannot be read. The object is a red rectangle; the background is black where objects are
    known, blue where they are not. Those with known objects come first: that is the reader's order.
    """
    kinds = list(pictures)
    (root / "annotations" / f"panoptic_{name}").mkdir(parents=True)
    images = {kind: [] for kind in "bcp"}
    objects, texts, panoptic = [], [], []
    for number, kind in enumerate(kinds, start=1):
        entry = coco.image(number, width=WIDTH, height=HEIGHT, name=f"{number:06}.png")
        known = bool(set("be") & set(kind))
        for key, is_there in (("b", known), ("p", True), ("c", True)):
            if is_there:
                images[key].append(entry)
        _paint(root / "images" / name / entry["file_name"], kind, known)
        if "b" in kind:
            thing = coco.thing(number, number)
            objects.append(thing if "m" in kind else {k: v for k, v in thing.items() if k != "segmentation"})
        if "p" in kind:
            panoptic.append(_segments(root, name, number, "b" in kind))
        if "c" in kind:
            texts += [coco.caption(number, text) for text in tiny.CAPTIONS[:2]]
    things, semantic = tiny.space().things, tiny.space().semantic
    named = [{"id": c.id, "name": c.name} for c in things]
    rows = [{"id": c.id, "name": c.name, "isthing": int(c.isthing)} for c in semantic]
    files = {
        "instances": coco.instances(images["b"], objects, named),
        "captions": {"images": images["c"], "annotations": texts},
        "panoptic": {"images": images["p"], "annotations": panoptic, "categories": rows},
    }
    return coco.split(root, name, **files)


def _inside() -> np.ndarray:
    inside = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    inside[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 1
    return inside


def _paint(path: Path, kind: str, known: bool) -> None:
    if "x" in kind:
        coco.write(path, "no picture")
        return
    pixels = np.zeros((HEIGHT, WIDTH, 3))
    pixels[..., 2] = 0 if known else 255
    if "b" in kind:
        pixels[_inside() == 1] = COLOURS[0]
    coco.png(path, pixels)


def _segments(root: Path, name: str, number: int, has_object: bool) -> dict[str, Any]:
    """Segment 1 is the dog, segment 2 grass all around it."""
    ids = 2 - _inside() if has_object else np.full((HEIGHT, WIDTH), 2)
    coco.panoptic_png(root / "annotations" / f"panoptic_{name}" / f"{number}.png", ids.astype(int))
    rows = [(1, 1)] * has_object + [(2, 4)]
    segments = [{"id": place, "category_id": category, "area": int((ids == place).sum())} for place, category in rows]
    return {"image_id": number, "file_name": f"{number}.png", "segments_info": segments}
