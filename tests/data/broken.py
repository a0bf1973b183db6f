"""A data set without a fault, and faults to put into it: shared by the tests of what checks, cleans and trains."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import coco_builder as coco
import numpy as np
from PIL import ExifTags, Image
from pycocotools import mask as coco_mask

Json = dict[str, Any]

WIDTH, HEIGHT = 40, 30
FIRST, SECOND = "000001.jpg", "000002.png"
"""Names of the first two training pictures; the others are JPEGs."""

STUFF = 3
"""Category id of the one kind of stuff."""


def clean(root: Path, seed: int = 0, train: int = 4, val: int = 2) -> Path:
    """A data set with all labels, in which nothing is wrong: noise with a cat (polygon) and a dog (RLE) each."""
    rng = np.random.default_rng(seed)
    for split, first, number in (("train", 1, train), ("val", 101, val)):
        _write_split(root, split, range(first, first + number), rng)
    return root


def _write_split(root: Path, split: str, numbers: range, rng: np.random.Generator) -> None:
    images, objects, captions, panoptic = [], [], [], []
    for number in numbers:
        name = f"{number:06}.{'png' if number == 2 else 'jpg'}"
        images.append(coco.image(number, width=WIDTH, height=HEIGHT, name=name))
        path = root / "images" / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path)
        cat, dog = _object(number, 1, rng), _object(number, 2, rng)
        objects += [cat, dog]
        captions += [coco.caption(number, text) | {"id": 2 * number + k} for k, text in enumerate(("a cat", "a dog"))]
        panoptic.append(_panoptic(root, split, number, dog))
    things = coco.classes(cat=1, dog=2)
    rows = [entry | {"isthing": 1} for entry in things] + [{"id": STUFF, "name": "grass", "isthing": 0}]
    coco.split(
        root,
        split,
        instances=coco.instances(images, objects, things),
        captions={"images": images, "annotations": captions},
        panoptic={"images": images, "annotations": panoptic, "categories": rows},
    )


def _object(number: int, category: int, rng: np.random.Generator) -> Json:
    """A rectangle; the cat's is a polygon, the dog's an RLE."""
    x, y = int(rng.integers(0, WIDTH - 12)), int(rng.integers(0, HEIGHT - 10))
    width, height = int(rng.integers(3, 12)), int(rng.integers(3, 10))
    inside = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    inside[y : y + height, x : x + width] = 1
    code = coco_mask.encode(inside)
    right, bottom = x + width, y + height
    polygon = [[x, y, right, y, right, bottom, x, bottom]]
    return coco.thing(
        2 * number + category,
        number,
        category,
        bbox=[x, y, width, height],
        area=width * height,
        segmentation=polygon if category == 1 else {"size": code["size"], "counts": code["counts"].decode()},
    )


def _panoptic(root: Path, split: str, number: int, dog: Json) -> Json:
    """Segment 7 is the dog, segment 8 grass all around it."""
    ids = np.full((HEIGHT, WIDTH), 8)
    ids[coco_mask.decode(dog["segmentation"] | {"counts": dog["segmentation"]["counts"].encode()}) == 1] = 7
    coco.panoptic_png(root / "annotations" / f"panoptic_{split}" / f"{number:06}.png", ids)
    segments = [
        {"id": each, "category_id": category, "iscrowd": 0, "area": int((ids == each).sum())}
        for each, category in ((7, 2), (8, STUFF))
    ]
    return {"image_id": number, "file_name": f"{number:06}.png", "segments_info": segments}


def edit(root: Path, kind: str, change: Callable[[Json], object], split: str = "train") -> None:
    """Changes an annotation file."""
    path = root / "annotations" / f"{kind}_{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@dataclass(frozen=True)
class Broken:
    """A fault.

    Attributes:
        inject: puts it into the clean set.
        check: the finding that names it.
        then: what training does: ``refused`` with the file; ``skipped`` and listed (the picture); ``refused later``
            (the label map, when its turn comes); ``left out`` (the label); ``used`` as it is, or clipped.
        about: what the refusal names beside the file.
    """

    inject: Callable[[Path], object]
    check: str
    then: Literal["refused", "skipped", "refused later", "left out", "used"]
    about: str = ""


def _picture(root: Path, name: str = FIRST) -> Path:
    return root / "images" / "train" / name


def _cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(bytes(content))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.jpg")


def _bomb(path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT")


def _saved_as(path: Path, kind: str, size: tuple[int, int] = (WIDTH, HEIGHT), **more: Any) -> None:
    stream = io.BytesIO()
    pixels = np.random.default_rng(9).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind, **more)
    path.write_bytes(stream.getvalue())


def _on_its_side(path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    _saved_as(path, "JPEG", exif=exif)


def _copy(root: Path, source: str, target: Path) -> None:
    target.write_bytes(_picture(root, source).read_bytes())


PICTURES: Mapping[str, Broken] = {
    "missing": Broken(lambda r: _picture(r).unlink(), "image-missing", "skipped"),
    "a link to nothing": Broken(lambda r: _link_to_nothing(_picture(r)), "image-missing", "skipped"),
    "no bytes": Broken(lambda r: _picture(r).write_bytes(b""), "image-empty", "skipped"),
    "JPEG cut off": Broken(lambda r: _cut(_picture(r), 0.6), "image-truncated", "skipped"),
    "PNG cut off": Broken(lambda r: _cut(_picture(r, SECOND), 0.6), "image-truncated", "skipped"),
    "JPEG cut off in its head": Broken(lambda r: _cut(_picture(r), 0.02), "image-unreadable", "skipped"),
    "PNG damaged": Broken(lambda r: _damage(_picture(r, SECOND)), "image-damaged", "skipped"),
    "a text": Broken(lambda r: _picture(r).write_text("no picture"), "image-unreadable", "skipped"),
    "a folder": Broken(lambda r: _folder(_picture(r)), "image-unreadable", "skipped"),
    "a format that is not read": Broken(lambda r: _saved_as(_picture(r), "ICO"), "image-unreadable", "skipped"),
    "claims to be huge": Broken(lambda r: _bomb(_picture(r, SECOND)), "image-huge", "skipped"),
    "of another size": Broken(lambda r: _saved_as(_picture(r), "JPEG", (41, 30)), "image-size", "skipped"),
    "the other way round": Broken(lambda r: _saved_as(_picture(r), "JPEG", (30, 40)), "image-size", "skipped"),
    "turned by EXIF": Broken(lambda r: _on_its_side(_picture(r)), "image-rotated", "skipped"),
    "PNG named JPEG": Broken(lambda r: _saved_as(_picture(r), "PNG"), "image-type", "used"),
    "there twice": Broken(lambda r: _copy(r, "000003.jpg", _picture(r)), "image-same-bytes", "used"),
    "in two splits": Broken(
        lambda r: _copy(r, "000003.jpg", r / "images" / "val" / "000101.jpg"), "image-in-two-splits", "used"
    ),
}
"""Pictures that are broken or do not belong where they are."""


def label(check: str, then: Any, about: str = "annotation 3", **change: Any) -> Broken:
    """A change to the first object, the cat of image 1."""
    return Broken(
        lambda root: edit(root, "instances", lambda c: c["annotations"][0].update(change)), check, then, about
    )


def coded(check: str, **change: Any) -> Broken:
    """A change to the RLE of the second object, the dog of image 1."""

    def inject(content: Json) -> None:
        content["annotations"][1]["segmentation"].update(change)

    return Broken(lambda root: edit(root, "instances", inject), check, "refused", "annotation 4")


def listed(kind: str, check: str, then: Any, about: str, change: Callable[[Json], object]) -> Broken:
    """A change to an annotation file of the training split."""
    return Broken(lambda root: edit(root, kind, change), check, then, about)


def _again(content: Json, key: str, **more: Any) -> None:
    content[key].append(content[key][0] | more)


def _segment(content: Json, **change: Any) -> None:
    content["annotations"][0]["segments_info"][0].update(change)


def _map(root: Path) -> Path:
    return root / "annotations" / "panoptic_train" / "000001.png"


def _stuff(root: Path, size: tuple[int, int]) -> Path:
    """COCO-Stuff maps of the first picture."""
    path = root / "stuffthingmaps" / "train" / "000001.png"
    coco.png(path, np.zeros((size[1], size[0])))
    images = json.loads((root / "annotations/instances_train.json").read_text())["images"]
    # Panoptic labels come first where both are there.
    for split in ("train", "val"):
        (root / "annotations" / f"panoptic_{split}.json").unlink()
    names = [{"id": 12, "name": "grass"}]
    coco.write(root / "annotations" / "stuff_train.json", {"images": images, "annotations": [], "categories": names})
    return path


BOWTIE = [[2, 2, 12, 12, 12, 2, 2, 12]]

LABELS: Mapping[str, Broken] = {
    "file cut off": Broken(
        lambda r: _cut(r / "annotations/instances_train.json", 0.7), "file-unreadable", "refused", "in the middle"
    ),
    "list missing": listed("instances", "file-unreadable", "refused", "images", lambda c: c.pop("images")),
    "object without category": listed(
        "instances", "entry-broken", "refused", "annotations[0]", lambda c: c["annotations"][0].pop("category_id")
    ),
    "image without width": listed(
        "instances", "entry-broken", "refused", "images[3]", lambda c: c["images"][3].pop("width")
    ),
    "box with NaN": label("box-not-finite", "refused", "NaN", bbox=[1, float("nan"), 5, 5]),
    "box out of range": Broken(
        lambda r: (p := r / "annotations/instances_train.json").write_text(
            p.read_text().replace('"bbox": [', '"bbox": [1e999, 1, 2, 3], "was": [', 1)
        ),
        "box-not-finite",
        "refused",
        "id 3",
    ),
    "box inverted": label("box-inverted", "left out", bbox=[20, 20, -8, -6]),
    "box without area": label("box-empty", "left out", bbox=[5, 5, 0, 6]),
    "box outside": label("box-outside", "left out", bbox=[60, 5, 6, 6]),
    "box leaves": label("box-leaves", "used", bbox=[30, 5, 16, 6]),
    "polygon of two points": label("polygon-short", "used", segmentation=[[1, 1, 5, 5]]),
    "polygon with an odd number": label("polygon-odd", "refused", segmentation=[[1, 1, 5, 1, 5, 5, 1]]),
    "polygon with NaN": label("polygon-not-finite", "refused", "NaN", segmentation=[[1, 1, 5, 1, 5, float("nan")]]),
    "polygon crosses itself": label("polygon-crosses", "used", segmentation=BOWTIE),
    "polygon outside": label("polygon-outside", "used", segmentation=[[1, 1, 50, 1, 50, 20, 1, 20]]),
    "polygon far outside": label("polygon-outside", "used", segmentation=[[1, 1, 1e9, 1, 1e9, 20, 1, 20]]),
    "polygon without area": label("mask-empty", "used", segmentation=[[1, 1, 5, 1, 9, 1]]),
    "segmentation is text": label("segmentation-type", "refused", segmentation="mask"),
    "RLE of another size": coded("rle-size", size=[WIDTH, HEIGHT]),
    "RLE is no code": coded("rle-code", counts="~~~"),
    "RLE with a wrong sum": coded("rle-sum", counts=[100, 50]),
    "category unknown": label("category-unknown", "refused", category_id=77),
    "category twice": listed(
        "instances", "category-duplicate-id", "refused", "category id 1", lambda c: _again(c, "categories", name="cow")
    ),
    "categories collide": Broken(
        lambda r: edit(r, "instances", lambda c: c["categories"][0].update(name="cow"), "val"),
        "category-collides",
        "refused",
        "category 1",
    ),
    "annotation id twice": listed(
        "instances", "annotation-duplicate-id", "used", "", lambda c: c["annotations"][2].update(id=3)
    ),
    "object twice": listed("instances", "object-twice", "used", "", lambda c: _again(c, "annotations", id=99)),
    "image not listed": label("annotation-image-unknown", "refused", image_id=4711),
    "image id twice": listed("instances", "image-duplicate-id", "refused", "image id 1", lambda c: _again(c, "images")),
    "one file, two images": listed("instances", "image-file-twice", "used", "", lambda c: _again(c, "images", id=55)),
    "files disagree": listed(
        "captions", "image-disagrees", "refused", "image 1", lambda c: c["images"][0].update(width=WIDTH + 1)
    ),
    "name leaves the folder": Broken(
        lambda r: [
            edit(r, kind, lambda c: c["images"][0].update(file_name="../../x.jpg"))
            for kind in ("instances", "panoptic", "captions")
        ],
        "image-name",
        "refused",
        "image 1",
    ),
    "caption empty": listed(
        "captions", "caption-empty", "left out", "", lambda c: c["annotations"][0].update(caption=" ")
    ),
    "caption is a number": listed(
        "captions", "caption-type", "refused", "caption", lambda c: c["annotations"][0].update(caption=3)
    ),
    "caption too long": listed(
        "captions", "caption-long", "used", "", lambda c: c["annotations"][0].update(caption="word " * 200)
    ),
    "panoptic folder missing": Broken(
        lambda r: (r / "annotations/panoptic_train").rename(r / "elsewhere"),
        "panoptic-folder",
        "refused",
        "panoptic_train",
    ),
    "panoptic PNG missing": Broken(lambda r: _map(r).unlink(), "panoptic-missing", "refused later"),
    "panoptic PNG cut off": Broken(lambda r: _cut(_map(r), 0.5), "panoptic-unreadable", "refused later"),
    "panoptic PNG grey": Broken(
        lambda r: coco.png(_map(r), np.zeros((HEIGHT, WIDTH))), "panoptic-unreadable", "refused later"
    ),
    "panoptic PNG of another size": Broken(
        lambda r: coco.panoptic_png(_map(r), np.full((HEIGHT, WIDTH + 2), 8)), "panoptic-size", "refused later"
    ),
    "panoptic PNG claims to be huge": Broken(lambda r: _bomb(_map(r)), "panoptic-unreadable", "refused later"),
    "two panoptic labels": listed(
        "panoptic", "panoptic-twice", "refused", "image 1", lambda c: _again(c, "annotations")
    ),
    "segment id twice": listed("panoptic", "segment-twice", "refused", "image 1", lambda c: _segment(c, id=8)),
    "segment of no category": listed(
        "panoptic", "category-unknown", "refused", "segment 7", lambda c: _segment(c, category_id=66)
    ),
    "segment not in the PNG": listed("panoptic", "segment-not-in-png", "used", "", lambda c: _segment(c, id=9)),
    "segment not in the file": listed(
        "panoptic", "segment-not-in-json", "used", "", lambda c: c["annotations"][0]["segments_info"].pop()
    ),
    "segment's area": listed("panoptic", "segment-area", "used", "", lambda c: _segment(c, area=1)),
    "stuff map of another size": Broken(lambda r: _stuff(r, (WIDTH, HEIGHT + 1)), "stuff-size", "refused later"),
    "stuff map cut off": Broken(lambda r: _cut(_stuff(r, (WIDTH, HEIGHT)), 0.5), "stuff-unreadable", "refused later"),
}
"""Labels that are broken."""
