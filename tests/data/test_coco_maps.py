from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from coco_builder import Json, caption, classes, image, instances, panoptic_png, png, split, thing
from PIL import Image

from yolor_mtl.data.coco import CocoDataset, open_coco, panoptic_map, semantic_map
from yolor_mtl.data.coco_stuff_classes import coco_stuff_classes
from yolor_mtl.records import IGNORE, UserError


def panoptic_file(*segments: Json) -> Json:
    return {
        "images": [image(1)],
        "annotations": [{"image_id": 1, "file_name": "000001.png", "segments_info": list(segments)}],
        "categories": [
            {"id": 200, "name": "rug", "isthing": 0},
            {"id": 5, "name": "dog", "isthing": 1},
        ],
    }


@pytest.fixture
def panoptic_set(tmp_path: Path) -> Path:
    segments = [
        {"id": 258, "category_id": 5, "iscrowd": 1, "area": 1},
        {"id": 2**24 - 1, "category_id": 200, "iscrowd": 0, "area": 1},
    ]
    return split(tmp_path, "train", panoptic=panoptic_file(*segments))


def opened(root: Path) -> CocoDataset:
    return open_coco(root, ["train"], cache=False)


def test_panoptic(panoptic_set: Path) -> None:
    ids = np.zeros((30, 40), int)
    ids[3, 4], ids[5:, 10:], ids[0, 0] = 258, 2**24 - 1, 77  # 77: no such segment
    panoptic_png(panoptic_set / "annotations/panoptic_train/000001.png", ids)
    dataset = opened(panoptic_set)
    labels = dataset.annotations(0)
    found = panoptic_map(labels)
    assert found.dtype == np.int32
    assert np.array_equal(found, ids)
    semantic = semantic_map(labels, dataset.space)
    assert semantic.dtype == np.uint8
    assert semantic[3, 4] == 0  # a crowd keeps its class
    assert (semantic[5:, 10:] == 1).all()
    assert semantic[0, 0] == semantic[29, 0] == IGNORE


def test_panoptic_without_segments(tmp_path: Path) -> None:
    root = split(tmp_path, "train", panoptic=panoptic_file())
    panoptic_png(root / "annotations/panoptic_train/000001.png", np.zeros((30, 40), int))
    dataset = opened(root)
    assert (semantic_map(dataset.annotations(0), dataset.space) == IGNORE).all()


def test_panoptic_of_the_real_sample_equals_the_areas_of_its_json(shared: Path) -> None:
    dataset = open_coco(shared / "coco_sample", ["val2017"], cache=False)
    for index in range(10):
        labels = dataset.annotations(index)
        assert labels.panoptic is not None
        ids = panoptic_map(labels)
        semantic = semantic_map(labels, dataset.space)
        assert set(np.unique(ids)) - {0} == {segment.id for segment in labels.panoptic.segments}
        assert ((semantic == IGNORE) == (ids == 0)).all()
        for segment in labels.panoptic.segments:
            assert (ids == segment.id).sum() == segment.area
            assert (semantic[ids == segment.id] == segment.category).all()


def test_broken_maps(panoptic_set: Path) -> None:
    path = panoptic_set / "annotations/panoptic_train/000001.png"
    path.parent.mkdir()
    dataset = opened(panoptic_set)
    labels = dataset.annotations(0)

    def refusal() -> str:
        with pytest.raises(UserError) as caught:
            semantic_map(labels, dataset.space)
        assert str(path) in str(caught.value)
        return str(caught.value)

    assert "missing" in refusal()
    panoptic_png(path, np.zeros((31, 40), int))
    assert "40 x 31" in refusal()
    png(path, np.zeros((30, 40)))
    assert "mode L" in refusal()
    panoptic_png(path, np.random.default_rng(0).integers(0, 2**24, (30, 40)))
    path.write_bytes(path.read_bytes()[:500])
    assert "cannot be read" in refusal()


COCO_THINGS = classes(person=1, toothbrush=90)


def test_coco_stuff_classes() -> None:
    known = {category.id: category for category in coco_stuff_classes()}
    assert len(known) == 171
    assert sum(category.isthing for category in known.values()) == 80
    assert (known[1].name, known[90].name, known[92].name, known[182].name) == (
        "person",
        "toothbrush",
        "banner",
        "wood",
    )
    assert not set(known) & {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91, 183}


@pytest.mark.parametrize("place", ["stuffthingmaps/train", "annotations/stuffthingmaps/train"])
@pytest.mark.parametrize("named", [False, True])
def test_coco_stuff(tmp_path: Path, place: str, named: bool) -> None:
    files = {"instances": instances([image(1), image(2)], [thing(1, 1)], COCO_THINGS)}
    if named:
        files["stuff"] = {
            "images": [image(1), image(2)],
            "annotations": [{"anything": 1}],
            "categories": [*classes(banner=92, wood=182), {"id": 183, "name": "other"}],
        }
    split(tmp_path, "train", **files)
    pixels = np.full((30, 40), 255)
    pixels[0], pixels[1], pixels[2], pixels[3], pixels[4] = 0, 89, 91, 181, 11  # 11: street sign, not in the 171
    png(tmp_path / place / "000001.png", pixels)
    dataset = opened(tmp_path)
    assert dataset.space.semantic_protocol == "coco-stuff-171"
    assert dataset.space.semantic == coco_stuff_classes()
    assert dataset.counts["stuff"] == 1
    labels = dataset.annotations(0)
    assert labels.stuff_map == tmp_path / place / "000001.png"
    assert dataset.annotations(1).stuff_map is None
    found = semantic_map(labels, dataset.space)
    names = dataset.space.semantic_names
    assert [names[found[row, 0]] for row in range(4)] == ["person", "toothbrush", "banner", "wood"]
    assert (found[4:] == IGNORE).all()
    with pytest.raises(ValueError, match="no semantic label"):
        semantic_map(dataset.annotations(1), dataset.space)


def test_own_stuff_classes(tmp_path: Path) -> None:
    stuff = {"images": [image(1)], "annotations": [], "categories": classes(grass=9)}
    split(tmp_path, "train", instances=instances([image(1)], [], classes(cow=4)), stuff=stuff)
    png(tmp_path / "stuffthingmaps/train/000001.png", np.full((30, 40), 8))
    dataset = opened(tmp_path)
    assert dataset.space.semantic_protocol == "stuff-2"
    assert dataset.space.semantic_names == ("cow", "grass")
    assert (semantic_map(dataset.annotations(0), dataset.space) == 1).all()


@pytest.mark.parametrize("stuff", [None, classes(cow=9), classes(grass=4)])
def test_refused_stuff_classes(tmp_path: Path, stuff: list[Json] | None) -> None:
    files = {"stuff": {"images": [], "annotations": [], "categories": stuff}} if stuff else {}
    split(tmp_path, "train", instances=instances([image(1)], [], classes(cow=4)), **files)
    png(tmp_path / "stuffthingmaps/train/000001.png", np.full((30, 40), 8))
    with pytest.raises(UserError, match="stuff"):
        opened(tmp_path)


def test_maps_of_images_in_folders(tmp_path: Path) -> None:
    content = {"images": [image(1, name="a/b.x.jpg")], "annotations": [caption(1, "x")]}
    split(tmp_path, "train", captions=content)
    png(tmp_path / "stuffthingmaps/train/a/b.x.png", np.full((30, 40), 0))
    assert opened(tmp_path).counts["stuff"] == 1


def test_panoptic_speaks_before_the_stuff_map(panoptic_set: Path) -> None:
    ids = np.full((30, 40), 258)
    panoptic_png(panoptic_set / "annotations/panoptic_train/000001.png", ids)
    png(panoptic_set / "stuffthingmaps/train/000001.png", np.full((30, 40), 199))
    dataset = opened(panoptic_set)
    labels = dataset.annotations(0)
    assert labels.stuff_map is not None
    assert (semantic_map(labels, dataset.space) == 0).all()


def test_a_palette_map_is_read_by_its_indices(tmp_path: Path) -> None:
    split(tmp_path, "train", captions={"images": [image(1)], "annotations": []})
    path = tmp_path / "stuffthingmaps/train/000001.png"
    path.parent.mkdir(parents=True)
    picture = Image.fromarray(np.full((30, 40), 91, np.uint8), mode="P")
    picture.putpalette([7] * 768)
    picture.save(path)
    dataset = opened(tmp_path)
    names = dataset.space.semantic_names
    assert names[semantic_map(dataset.annotations(0), dataset.space)[0, 0]] == "banner"


def test_one_kind_of_labels_where_there_are_both(tmp_path: Path) -> None:
    """A whole COCO folder has panoptic labels and COCO-Stuff maps; each is a protocol of its own."""
    stuff = [{"id": 184, "name": "tree-merged", "isthing": 0, "supercategory": "plant"}]
    segment = {"id": 5, "category_id": 184, "iscrowd": 0, "area": 1200, "bbox": [0, 0, 40, 30]}
    label = {"image_id": 1, "file_name": "000001.png", "segments_info": [segment]}
    things = [entry | {"isthing": 1} for entry in COCO_THINGS]
    split(
        tmp_path,
        "train",
        instances=instances([image(1)], [thing(1, 1)], COCO_THINGS),
        panoptic={"images": [image(1)], "annotations": [label], "categories": things + stuff},
    )
    panoptic_png(tmp_path / "annotations/panoptic_train/000001.png", np.full((30, 40), 5))
    png(tmp_path / "stuffthingmaps/train/000001.png", np.full((30, 40), 168))
    found = {}
    for maps in ("auto", "panoptic", "stuff"):
        dataset = open_coco(tmp_path, ["train"], cache=False, maps=maps)
        labels = dataset.annotations(0)
        name = dataset.space.semantic_names[semantic_map(labels, dataset.space)[0, 0]]
        found[maps] = (dataset.space.semantic_protocol, name, labels.panoptic is not None)
    assert found["auto"] == found["panoptic"] == ("panoptic-3", "tree-merged", True)
    assert found["stuff"] == ("coco-stuff-171", "tree", False)
    with pytest.raises(UserError, match=r"maps='stuf'.*did you mean 'stuff'"):
        open_coco(tmp_path, ["train"], maps="stuf")
    shutil.rmtree(tmp_path / "stuffthingmaps")
    with pytest.raises(UserError, match=r"maps=stuff: .* has no such labels; put them into stuffthingmaps"):
        open_coco(tmp_path, ["train"], cache=False, maps="stuff")
