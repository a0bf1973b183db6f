"""What the reader refuses, and that the message names the file, the place and the remedy."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_builder import Json, caption, classes, image, instances, split, thing, write

from yolor_mtl.data.coco import open_coco
from yolor_mtl.records import UserError


def refusal(root: Path, *splits: str) -> str:
    with pytest.raises(UserError) as caught:
        open_coco(root, splits or ("train",), cache=False)
    return str(caught.value)


def with_object(**more: Any) -> Json:
    return instances([image(1)], [thing(41, 1, **more)])


def without(key: str, content: Json) -> Json:
    return {name: value for name, value in content.items() if name != key}


CASES: list[tuple[str, Json | str, list[str]]] = [
    ("truncated", json.dumps(with_object())[:-30], ["ends in the middle", "byte"]),
    ("empty file", "", ["ends in the middle", "byte 0"]),
    ("not JSON", '{"images": [],\n "annotations": [NaN]}', ["line 2", "NaN"]),
    ("a list", "[]", ["Expected `object`"]),
    ("no images", without("images", with_object()), ["`images`"]),
    ("no annotations", without("annotations", with_object()), ["`annotations`"]),
    ("no categories", without("categories", with_object()), ["`categories`"]),
    ("unknown category", with_object(category_id=77), ["annotation 41", "category_id 77", "categories"]),
    ("unknown image", instances([image(1)], [thing(41, 9)]), ["annotation 41", "image_id 9", "images"]),
    ("image twice", instances([image(1), image(1)], []), ["image id 1", "twice"]),
    ("category twice", instances([image(1)], [], classes(cat=1) + classes(dog=1)), ["category id 1", "twice"]),
    ("three numbers", with_object(bbox=[1, 2, 3]), ["41", "bbox"]),
    ("five numbers", with_object(bbox=[1, 2, 3, 4, 5]), ["41", "bbox"]),
    ("text in a box", with_object(bbox=[1, 2, "3", 4]), ["41", "bbox[2]"]),
    ("infinite box", json.dumps(with_object(bbox=[1, 2, 3, 4.5])).replace("4.5", "1e999"), ["41", "bbox"]),
    ("no box", instances([image(1)], [without("bbox", thing(41, 1))]), ["41", "bbox"]),
    ("segmentation text", with_object(segmentation="abc"), ["41", "segmentation", "polygons"]),
    ("flat polygon", with_object(segmentation=[1, 2, 3, 4, 5, 6]), ["41", "segmentation", "polygons"]),
    ("odd polygon", with_object(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), ["41", "odd"]),
    ("RLE without size", with_object(segmentation={"counts": [1200]}), ["41", "size"]),
    ("RLE of another size", with_object(segmentation={"size": [40, 30], "counts": [1200]}), ["41", "[30, 40]"]),
    ("RLE too short", with_object(segmentation={"size": [30, 40], "counts": [1100]}), ["41", "1200 pixels"]),
    ("RLE negative", with_object(segmentation={"size": [30, 40], "counts": [1300, -100]}), ["41", "counts"]),
    ("RLE wraps", with_object(segmentation={"size": [30, 40], "counts": [2**63 - 1] * 2 + [1202]}), ["41", "counts"]),
    ("RLE empty", with_object(segmentation={"size": [30, 40], "counts": []}), ["41", "1200 pixels"]),
    ("RLE no code", with_object(segmentation={"size": [30, 40], "counts": "~~ é"}), ["41", "compressed RLE"]),
    ("RLE cut off", with_object(segmentation={"size": [30, 40], "counts": "oP"}), ["41", "RLE"]),
    ("RLE too much", with_object(segmentation={"size": [30, 40], "counts": "ooooooooooo1"}), ["41", "RLE"]),
    ("absolute", instances([image(1, name="/etc/passwd")], []), ["image 1", "/etc/passwd", "relative"]),
    ("drive", instances([image(1, name="C:\\a.jpg")], []), ["image 1", "relative"]),
    ("climbs", instances([image(1, name="../../a.jpg")], []), ["image 1", "relative"]),
    ("climbs later", instances([image(1, name="a/../../b.jpg")], []), ["image 1", "relative"]),
    ("climbs by backslash", instances([image(1, name="..\\a.jpg")], []), ["image 1", "relative"]),
    ("no name", instances([image(1, name=".")], []), ["image 1", "relative"]),
    ("no width", instances([without("width", image(1))], []), ["images[0]", "id 1", "`width`"]),
    ("zero width", instances([image(1, width=0)], []), ["images[0]", "id 1", "width"]),
    ("id as text", instances([image(1) | {"id": "1"}], []), ["images[0]", 'id "1"', "$.id"]),
    ("entry is a number", {**with_object(), "annotations": [3]}, ["annotations[0]", "object"]),
]


@pytest.mark.parametrize(("content", "parts"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_instances_file(tmp_path: Path, content: Json | str, parts: list[str]) -> None:
    split(tmp_path, "train", instances=content)
    message = refusal(tmp_path)
    for part in ["instances_train.json", *parts]:
        assert part in message


def panoptic(**more: Any) -> Json:
    segment = {"id": 5, "category_id": 1, "iscrowd": 0, "area": 3}
    annotation = {"image_id": 1, "file_name": "000001.png", "segments_info": [segment]}
    content = {
        "images": [image(1)],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "cat", "isthing": 1}],
    }
    for place, change in ((segment, "segment"), (annotation, "annotation"), (content, "file")):
        place.update(more.get(change, {}))
    return content


def twice(content: Json, *path: str | int) -> Json:
    place: Any = content
    for key in path:
        place = place[key]
    place.append(place[0])
    return content


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (panoptic(segment={"category_id": 8}), ["image 1", "segment 5", "category_id 8"]),
        (panoptic(segment={"id": 0}), ["annotations[0]", "segments_info[0].id"]),
        (panoptic(annotation={"image_id": 3}), ["image_id 3"]),
        (panoptic(annotation={"file_name": "../x.png"}), ["image 1", "../x.png"]),
        (twice(panoptic(), "annotations"), ["image 1", "two"]),
        (twice(panoptic(), "annotations", 0, "segments_info"), ["image 1", "same id"]),
        (panoptic(file={"categories": [{"id": 1, "name": "cat"}]}), ["isthing"]),
    ],
)
def test_panoptic_file(tmp_path: Path, content: Json, parts: list[str]) -> None:
    split(tmp_path, "train", panoptic=content)
    (tmp_path / "annotations/panoptic_train").mkdir()
    message = refusal(tmp_path)
    for part in ["panoptic_train.json", *parts]:
        assert part in message


def test_panoptic_without_its_folder(tmp_path: Path) -> None:
    split(tmp_path, "train", panoptic=panoptic())
    assert "panoptic_train/" in refusal(tmp_path)


def test_too_many_semantic_classes(tmp_path: Path) -> None:
    many = [{"id": k, "name": f"c{k}", "isthing": 1} for k in range(1, 257)]
    split(tmp_path, "train", panoptic=panoptic(file={"categories": many}))
    (tmp_path / "annotations/panoptic_train").mkdir()
    assert "256 semantic classes" in refusal(tmp_path)


@pytest.mark.parametrize("change", [{"name": "other.jpg"}, {"width": 41}, {"height": 31}])
def test_files_that_disagree_about_an_image(tmp_path: Path, change: Json) -> None:
    captions = {"images": [image(1, **change)], "annotations": [caption(1, "x")]}
    split(tmp_path, "train", instances=with_object(), captions=captions)
    message = refusal(tmp_path)
    assert "instances_train.json" in message
    assert "captions_train.json: image 1" in message


@pytest.mark.parametrize("other", [classes(dog=1), classes(cat=2)])
def test_splits_that_disagree_about_a_class(tmp_path: Path, other: list[Json]) -> None:
    split(tmp_path, "train", instances=with_object())
    split(tmp_path, "val", instances=instances([image(1)], [], other))
    message = refusal(tmp_path)
    assert "instances_train.json" in message
    assert "instances_val.json" in message


def nothing(root: Path) -> Path:
    return root / "absent"


def only_pictures(root: Path) -> Path:
    (root / "train2017").mkdir()
    return root


def no_pictures(root: Path) -> Path:
    write(root / "annotations/instances_train2017.json", with_object())
    return root


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (nothing, ["absent", "no such folder"]),
        (only_pictures, ["no annotations", "annotations/{instances"]),
        (no_pictures, ["instances_train2017.json", "no images", "images/train2017"]),
    ],
)
def test_folders(tmp_path: Path, make: Callable[[Path], Path], parts: list[str]) -> None:
    message = refusal(make(tmp_path))
    for part in parts:
        assert part in message


def test_no_such_split(tmp_path: Path) -> None:
    split(tmp_path, "train2017", instances=with_object())
    assert "train2017" in refusal(tmp_path, "val")
    with pytest.raises(UserError, match="train2017"):
        open_coco(tmp_path, (), cache=False)


def test_garbage_never_ends_in_anything_but_a_refusal(tmp_path: Path) -> None:
    whole = json.dumps(with_object(segmentation={"size": [30, 40], "counts": "oP1"})).encode()
    rng = np.random.default_rng(0)
    path = split(tmp_path, "train", instances=with_object()) / "annotations/instances_train.json"
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(UserError):
            dataset = open_coco(tmp_path, ["train"], cache=False)
            [dataset.annotations(k) for k in range(len(dataset))]
