from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_builder import caption, classes, image, instances, panoptic_png, split, thing, write
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.labels import trainable
from yolor_mtl.ops.masks import decode_segmentation


def opened(root: Path, *splits: str) -> CocoDataset:
    return open_coco(root, splits or ("train",), cache=False)


def everything(dataset: CocoDataset) -> dict[int, Any]:
    return {a.image_id: a for a in map(dataset.annotations, range(len(dataset)))}


def test_an_image_with_all_its_labels(tmp_path: Path) -> None:
    panoptic = {
        "images": [image(7)],
        "annotations": [
            {
                "image_id": 7,
                "file_name": "000007.png",
                "segments_info": [
                    {"id": 300, "category_id": 1, "iscrowd": 1, "area": 12, "bbox": [0, 0, 1, 1]},
                    {"id": 70000, "category_id": 99, "area": 5},
                ],
            }
        ],
        "categories": [{"id": 99, "name": "sky", "isthing": 0}, {"id": 1, "name": "cat", "isthing": 1}],
    }
    captions = {"images": [image(7)], "annotations": [caption(7, "A cat. "), caption(7, "Ein Kätzchen 🐈")]}
    split(tmp_path, "train", instances=instances([image(7)], [thing(5, 7)]), panoptic=panoptic, captions=captions)
    panoptic_png(tmp_path / "annotations/panoptic_train/000007.png", np.zeros((30, 40), int))
    dataset = opened(tmp_path)
    labels = dataset.annotations(0)
    assert (labels.image_id, labels.height, labels.width) == (7, 30, 40)
    assert labels.path == tmp_path / "images/train/000007.jpg"
    assert labels.objects is not None
    assert labels.objects[0].id == 5
    assert labels.objects[0].xyxy == (2.0, 3.0, 12.0, 11.0)
    assert labels.objects[0].area == 80.0
    assert labels.objects[0].segmentation == [[2, 3, 12, 3, 12, 11, 2, 11]]
    assert labels.has_masks
    assert labels.panoptic is not None
    assert labels.panoptic.path == tmp_path / "annotations/panoptic_train/000007.png"
    assert [(s.id, s.category, s.crowd, s.area) for s in labels.panoptic.segments] == [
        (300, 0, True, 12),
        (70000, 1, False, 5),
    ]
    assert labels.captions == ("A cat. ", "Ein Kätzchen 🐈")
    assert list(dataset.captions()) == ["A cat. ", "Ein Kätzchen 🐈"]
    assert dataset.space.semantic_protocol == "panoptic-2"
    assert dataset.space.semantic_names == ("cat", "sky")
    assert dataset.space.thing_to_semantic == (0,)
    with pytest.raises(IndexError):
        dataset.annotations(1)


def test_case_02_category_ids_keep_their_names(tmp_path: Path) -> None:
    categories = [
        {"id": 90, "name": "toothbrush"},
        {"id": 3, "name": "car"},
        {"id": 7, "name": "train"},
    ]
    things = [thing(1, 1, 90), thing(2, 1, 3), thing(3, 1, 7)]
    split(tmp_path, "train", instances=instances([image(1)], things, categories))
    dataset = opened(tmp_path)
    objects = dataset.annotations(0).objects or ()
    assert [category.id for category in dataset.space.things] == [3, 7, 90]
    assert [dataset.space.names[o.category] for o in objects] == ["toothbrush", "car", "train"]


def test_case_02_category_ids_may_start_at_zero(tmp_path: Path) -> None:
    things = [thing(1, 1, 1), thing(2, 1, 0)]
    split(tmp_path, "train", instances=instances([image(1)], things, classes(cat=0, dog=1)))
    dataset = opened(tmp_path)
    assert [dataset.space.names[o.category] for o in dataset.annotations(0).objects or ()] == ["dog", "cat"]


def test_class_lists_are_the_union_over_splits_asked_or_not(tmp_path: Path) -> None:
    split(tmp_path, "train", instances=instances([image(1)], [thing(1, 1, 5)], classes(dog=5)))
    split(tmp_path, "val", instances=instances([image(2)], [thing(2, 2, 2)], classes(cat=2, dog=5)))
    train, val = opened(tmp_path, "train"), opened(tmp_path, "val")
    assert train.space == val.space
    assert train.space.names == ("cat", "dog")
    objects = train.annotations(0).objects or ()
    assert objects[0].category == 1


def three_masks() -> tuple[list[Any], np.ndarray]:
    """A ring and two islands as polygon parts, compressed and uncompressed RLE."""
    outer = [5.0, 5.0, 25.0, 5.0, 25.0, 20.0, 15.0, 20.0, 15.0, 15.0, 20.0, 15.0, 20.0, 10.0, 10.0, 10.0, 10.0, 15.0]
    ring = [*outer, 13.0, 15.0, 13.0, 20.0, 5.0, 20.0]  # cut open at the bottom: a polygon has no holes
    polygons = [ring, [30.0, 2.0, 36.0, 2.0, 36.0, 8.0, 30.0, 8.0], [28.0, 22.0, 38.0, 22.0, 33.0, 28.0]]
    mask = np.asarray(coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, 30, 40))))
    compressed = coco_mask.encode(np.asfortranarray(mask))
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    uncompressed = {"size": [30, 40], "counts": runs if flat[0] == 0 else [0, *runs]}
    return [polygons, {"size": [30, 40], "counts": compressed["counts"].decode()}, uncompressed], mask


def test_case_03_polygons_and_both_rles_give_equal_masks(tmp_path: Path) -> None:
    forms, mask = three_masks()
    crowd = [0, 0, 1]
    things = [
        thing(k, 1, segmentation=form, iscrowd=flag) for k, (form, flag) in enumerate(zip(forms, crowd, strict=True))
    ]
    split(tmp_path, "train", instances=instances([image(1)], things))
    labels = opened(tmp_path).annotations(0)
    assert [o.segmentation for o in labels.objects or ()] == forms  # untouched
    assert [o.crowd for o in labels.objects or ()] == [False, False, True]
    outlines = [np.reshape(part, (-1, 2)) for part in forms[0]]
    area = sum(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 for x, y in (part.T for part in outlines))
    for label in labels.objects or ():
        assert label.segmentation is not None
        found = decode_segmentation(label.segmentation, 30, 40)
        assert np.array_equal(found, mask)
        assert abs(int(found.sum()) - area) <= 1


def test_case_04_images_without_objects_stay(tmp_path: Path) -> None:
    images = [image(k) for k in range(10)]
    split(tmp_path, "train", instances=instances(images, [thing(k, k) for k in range(7)]))
    dataset = opened(tmp_path)
    assert len(dataset) == 10
    assert dataset.counts["empty"] == 3
    assert dataset.counts["boxes"] == dataset.counts["masks"] == 10
    assert dataset.annotations(9).objects == ()
    assert dataset.annotations(9).has_masks


@pytest.mark.parametrize("segmentation", ["absent", None, [], [[]], [[1, 2, 3, 4]]])
def test_an_image_is_labelled_for_masks_only_if_every_object_has_one(tmp_path: Path, segmentation: object) -> None:
    poor = thing(2, 1, segmentation=segmentation)
    if segmentation == "absent":
        del poor["segmentation"]
    split(tmp_path, "train", instances=instances([image(1), image(2)], [thing(1, 1), poor, thing(3, 2)]))
    dataset = opened(tmp_path)
    first, second = dataset.annotations(0), dataset.annotations(1)
    assert not first.has_masks
    assert first.objects is not None
    assert first.objects[0].segmentation is not None
    assert first.objects[1].segmentation is None
    assert second.has_masks
    assert dataset.counts["masks"] == 1


def test_a_short_polygon_beside_a_good_one_is_no_matter(tmp_path: Path) -> None:
    parts = [[1, 1, 2, 2], [2, 3, 12, 3, 12, 11]]
    split(tmp_path, "train", instances=instances([image(1)], [thing(1, 1, segmentation=parts)]))
    labels = opened(tmp_path).annotations(0)
    assert labels.has_masks
    assert labels.objects is not None
    assert labels.objects[0].segmentation == parts


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ([35, 25, 10, 10], (35, 25, 40, 30)),
        ([-5, -5, 10, 10], (0, 0, 5, 5)),
        ([1.5, 2.25, 1e-7, 3], (1.5, 2.25, 1.5 + 1e-7, 5.25)),
        ([5, 5, 0, 10], None),
        ([5, 5, 10, 0], None),
        ([5, 5, -3, 4], None),
        ([40, 0, 5, 5], None),
        ([-9, 0, 5, 5], None),
        ([0, 300, 5, 5], None),
    ],
)
def test_training_clips_boxes_and_leaves_out_those_without_area(
    tmp_path: Path, bbox: list[float], expected: object
) -> None:
    split(tmp_path, "train", instances=instances([image(1)], [thing(1, 1, bbox=bbox), thing(2, 1)]))
    dataset = opened(tmp_path)
    raw = dataset.annotations(0)
    objects = trainable(raw).objects or ()
    if expected is None:
        assert [o.id for o in objects] == [2]
        assert dataset.counts["dropped_boxes"] == 1
    else:
        assert objects[0].xyxy == pytest.approx(expected, abs=0)
        assert dataset.counts["dropped_boxes"] == 0
    x, y, w, h = bbox
    assert [o.xyxy for o in raw.objects or ()] == [(x, y, x + w, y + h), (2.0, 3.0, 12.0, 11.0)]  # as the file has it


def test_area_defaults_to_the_box(tmp_path: Path) -> None:
    label = thing(1, 1)
    del label["area"]
    del label["iscrowd"]
    split(tmp_path, "train", instances=instances([image(1)], [label]))
    objects = opened(tmp_path).annotations(0).objects or ()
    assert objects[0].area == 80.0
    assert not objects[0].crowd


def test_an_image_listed_for_captions_without_one_is_not_labelled(tmp_path: Path) -> None:
    content = {"images": [image(1), image(2), image(3)], "annotations": [caption(2, "Two."), caption(3, "  ")]}
    split(tmp_path, "train", captions=content)
    dataset = opened(tmp_path)
    labels = [dataset.annotations(k) for k in range(3)]
    assert [a.captions for a in labels] == [None, ("Two.",), None]
    assert all(a.objects is None and not a.has_masks for a in labels)
    assert dataset.counts["captions"] == dataset.counts["texts"] == 1
    assert dataset.space.things == ()
    assert dataset.space.semantic_protocol == "none"


def test_several_splits_follow_each_other(tmp_path: Path) -> None:
    split(tmp_path, "train2017", instances=instances([image(1), image(2)], [thing(1, 2)]))
    split(tmp_path, "val2017", instances=instances([image(3)], [thing(1, 3)]))
    dataset = opened(tmp_path, "val2017", "train")
    assert dataset.split_names == ("val2017", "train2017")
    assert [dataset.annotations(k).image_id for k in range(3)] == [3, 1, 2]
    assert dataset.annotations(2).path.parent.name == "train2017"
    assert dataset.counts["images"] == 3
    assert len(opened(tmp_path, "train", "train2017")) == 2


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    split(tmp_path, "train", instances=instances([image(1)], []))
    path = tmp_path / "annotations/instances_train.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(opened(tmp_path)) == 1


def test_roboflows_group_is_no_class(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "plate", "supercategory": "none"},
        {"id": 1, "name": "plate", "supercategory": "plate"},
    ]
    for name in ("train", "valid"):
        content = instances([image(0)], [thing(0, 0, 1)], categories)
        write(tmp_path / name / "_annotations.coco.json", content)
    dataset = opened(tmp_path, "val")
    assert dataset.split_names == ("valid",)
    assert dataset.space.names == ("plate",)
    assert dataset.annotations(0).path == tmp_path / "valid/000000.jpg"


KINDS = ("boxes", "masks", "captions")


@settings(max_examples=40, deadline=None)
@given(
    labels=st.lists(st.sets(st.sampled_from(KINDS)), min_size=1, max_size=8),
    counts=st.lists(st.integers(0, 3), min_size=8, max_size=8),
    seed=st.integers(0, 2**16),
)
def test_any_mixture_of_labels_and_any_order_of_ids(labels: list[set[str]], counts: list[int], seed: int) -> None:
    shuffle = random.Random(seed)
    ids = shuffle.sample(range(10**6), len(labels))
    boxed, told, objects, texts = [], [], [], []
    expected: dict[int, tuple[list[int] | None, bool, list[str] | None]] = {}
    for number, kinds, count in zip(ids, labels, counts, strict=False):
        masks = "masks" in kinds
        mine = None
        if kinds & {"boxes", "masks"}:
            boxed.append(image(number))
            mine = [number * 10 + k for k in range(count)]
            objects += [thing(k, number, **({} if masks else {"segmentation": []})) for k in mine]
        words = None
        if "captions" in kinds:
            told.append(image(number))
            words = [f"{number} {k}" for k in range(count + 1)]
            texts += [caption(number, text) for text in words]
        if mine is not None or words is not None:
            expected[number] = (mine, mine is not None and (masks or not mine), words)
    for entries in (boxed, told, objects):
        shuffle.shuffle(entries)
    with tempfile.TemporaryDirectory() as folder:
        root = split(
            Path(folder),
            "train",
            instances=instances(boxed, objects),
            captions={"images": told, "annotations": texts},
        )
        dataset = opened(root)
        found = {
            number: (
                None if a.objects is None else sorted(o.id for o in a.objects),
                a.has_masks,
                None if a.captions is None else list(a.captions),
            )
            for number, a in everything(dataset).items()
        }
    assert found == expected
    assert dataset.counts["boxes"] == len(boxed)
    assert dataset.counts["captions"] == len(told)


@pytest.mark.parametrize(
    ("root", "name", "expected"),
    [
        ("coco_real", "train2017r", {"images": 2221, "objects": 20964, "boxes": 2221, "masks": 512, "panoptic": 80}),
        ("coco_real", "train2017r", {"captions": 2051, "segments": 918, "texts": 10257, "stuff": 0}),
        ("coco_real", "val2017r", {"images": 555, "objects": 4910, "boxes": 555, "masks": 128, "panoptic": 20}),
        ("coco_real", "val2017r", {"captions": 512, "segments": 160, "texts": 2562, "stuff": 0}),
        ("coco_sample", "val2017", {"images": 100, "objects": 712, "panoptic": 100, "segments": 1078, "texts": 501}),
        ("coco_sample", "train2017", {"images": 50, "objects": 470, "panoptic": 0, "segments": 0, "texts": 250}),
    ],
)
def test_counts_of_the_real_samples(shared: Path, root: str, name: str, expected: dict[str, int]) -> None:
    counts = opened(shared / root, name).counts
    assert {key: counts[key] for key in expected} == expected


def test_both_splits_of_the_real_sample(shared: Path) -> None:
    dataset = opened(shared / "coco_real", "train", "val")
    assert dataset.split_names == ("train2017r", "val2017r")
    assert len(dataset) == 2776
    assert dataset.counts["empty"] == 5
    assert dataset.space.semantic_protocol == "panoptic-133"
    assert sum(c.isthing for c in dataset.space.semantic) == len(dataset.space.things) == 80
    assert all(dataset.annotations(k).path.is_file() for k in range(0, 2776, 25))


@pytest.mark.parametrize("name", ["train2017", "val2017"])
def test_objects_equal_pycocotools(shared: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    reference = COCO(str(shared / f"coco_sample/annotations/instances_{name}.json"))
    dataset = opened(shared / "coco_sample", name)
    for labels in everything(dataset).values():
        wanted = {entry["id"]: entry for entry in reference.imgToAnns[labels.image_id]}
        assert [o.id for o in labels.objects] == list(wanted)
        for label in labels.objects:
            entry = wanted[label.id]
            x, y, w, h = entry["bbox"]
            assert label.xyxy == pytest.approx((x, y, x + w, y + h), abs=1e-2)
            assert dataset.space.things[label.category].id == entry["category_id"]
            assert label.area == entry["area"]
            assert label.crowd == bool(entry["iscrowd"])
            assert label.segmentation == entry["segmentation"]
    some = next(a for a in everything(dataset).values() if a.objects)
    for label in some.objects:
        mask = decode_segmentation(label.segmentation, some.height, some.width)
        assert np.array_equal(mask, reference.annToMask(reference.anns[label.id]))
