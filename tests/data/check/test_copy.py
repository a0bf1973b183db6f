"""A cleaned copy checks clean, keeps what was sound as it stood, and never touches the data."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import broken
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from yolor_mtl.data.check.copy import write_copy
from yolor_mtl.data.check.run import check_data
from yolor_mtl.data.check.table import CHECKS
from yolor_mtl.data.coco import open_coco
from yolor_mtl.data.loader import checked_image
from yolor_mtl.data.locate import find_layout
from yolor_mtl.data.semantic_maps import semantic_map
from yolor_mtl.ops.masks import decode_segmentation
from yolor_mtl.records import UserError

FAULTS = {**{f"picture: {k}": v for k, v in broken.PICTURES.items()}, **broken.LABELS}


def cleaned(root: Path, out: Path, **more: bool) -> dict[str, int]:
    """Writes the copy; what a check says of it but for notes."""
    write_copy(check_data(find_layout(root), workers=1), out, **more)
    counts = check_data(find_layout(out), workers=1).findings.counts()
    return {name: count for name, count in counts.items() if CHECKS[name].severity != "note"}


def state(folder: Path) -> dict[str, str]:
    """Digests of all files below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def read_all(root: Path) -> None:
    """What a training reads: every label and every picture."""
    data = open_coco(root, ["train", "val"], cache=False)
    for place in range(len(data)):
        entry = data.annotations(place)
        image = checked_image(entry)
        for item in entry.objects or ():
            if item.segmentation is not None:
                decode_segmentation(item.segmentation, entry.height, entry.width)
        if entry.panoptic is not None or entry.stuff_map is not None:
            assert semantic_map(entry, data.space).shape == image.shape[1:]


UNMENDED = {"image-type", "polygon-crosses", "caption-long"}
"""Warnings that a copy keeps."""


@pytest.mark.parametrize("name", FAULTS)
def test_the_copy_checks_clean_and_can_be_read(tmp_path: Path, name: str) -> None:
    root = broken.clean(tmp_path / "data")
    FAULTS[name].inject(root)
    before = state(root)
    if name == "file cut off":
        # Nothing else knows these images' boxes, but captions and panoptic labels stay.
        assert (root / "annotations" / "captions_train.json").exists()
    found = cleaned(root, tmp_path / "copy")
    assert found.keys() <= UNMENDED
    assert state(root) == before
    read_all(tmp_path / "copy")


ALONE = {"file cut off", "list missing", "category twice", "panoptic folder missing", "two panoptic labels"}
"""Faults after which others cannot be injected, or mean another thing."""

TOGETHER = sorted(name for name in FAULTS if name not in ALONE and not name.startswith("stuff"))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.sampled_from(TOGETHER), min_size=2, max_size=5, unique=True))
@example(0, ["picture: turned by EXIF", "RLE of another size"])
@example(0, ["RLE is no code", "annotation id twice", "box out of range"])
def test_several_faults_at_once(seed: int, names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, copy = broken.clean(Path(folder) / "data", seed, train=6), Path(folder) / "copy"
        for name in names:
            try:
                FAULTS[name].inject(root)
            except OSError:  # An earlier one took the file away.
                continue
        assert cleaned(root, copy).keys() <= UNMENDED
        read_all(copy)


def test_what_is_sound_stays_as_it_stood(tmp_path: Path) -> None:
    root = broken.clean(tmp_path / "data")
    assert cleaned(root, tmp_path / "copy") == {}
    for kind in ("instances", "captions", "panoptic"):
        path = f"annotations/{kind}_train.json"
        assert json.loads((root / path).read_text()) == json.loads((tmp_path / "copy" / path).read_text())
    pixels = {name: digest for name, digest in state(root).items() if not name.endswith(".json")}
    assert pixels.items() <= state(tmp_path / "copy").items()


def test_pictures_are_linked_or_copied(tmp_path: Path) -> None:
    root = broken.clean(tmp_path / "data")
    name = "images/train/000001.jpg"
    cleaned(root, tmp_path / "linked")
    assert (root / name).samefile(tmp_path / "linked" / name)
    cleaned(root, tmp_path / "copied", link=False)
    assert not (root / name).samefile(tmp_path / "copied" / name)


@pytest.mark.parametrize("place", [".", "inner", "images/train/inner"])
def test_never_in_place(tmp_path: Path, place: str) -> None:
    root = broken.clean(tmp_path / "data")
    before = state(root)
    with pytest.raises(UserError, match="never written in place"):
        cleaned(root, root / place)
    assert state(root) == before


def test_a_folder_that_holds_something(tmp_path: Path) -> None:
    root = broken.clean(tmp_path / "data")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("")
    with pytest.raises(UserError, match="not an empty folder"):
        cleaned(root, tmp_path / "mine")


def test_a_split_of_which_nothing_would_be_left(tmp_path: Path) -> None:
    root = broken.clean(tmp_path / "data")
    for path in (root / "images" / "train").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="no picture of split train"):
        cleaned(root, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("orientation", range(5, 9))
def test_labels_turn_with_their_picture(tmp_path: Path, orientation: int) -> None:
    """Drawn into the stored pixels, objects lie where the upright picture shows them."""
    root = broken.clean(tmp_path / "data")
    entry = open_coco(root, ["train"], cache=False).annotations(1)
    assert entry.objects is not None
    masks = [decode_segmentation(item.segmentation or [], entry.height, entry.width) for item in entry.objects]
    exif = Image.Exif()
    exif[274] = orientation
    for number, path in ((2, root / "images/train" / broken.SECOND), (3, root / "images/train/000003.jpg")):
        del number
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB")).copy()
        if path.suffix == ".png":
            pixels[:] = 0
            for channel, mask in enumerate(masks):
                pixels[..., channel] = mask * 255
        Image.fromarray(pixels).save(path, exif=exif)
    assert cleaned(root, tmp_path / "copy") == {}
    data = open_coco(tmp_path / "copy", ["train"], cache=False)
    turned = data.annotations(1)
    image = checked_image(turned).numpy()
    assert turned.objects is not None
    for channel, item in enumerate(turned.objects):
        inside = decode_segmentation(item.segmentation or [], turned.height, turned.width) == 1
        assert np.array_equal(inside, image[channel] == 255)
        ys, xs = np.nonzero(inside)
        assert item.xyxy == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    dog = [category.name for category in data.space.semantic].index("dog")
    assert np.array_equal(semantic_map(turned, data.space) == dog, image[1] == 255)


def test_only_the_size_turns_where_boxes_show_that_labels_are_upright(tmp_path: Path) -> None:
    root = broken.clean(tmp_path / "data")
    broken.PICTURES["turned by EXIF"].inject(root)
    (root / "annotations/panoptic_train.json").unlink()
    upright = {"bbox": [5, 30, 10, 9], "segmentation": [[5, 30, 15, 30, 15, 39, 5, 39]]}

    def change(content: dict) -> None:
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 1 or a["id"] == 3]
        content["annotations"][0].update(upright)

    broken.edit(root, "instances", change)
    assert cleaned(root, tmp_path / "copy") == {}
    objects = open_coco(tmp_path / "copy", ["train"], cache=False).annotations(0).objects
    assert objects is not None
    assert objects[0].xyxy == (5, 30, 15, 39)
    assert objects[0].segmentation == upright["segmentation"]


def test_classes_get_one_list(tmp_path: Path) -> None:
    root = broken.clean(tmp_path / "data")

    def change(content: dict) -> None:
        content["categories"] = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "cow"}]

    broken.edit(root, "instances", change, "val")
    assert cleaned(root, tmp_path / "copy") == {}
    data = open_coco(tmp_path / "copy", ["val"], cache=False)
    assert [category.name for category in data.space.things] == ["cat", "dog", "cow"]
    first = data.annotations(0).objects
    assert first is not None
    assert [data.space.names[item.category] for item in first] == ["dog", "cat"]
