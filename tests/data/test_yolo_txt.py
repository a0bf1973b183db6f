"""Labels in text files: what they say equals what a COCO file would, and what is wrong with them is said."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import runs
from coco_builder import classes, image, instances, split, thing, write
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from yolor_mtl.data import coco_index
from yolor_mtl.data.coco import CocoDataset, find_splits, open_coco
from yolor_mtl.data.image import open_upright
from yolor_mtl.records import Annotations, ObjectLabel, UserError

YAML = "train: images/train\nnames: [cat, dog]\n"
BOX = "1 0.5 0.5 0.5 0.5\n"
OUTLINE = "0 0.1 0.1 0.9 0.1 0.5 0.9\n"


def picture(path: Path, width: int = 40, height: int = 20, **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), "gray").save(path, **more)


def yolo(root: Path, labels: dict[str, str | None], text: str = YAML, folder: str = "train") -> Path:
    """A data set with a JPEG for each name and its label file where ``labels`` has a text; its YAML file."""
    for name, content in labels.items():
        picture(root / f"images/{folder}/{name}.jpg")
        if content is not None:
            write(root / f"labels/{folder}/{name}.txt", content)
    return write(root / "data.yaml", text)


def opened(path: Path, *splits: str) -> CocoDataset:
    return open_coco(path, splits or ("train",), cache=False)


def all_labels(dataset: CocoDataset) -> list[Annotations]:
    return [dataset.annotations(k) for k in range(len(dataset))]


def test_boxes_and_outlines_in_pixels(tmp_path: Path) -> None:
    dataset = opened(yolo(tmp_path, {"a": BOX, "b": OUTLINE, "c": f"{OUTLINE}\n{BOX}", "d": "", "e": None}))
    a, b, c, d, e = all_labels(dataset)
    assert (a.image_id, a.path, a.height, a.width) == (1, tmp_path / "images/train/a.jpg", 20, 40)
    assert a.objects == (ObjectLabel(1, 1, (10.0, 5.0, 30.0, 15.0), 200.0, False, None),)
    outline = [[4.0, 2.0, 36.0, 2.0, 20.0, 18.0]]
    assert b.objects == (ObjectLabel(2, 0, (4.0, 2.0, 36.0, 18.0), 256.0, False, outline),)
    assert c.objects is not None
    assert [item.segmentation for item in c.objects] == [outline, None]
    assert d.objects == e.objects == ()
    assert [entry.has_masks for entry in (a, b, c, d, e)] == [False, True, False, True, True]
    assert all(entry.captions is None and entry.panoptic is None for entry in (a, b, c, d, e))
    assert [(entry.id, entry.name) for entry in dataset.space.things] == [(1, "cat"), (2, "dog")]
    assert {key: dataset.counts[key] for key in ("images", "objects", "boxes", "masks", "empty", "dropped_boxes")} == {
        "images": 5, "objects": 4, "boxes": 5, "masks": 3, "empty": 2, "dropped_boxes": 0,
    }  # fmt: skip


def test_the_same_as_a_coco_file(tmp_path: Path) -> None:
    files = yolo(tmp_path / "txt", {"000001": BOX, "000002": OUTLINE, "000003": None})
    images = [image(number, width=40, height=20) for number in (1, 2, 3)]
    told = [
        thing(1, 1, 2, bbox=[10, 5, 20, 10], area=200, segmentation=[]),
        thing(2, 2, 1, bbox=[4, 2, 32, 16], area=256, segmentation=[[4, 2, 36, 2, 20, 18]]),
    ]
    root = split(tmp_path / "json", "train", instances=instances(images, told, classes(cat=1, dog=2)))
    text, plain = opened(files), opened(root)
    assert text.space.things == plain.space.things
    assert text.counts == plain.counts
    for one, other in zip(all_labels(text), all_labels(plain), strict=True):
        assert (one.image_id, one.path.name, one.objects, one.has_masks) == (
            other.image_id, other.path.name, other.objects, other.has_masks,
        )  # fmt: skip


SIDE = st.integers(4, 40)
SHARE = st.floats(0, 1)


@settings(max_examples=25, deadline=None)
@given(SIDE, SIDE, st.lists(st.tuples(st.integers(0, 2), SHARE, SHARE, SHARE, SHARE), max_size=4))
def test_boxes_survive_the_way_through_text(
    width: int, height: int, found: list[tuple[int, float, float, float, float]]
) -> None:
    boxes = [
        (kind, min(a, b) * width, min(c, d) * height, abs(a - b) * width, abs(c - d) * height)
        for kind, a, b, c, d in found
    ]
    lines = [
        f"{kind} {(x + w / 2) / width:.9f} {(y + h / 2) / height:.9f} {w / width:.9f} {h / height:.9f}"
        for kind, x, y, w, h in boxes
    ]
    with tempfile.TemporaryDirectory() as folder:
        picture(Path(folder) / "images/train/a.png", width, height)
        write(Path(folder) / "labels/train/a.txt", "\n".join(lines))
        labels = opened(write(Path(folder) / "d.yaml", "train: images/train\nnames: {0: a, 1: b, 2: c}")).annotations(0)
    assert labels.objects is not None
    assert [item.category for item in labels.objects] == [kind for kind, *_ in boxes]
    for item, (_, x, y, w, h) in zip(labels.objects, boxes, strict=True):
        assert item.xyxy == pytest.approx((x, y, x + w, y + h), abs=1e-6)


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff"])
def test_case_01_boxes_are_of_the_upright_picture(tmp_path: Path, number: int, ending: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = number
    path = tmp_path / f"images/train/a.{ending}"
    picture(path, exif=exif)
    write(tmp_path / "labels/train/a.txt", "0 0.25 0.5 0.5 1\n")
    labels = opened(write(tmp_path / "data.yaml", YAML)).annotations(0)
    upright = open_upright(path)
    assert (labels.width, labels.height) == upright.size
    assert labels.objects is not None
    assert labels.objects[0].xyxy == (0, 0, upright.width / 2, upright.height)


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("images/train", "ab"),
        ("./images/train/", "ab"),
        ("images", "abc"),
        ("[images/val, images/train]", "cab"),
        ("list.txt", "ba"),
        ("[list.txt, images/val]", "bac"),
    ],
)
def test_places(tmp_path: Path, entry: str, names: str) -> None:
    yolo(tmp_path, {"a": BOX, "b": OUTLINE})
    yolo(tmp_path, {"c": None}, folder="val")
    absolute = tmp_path / "images/train/a.jpg"
    write(tmp_path / "list.txt", f"./images/train/b.jpg\n\n{absolute}\n")
    dataset = opened(write(tmp_path / "data.yaml", f"train: {entry}\nnc: 2\nnames: [cat, dog]\nval:\n"))
    labels = all_labels(dataset)
    assert "".join(entry.path.stem for entry in labels) == names
    assert all(entry.path.is_file() for entry in labels)
    assert {entry.path.stem: len(entry.objects or ()) for entry in labels} == {stem: stem != "c" for stem in names}


def test_pictures_beside_their_labels_and_hidden_files(tmp_path: Path) -> None:
    picture(tmp_path / "set/deep/a.JPG", format="JPEG")
    write(tmp_path / "set/deep/a.txt", BOX)
    write(tmp_path / "set/deep/._a.jpg", "not a picture")
    picture(tmp_path / "set/.trash/b.jpg")
    dataset = opened(write(tmp_path / "data.yaml", "path: set\ntrain: .\nnames: [cat, dog]"))
    assert [entry.path.name for entry in all_labels(dataset)] == ["a.JPG"]
    assert dataset.counts["objects"] == 1


def test_entries_that_lead_up_and_the_folder_itself(tmp_path: Path) -> None:
    picture(tmp_path / "set/train/images/a.jpg")
    write(tmp_path / "set/train/labels/a.txt", BOX)
    write(tmp_path / "set/data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 2")
    with pytest.raises(UserError, match=r"data.yaml: val: .*valid"):
        opened(tmp_path / "set")
    picture(tmp_path / "set/valid/images/b.jpg")
    write(tmp_path / "set/valid/labels/b.txt", OUTLINE)
    assert list(find_splits(tmp_path / "set")) == ["train", "val"]
    dataset = opened(tmp_path / "set", "train", "val")
    assert dataset.counts["objects"] == 2
    assert dataset.space.names == ("class_0", "class_1")
    assert len(set(dataset.image_ids())) == 2  # or they could not be scored together


def test_json_labels_come_first_but_only_for_all_splits(tmp_path: Path) -> None:
    split(tmp_path, "val", instances=instances([image(1)], [thing(1, 1)]))
    yolo(tmp_path, {"a": BOX}, folder="val")
    both = yolo(tmp_path, {"a": BOX}, "train: images/train\nval: images/val\nnames: [cat, dog]")
    one = write(tmp_path / "one.yaml", "val: images/val")
    assert opened(one, "val").annotations(0).path.name == "000001.jpg"
    assert opened(tmp_path, "val").annotations(0).path.name == "000001.jpg"
    assert opened(both, "val").annotations(0).path.name == "a.jpg"


def test_pictures_to_test_on_may_be_absent(tmp_path: Path) -> None:
    path = yolo(tmp_path, {"a": BOX}, f"{YAML}test: images/test\n")
    assert list(find_splits(path)) == ["train"]
    split(tmp_path / "json", "train", instances=instances([image(1)], [thing(1, 1)]))
    for name, part in (
        ("path: json\ntrain: train\ntest: absent", "no split"),
        ("test: images/test\nnc: 1", "no folder"),
    ):
        with pytest.raises(UserError, match=f"test: .* is {part}"):
            find_splits(write(tmp_path / "other.yaml", name))


def test_numbers_of_classes_may_have_gaps_and_stay_in_order(tmp_path: Path) -> None:
    dataset = opened(yolo(tmp_path, {"a": "7 .5 .5 .1 .1\n2.0 .5 .5 .1 .1"}, "train: images\nnames: {7: x, 2: y}"))
    assert [(entry.id, entry.name) for entry in dataset.space.things] == [(3, "y"), (8, "x")]
    assert [item.category for item in dataset.annotations(0).objects or ()] == [1, 0]


def test_slight_overshoots_are_clipped(tmp_path: Path) -> None:
    lines = "0 0.5 0.5 1.000001 1.005\n0 -0.001 0 1.001 0 1 1\n0 0.1 0.5 0.4 0.5\n0 0.5 0.5 0 0.5"
    dataset = opened(yolo(tmp_path, {"a": f"\N{ZERO WIDTH NO-BREAK SPACE}{lines}\r\n"}))
    objects = dataset.annotations(0).objects or ()
    assert [item.xyxy for item in objects[:2]] == [(0, 0, 40, 20)] * 2
    assert objects[2].xyxy == pytest.approx((-4, 5, 12, 15))  # as stated, like a COCO file's
    assert dataset.counts["dropped_boxes"] == 1


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("cat 0.5 0.5 0.1 0.1", "could not convert string to float: 'cat'; expected class"),
        ("0,0.5,0.5,0.1,0.1", "could not convert"),
        ("0 0.5 0.5 0.1", "4 values; expected class"),
        ("0 0.5 0.5 0.1 0.1 0.9", "6 values"),
        ("0 0.1 0.1", "three or more points"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "8 values"),
        ("0", "1 values"),
        ("2 0.5 0.5 0.1 0.1", "class 2 is not in names, which has 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "class -1 is not in names"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5 is not in names"),
        ("0 nan 0.5 0.1 0.1", "not finite"),
        ("0 0.5 0.5 inf 0.1", "not finite"),
        ("0 20 10 5 5", "20 is outside 0..1; write shares"),
        ("0 0.5 0.5 0.1 1.02", "1.02 is outside"),
        ("0 0.1 0.1 0.9 0.1 0.5 -0.2", "-0.2 is outside"),
    ],
)
def test_refused_lines(tmp_path: Path, line: str, part: str) -> None:
    path = yolo(tmp_path, {"a": BOX, "b": f"{BOX}\n{line}\n"})
    with pytest.raises(UserError) as caught:
        opened(path)
    assert str(caught.value).startswith(f"{tmp_path}/labels/train/b.txt: line 3: ")
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("train: images/train", "names: missing"),
        ("train: images/train\nnc: two", "nc: expected the number"),
        ("train: images/train\nnc: 3\nnames: [cat, dog]", "nc: 3, but names: has 2"),
        ("train: images/train\nnames: [cat, cat]", "'cat' is there twice"),
        ("train: images/train\nnames: {-1: cat}", "counted from 0"),
        ("train: images/train\nnames: [cat, no]", "names: expected a list of texts"),
        ("train: images/train\nnames: [cat]\nkpt_shape: [17, 3]", "key points are not read"),
        ("train: images/none\nnames: [cat]", "train: 'images/none' is no folder"),
        ("train: [images/train, 3]\nnames: [cat]", "train: ['images/train', 3] is no folder"),
        ("names: [cat]", "names no split"),
        ("train: labels\nnames: [cat]", "no pictures in"),
        ("train: images/bare\nnames: [cat]", "not one of the 1 pictures"),
        ("train: images/twins\nnames: [cat]", "share"),
        ("train: twice.txt\nnames: [cat, dog]", "is there twice; list it once"),
        ("train: absent.txt\nnames: [cat, dog]", "absent.txt: line 2: no such picture: images/train/x.jpg"),
    ],
)
def test_refused_sets(tmp_path: Path, text: str, part: str) -> None:
    path = yolo(tmp_path, {"a": BOX}, text)
    picture(tmp_path / "images/bare/a.jpg")
    picture(tmp_path / "images/twins/a.jpg")
    picture(tmp_path / "images/twins/a.png")
    write(tmp_path / "twice.txt", "images/train/a.jpg\n./images/train/a.jpg")
    write(tmp_path / "absent.txt", "images/train/a.jpg\nimages/train/x.jpg")
    with pytest.raises(UserError) as caught:
        opened(path)
    assert part in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_labels_that_are_no_text(tmp_path: Path) -> None:
    path = yolo(tmp_path, {"a": BOX})
    (tmp_path / "labels/train/a.txt").write_bytes(b"\xff\xfe0")
    with pytest.raises(UserError, match=r"a\.txt: is no text"):
        opened(path)


def test_labels_without_a_picture_are_counted(tmp_path: Path) -> None:
    path = yolo(tmp_path, {"a": BOX})
    for name in ("x", "y", "classes"):
        write(tmp_path / f"labels/train/{name}.txt", BOX)
    with pytest.warns(UserWarning, match=r"without a picture, left out: 2, such as .*train/x\.txt"):
        assert len(opened(path)) == 1


def test_a_picture_that_cannot_be_opened_stays_for_the_loader_to_name(tmp_path: Path) -> None:
    path = yolo(tmp_path, {"a": BOX, "b": BOX})
    (tmp_path / "images/train/a.jpg").write_bytes(b"")
    assert [(entry.path.name, entry.width) for entry in all_labels(opened(path))] == [("a.jpg", 1), ("b.jpg", 40)]


def test_labels_are_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = yolo(tmp_path / "set", {"a": BOX, "b": OUTLINE})
    reads: list[object] = []
    real = coco_index.read_instances
    monkeypatch.setattr(coco_index, "read_instances", lambda listing: reads.append(listing) or real(listing))

    def read_again() -> bool:
        reads.clear()
        assert all_labels(open_coco(path, ["train"])) == all_labels(opened(path))
        return len(reads) > 1  # one is opened()'s

    assert read_again()
    assert not read_again()
    label = write(tmp_path / "set/labels/train/b.txt", BOX)
    assert read_again()
    os.utime(label, (1, 1))
    assert read_again()
    picture(tmp_path / "set/images/train/a.jpg", 80, 60)
    assert read_again()
    picture(tmp_path / "set/images/train/c.jpg")
    assert read_again()
    label.unlink()
    assert read_again()
    write(path, YAML.replace("dog]", "dog, cow]"))
    assert read_again()
    assert not read_again()
    assert len([*(tmp_path / "cache/yolor_mtl").glob("index-*")]) == 1


@pytest.fixture
def drawn(scenes: Path, tmp_path: Path) -> Path:
    """The scenes with their outlines as text files."""
    root = tmp_path / "drawn"
    for name in ("train", "val"):
        shutil.copytree(scenes / name, root / "images" / name)
        told = json.loads((scenes / f"annotations/instances_{name}.json").read_text())
        numbers = {entry["id"]: number for number, entry in enumerate(told["categories"])}
        files = {entry["id"]: entry for entry in told["images"]}
        lines: dict[str, list[str]] = {}
        for label in told["annotations"]:
            file = files[label["image_id"]]
            x, y, w, h = label["bbox"]
            corners = (x, y, x + w, y, x + w, y + h, x, y + h)
            values = [value / file[("width", "height")[place % 2]] for place, value in enumerate(corners)]
            line = " ".join(map(str, (numbers[label["category_id"]], *values)))
            lines.setdefault(Path(file["file_name"]).stem, []).append(line)
        for stem, found in lines.items():
            write(root / f"labels/{name}/{stem}.txt", "\n".join(found))
    names = [entry["name"] for entry in told["categories"]]
    write(root / "data.yaml", json.dumps({"path": ".", "train": "images/train", "val": "images/val", "names": names}))
    return root


def test_commands(command: runs.Command, scenes: Path, drawn: Path, tmp_path: Path) -> None:
    said = command("data", "stats", str(drawn), "--json").json()
    plain = command("data", "stats", str(scenes), "--json").json()
    for key in ("images", "objects", "objects_per_image", "things", "frequent"):
        assert said[key] == plain[key]
    assert said["labelled"] == {"boxes": 16, "masks": 16, "semantic": 0, "captions": 0}
    out = tmp_path / "run"
    assert command("train", *runs.words(data=drawn / "data.yaml", out=out, epochs=1, plots=0)).code == 0
    scores = json.loads((out / "val/metrics.json").read_text())
    assert {"box/AP", "mask/AP"} <= scores.keys()
    assert not any(key.startswith(("semantic/", "caption/")) for key in scores)
    both = command("val", f"model={out}", f"data={drawn}", "split=[train,val]", f"out={tmp_path / 'v'}", "plots=0")
    assert both.code == 0
    assert json.loads((tmp_path / "v/metrics.json").read_text())["protocol"]["pictures"] == 16
    (stem, *_) = sorted(path.stem for path in (drawn / "images/val").iterdir())
    write(drawn / f"labels/val/{stem}.txt", "0 1 2")
    runs.refused(command("val", f"model={out}", f"data={drawn}"), f"{stem}.txt", "line 1", "3 values; expected class")
