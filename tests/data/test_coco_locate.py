from __future__ import annotations

from pathlib import Path

import pytest
from coco_builder import caption, classes, image, instances, split, thing, write

from yolor_mtl.data.coco import find_splits, open_coco, resolve_split
from yolor_mtl.records import UserError

ONE = instances([image(1)], [thing(1, 1)])
TOLD = {"images": [image(1)], "annotations": [caption(1, "One.")]}


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("available", "asked", "expected"),
    [
        (["train", "train2017"], "train", "train"),
        (["train2017", "val2017"], "train", "train2017"),
        (["train", "valid", "test"], "val", "valid"),
        (["train2017", "val2017"], "val2017", "val2017"),
    ],
)
def test_resolving_a_split(available: list[str], asked: str, expected: str) -> None:
    assert resolve_split(available, asked) == expected


@pytest.mark.parametrize(
    ("available", "asked", "part"),
    [
        (["train2014", "train2017"], "train", "train2014, train2017"),
        (["train2017"], "val", "train2017"),
        (["train2017"], "train2", "train2017"),
        (["test2017"], "test", "test2017"),
        ([], "train", "none"),
    ],
)
def test_refused_splits(available: list[str], asked: str, part: str) -> None:
    with pytest.raises(UserError, match=part):
        resolve_split(available, asked)


@pytest.mark.parametrize("folder", ["train2017", "images/train2017"])
def test_coco(tmp_path: Path, folder: str) -> None:
    for name in ("instances", "captions", "panoptic", "stuff", "person_keypoints", "instances_masks", "image_info"):
        write(tmp_path / f"annotations/{name}_train2017.json", "{}")
    for name in (folder, "annotations/panoptic_train2017", "stuffthingmaps/train2017", "test2017", "docs"):
        (tmp_path / name).mkdir(parents=True)
    splits = find_splits(tmp_path)
    assert list(splits) == ["train2017"]
    files = splits["train2017"]
    annotations = tmp_path / "annotations"
    assert files.images == tmp_path / folder
    assert files.annotation_files() == {
        kind: annotations / f"{kind}_train2017.json" for kind in ("instances", "panoptic", "captions", "stuff")
    }
    assert files.panoptic_maps == annotations / "panoptic_train2017"
    assert files.stuff_maps == tmp_path / "stuffthingmaps/train2017"


@pytest.mark.parametrize("folder", ["images", ".", "annotations"])
def test_one_folder_of_images_for_all_splits(tmp_path: Path, folder: str) -> None:
    picture(tmp_path / folder / "000001.jpg")
    write(tmp_path / "annotations/instances_train.json", ONE)
    write(tmp_path / "annotations/instances_val.json", ONE)
    splits = find_splits(tmp_path)
    assert list(splits) == ["train", "val"]
    assert open_coco(tmp_path, ["val"], cache=False).annotations(0).path.is_file()


def test_annotations_beside_the_folders(tmp_path: Path) -> None:
    write(tmp_path / "instances_train.json", ONE)
    (tmp_path / "train").mkdir()
    assert find_splits(tmp_path)["train"].instances == tmp_path / "instances_train.json"


def test_the_real_sample_has_no_split_of_partial_files(shared: Path) -> None:
    assert list(find_splits(shared / "coco_real")) == ["train2017r", "val2017r"]


def yaml_file(root: Path, text: str) -> Path:
    split(root / "set", "train2017", instances=ONE)
    split(root / "set", "val2017", instances=ONE, captions=TOLD)
    return write(root / "data.yaml", text)


@pytest.mark.parametrize("names", ["", "names: [cat]", "names: {0: cat}", "names: {1: cat}", "names: null"])
@pytest.mark.parametrize("place", ["train2017", "images/train2017", "./images/train2017/"])
def test_yaml(tmp_path: Path, place: str, names: str) -> None:
    path = yaml_file(tmp_path, f"path: set\ntrain: {place}\nval: val2017\nnc: 1\n{names}\n")
    splits = find_splits(path)
    assert list(splits) == ["train", "val"]
    assert splits["train"].images == tmp_path / "set/images/train2017"
    dataset = open_coco(path, ["val"], cache=False)
    assert dataset.split_names == ("val",)
    assert dataset.counts["captions"] == 1


def test_yaml_beside_its_data_and_with_an_absolute_path(tmp_path: Path) -> None:
    split(tmp_path, "train", instances=ONE)
    assert list(find_splits(write(tmp_path / "a.yml", "train: train"))) == ["train"]
    assert list(find_splits(write(tmp_path / "b.yaml", f"path: {tmp_path}\ntrain: train"))) == ["train"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("path: [", "is not YAML"),
        ("- a", "holds a list"),
        ("path: nowhere\ntrain: train2017", "no such folder"),
        ("path: 3\ntrain: train2017", "path must be a folder"),
        ("path: set", "names no split"),
        ("path: set\ntrain: train2016", "train: 'train2016' is no split"),
        ("path: set\ntrain: [train2017, val2017]", "train: expected one split"),
        ("path: set\ntrain: train2017\nnames: [dog]", "names: disagree"),
        ("path: set\ntrain: train2017\nnames: [cat, dog]", "dog"),
        ("path: set\ntrain: train2017\nnames: cat", "names: expected a list"),
        ("path: set\ntrain: train2017\nnames: [1]", "names: expected a list"),
    ],
)
def test_refused_yaml(tmp_path: Path, text: str, part: str) -> None:
    path = yaml_file(tmp_path, text)
    with pytest.raises(UserError) as caught:
        open_coco(path, ["train"], cache=False)
    assert part in str(caught.value)
    assert "data.yaml" in str(caught.value)


def test_names_in_another_order_are_refused(tmp_path: Path) -> None:
    split(tmp_path, "train", instances=instances([image(1)], [], classes(cat=1, dog=2)))
    path = write(tmp_path / "data.yaml", "train: train\nnames: [dog, cat]")
    with pytest.raises(UserError, match="their order"):
        open_coco(path, ["train"], cache=False)
