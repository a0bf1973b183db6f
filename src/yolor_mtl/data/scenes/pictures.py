"""One picture with its labels: the files of image and panoptic map, and its entries in COCO's annotation files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from yolor_mtl.data.scenes.grammar import Description, describe
from yolor_mtl.data.scenes.painting import Scene, draw_scene
from yolor_mtl.data.semantic_maps import panoptic_pixels

JPEG_QUALITY = 90
LEAST_STUFF = 24
"""Specks of stuff of fewer pixels stay unlabelled, as in COCO."""

_SPREAD = 10_368_889
"""Odd, so that multiples of it modulo 2**24 never repeat; they make panoptic maps colourful to look at."""

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to make.

    Attributes:
        root: folder of the data set.
        split: name of the split.
        seeds: what the picture follows from.
        image_id: its id, unique in the data set.
    """

    root: Path
    split: str
    seeds: tuple[int, int, int]
    image_id: int


@dataclass(frozen=True, slots=True)
class Labels:
    """A picture's entries in the annotation files.

    Attributes:
        image: entry of ``images``.
        objects: entries of the instances file.
        panoptic: entry of the panoptic file.
        captions: entries of the captions file.
    """

    image: Entry
    objects: list[Entry]
    panoptic: Entry
    captions: list[Entry]


def make_picture(job: Job) -> Labels:
    """Draw a picture, write its two files, return its labels; the same job makes the same bytes everywhere."""
    rng = np.random.default_rng(np.random.SeedSequence(job.seeds))
    scene, description = described_scene(rng)
    height, width = scene.owner.shape
    name = f"{job.image_id:07}"
    kept = [number for number, area in enumerate(scene.areas) if area >= LEAST_STUFF or number in _numbers(scene)]
    ids = {number: (place + 1) * _SPREAD % 2**24 for place, number in enumerate(kept)}
    jpeg = io.BytesIO()
    Image.fromarray(scene.rgb).save(jpeg, "JPEG", quality=JPEG_QUALITY)
    (job.root / job.split / f"{name}.jpg").write_bytes(jpeg.getvalue())
    png = io.BytesIO()
    Image.fromarray(_colors(scene, ids)).save(png, "PNG", compress_level=5)
    (job.root / "annotations" / f"panoptic_{job.split}" / f"{name}.png").write_bytes(png.getvalue())
    image = {
        "id": job.image_id,
        "file_name": f"{name}.jpg",
        "width": width,
        "height": height,
        "setting": scene.setting.name,
        "subject": description.subject,
    }
    captions = [
        {"id": job.image_id * 10 + place, "image_id": job.image_id, "caption": text}
        for place, text in enumerate(description.captions)
    ]
    return Labels(image, _objects(scene, job.image_id), _panoptic(scene, ids, job.image_id, name), captions)


def described_scene(rng: np.random.Generator) -> tuple[Scene, Description]:
    """The first scene that there is enough to say about."""
    while True:
        scene = draw_scene(rng)
        description = describe(scene, rng)
        if description is not None:
            return scene, description


def _numbers(scene: Scene) -> set[int]:
    return {thing.segment for thing in scene.objects}


def _colors(scene: Scene, ids: dict[int, int]) -> NDArray[np.uint8]:
    """The panoptic map, (H, W, 3): id = R + 256 G + 65536 B."""
    table = np.zeros(len(scene.areas), dtype=np.int32)
    table[list(ids)] = list(ids.values())
    return np.asarray(panoptic_pixels(table)[scene.owner])


def _box(x0: int, y0: int, x1: int, y1: int) -> list[int]:
    """COCO's x, y, width, height."""
    return [x0, y0, x1 - x0, y1 - y0]


def _objects(scene: Scene, image_id: int) -> list[Entry]:
    numbers = np.array([thing.segment for thing in scene.objects], dtype=np.int16)
    masks = np.asfortranarray(scene.owner[:, :, None] == numbers, dtype=np.uint8)
    return [
        {
            "id": image_id * 100 + place,
            "image_id": image_id,
            "category_id": thing.kind.id,
            "bbox": _box(*thing.box),
            "area": thing.area,
            "iscrowd": 0,
            "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
            "color": thing.color,
            "occluded": thing.occluded,
        }
        for place, (thing, rle) in enumerate(zip(scene.objects, coco_mask.encode(masks), strict=True))
    ]


def _panoptic(scene: Scene, ids: dict[int, int], image_id: int, name: str) -> Entry:
    boxes = {thing.segment: thing.box for thing in scene.objects}
    segments = []
    for number, value in ids.items():
        box = boxes.get(number) or _extent(scene.owner == number)
        segments.append(
            {
                "id": value,
                "category_id": scene.categories[number],
                "area": scene.areas[number],
                "bbox": _box(*box),
                "iscrowd": 0,
            }
        )
    return {"image_id": image_id, "file_name": f"{name}.png", "segments_info": segments}


def _extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a mask's pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
