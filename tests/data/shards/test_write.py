"""Packed and read again: the same pictures, maps and labels; and WebDataset reads the shards as well."""

from __future__ import annotations

import io
import json
from pathlib import Path

import coco_builder as coco
import numpy as np
import pytest
import shelf
import webdataset
from drawn import write_set
from PIL import Image

from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.loader import checked_image
from yolor_mtl.data.locate import find_layout
from yolor_mtl.data.semantic_maps import panoptic_map
from yolor_mtl.data.shards.write import write_shards
from yolor_mtl.records import UserError

KINDS = ["bmpc", "bc", "ep", "c", "bm"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = write_set(tmp_path / "loose", KINDS)
    for name in ("000001.png", "000004.png"):
        path = root / "stuffthingmaps" / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((30, 40), int(name[5]), dtype=np.uint8)).save(path)
    return root


def _whole(data: CocoDataset, index: int) -> dict[str, object]:
    """All that is known of a picture, but where it lies."""
    labels = data.annotations(index)
    found: dict[str, object] = {
        "id": labels.image_id,
        "name": labels.path.name,
        "pixels": checked_image(labels).numpy().tobytes(),
        "objects": labels.objects,
        "captions": labels.captions,
        "stuff": labels.stuff_map.name if labels.stuff_map else None,
    }
    if labels.panoptic is not None:
        found["panoptic"] = (labels.panoptic.segments, panoptic_map(labels).tobytes())
    return found


def test_the_same_data(source: Path, tmp_path: Path) -> None:
    packed = shelf.pack(source, tmp_path / "packed", size=4000)
    loose, shards = open_coco(source, ["train"], cache=False), open_coco(packed, ["train"], cache=False)
    assert loose.counts == shards.counts
    assert loose.counts["stuff"] == 2
    for index in range(len(KINDS)):
        assert _whole(loose, index) == _whole(shards, index)
    assert not (packed / "images").exists()


def test_webdataset_reads_them(source: Path, tmp_path: Path) -> None:
    packed = shelf.pack(source, tmp_path / "packed")
    tars = sorted(str(path) for path in (packed / "shards" / "train").glob("*.tar"))
    assert len(tars) == len(KINDS)
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert len({sample["__key__"] for sample in samples}) == len(KINDS)
    for sample in samples:
        told = json.loads(sample["json"])
        picture = Image.open(io.BytesIO(sample["png"]))
        assert picture.tobytes() == Image.open(source / "images" / "train" / told["file_name"]).tobytes()
        kind = KINDS[told["image_id"] - 1]
        assert ("panoptic.png" in sample) == ("p" in kind)
        assert bool(told["captions"]) == ("c" in kind)


def test_the_same_bytes_again(source: Path, tmp_path: Path) -> None:
    first, second = (shelf.pack(source, tmp_path / name, size=4000) for name in ("a", "b"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) > 4
    for path in files:
        assert (first / path).read_bytes() == (second / path).read_bytes()


def test_a_missing_picture_is_told(source: Path, tmp_path: Path) -> None:
    gone = source / "images" / "train" / "000002.png"
    gone.unlink()
    packed = write_shards(find_layout(source), tmp_path / "packed", 10**6)
    assert packed["train"].failures == {str(gone): "No such file or directory"}
    data = open_coco(tmp_path / "packed", ["train"], cache=False)
    names = [data.annotations(index).path.name for index in range(len(data))]
    assert len(names) == len(KINDS)
    with pytest.raises(Exception, match="no such file"):
        checked_image(data.annotations(names.index("000002.png")))


@pytest.mark.parametrize("names", [{"widget": 1}, {"cat": 17, "dog": 18}], ids=["own classes", "COCO's classes"])
def test_boxes_alone(tmp_path: Path, names: dict[str, int]) -> None:
    """No pixel maps appear where there were none."""
    images = [coco.image(1)]
    objects = [coco.thing(1, 1, next(iter(names.values())))]
    root = coco.split(tmp_path / "loose", "train", instances=coco.instances(images, objects, coco.classes(**names)))
    Image.new("RGB", (40, 30)).save(root / "images" / "train" / "000001.jpg")
    packed = open_coco(shelf.pack(root, tmp_path / "packed"), ["train"], cache=False)
    assert packed.space == open_coco(root, ["train"], cache=False).space
    assert packed.counts["stuff"] == 0


def test_strange_names(tmp_path: Path) -> None:
    """Folders, dots, endings that are none of a picture's, and two entries of one file."""
    files = ["./a.b.jpg", "x//y.JPG", "ü %d.jpg", "z._jpg", "w.json", "x//y.JPG"]
    images = [coco.image(number, name=name) for number, name in enumerate(files, 1)]
    objects = [coco.thing(number, number) for number in range(1, len(files) + 1)]
    root = coco.split(tmp_path / "loose", "train", instances=coco.instances(images, objects))
    for number, name in enumerate(files):
        path = root / "images" / "train" / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (number, 0, 0)).save(path, format="JPEG")
    loose = open_coco(root, ["train"], cache=False)
    packed = open_coco(shelf.pack(root, tmp_path / "%d packed"), ["train"], cache=False)
    assert packed.groups is not None
    assert len(set(packed.groups.tolist())) == 5
    for index in range(len(files)):
        one, other = (checked_image(data.annotations(index)) for data in (loose, packed))
        assert np.array_equal(one.numpy(), other.numpy())


def test_a_split_without_pictures_is_left_out(source: Path, tmp_path: Path) -> None:
    write_set(source, ["bc"], name="test")
    gone = source / "images" / "test" / "000001.png"
    gone.unlink()
    found = write_shards(find_layout(source), tmp_path / "packed", 10**6)
    assert (found["test"].files, list(found["test"].failures)) == (0, [str(gone)])
    assert list(find_layout(tmp_path / "packed").splits) == ["train"]


@pytest.mark.parametrize("what", ["holds something", "is a file", "shards already", "roboflow"])
def test_refused(source: Path, tmp_path: Path, what: str) -> None:
    out = tmp_path / "packed"
    if what == "holds something":
        (out / "x").mkdir(parents=True)
    elif what == "is a file":
        out.write_text("x")
    elif what == "shards already":
        source = shelf.pack(source, tmp_path / "first")
    else:
        annotations = (source / "annotations" / "instances_train.json").read_bytes()
        source = tmp_path / "roboflow"
        (source / "train").mkdir(parents=True)
        (source / "train" / "_annotations.coco.json").write_bytes(annotations)
    with pytest.raises(UserError, match={"shards already": "already", "roboflow": "COCO's layout"}.get(what, "empty")):
        write_shards(find_layout(source), out, 10**6)


def test_nothing_half_stays(source: Path, tmp_path: Path) -> None:
    def stop(pictures: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(find_layout(source), tmp_path / "out" / "packed", 10**6, stop)
    assert not list((tmp_path / "out").iterdir())
    # A folder that was there may be a disk of its own, and stays.
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_shards(find_layout(source), tmp_path / "there", 10**6, stop)
    assert not list((tmp_path / "there").iterdir())
