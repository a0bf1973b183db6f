from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from coco_builder import caption, classes, image, instances, panoptic_png, split, thing, write

from yolor_mtl.data.coco import open_coco
from yolor_mtl.data.scenes import write_scenes
from yolor_mtl.data.stats import data_stats, stats_rows


@pytest.fixture
def small(tmp_path: Path) -> Path:
    # 480 wide: areas count as they are; 960 wide: they count a quarter.
    images = [image(1, width=480, height=360), image(2, width=960, height=720), image(3, width=480, height=360)]
    objects = [
        thing(1, 1, area=1023, occluded=0.25),
        thing(2, 1, area=1024, occluded=0.1),
        thing(3, 2, 7, area=4095),
        thing(4, 2, 7, area=4096, occluded=0.9),
        thing(5, 2, 7, area=5000, occluded=0.0),
    ]
    texts = [caption(1, "A dog."), caption(1, "Two dogs, a cat"), caption(2, "a DOG"), caption(3, "A dog.")]
    root = split(
        tmp_path,
        "train",
        instances=instances(images[:2], objects, classes(dog=1, cat=7)),
        captions={"images": images, "annotations": texts},
        panoptic={
            "images": images[:1],
            "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": [{"id": 1, "category_id": 9}]}],
            "categories": [
                {"id": 1, "name": "dog", "isthing": 1},
                {"id": 7, "name": "cat", "isthing": 1},
                {"id": 9, "name": "sky", "isthing": 0},
            ],
        },
    )
    panoptic_png(root / "annotations" / "panoptic_train" / "1.png", np.ones((360, 480), int))
    return root


def test_numbers(small: Path) -> None:
    stats = data_stats(open_coco(small, ["train"], cache=False))
    assert stats.images == 3
    assert stats.labelled == {"boxes": 2, "masks": 2, "semantic": 1, "captions": 3}
    assert (stats.things, stats.stuff, stats.objects) == (2, 1, 5)
    assert stats.objects_per_image == pytest.approx(2.5)
    assert stats.small == pytest.approx(2 / 5)
    assert stats.hidden == pytest.approx(2 / 4)
    assert stats.captions_per_image == pytest.approx(4 / 3)
    assert stats.unique_first_captions == pytest.approx(1 / 3)
    assert stats.vocabulary == 5
    assert stats.frequent == (("cat", 3), ("dog", 2))


def test_rows_and_json(small: Path) -> None:
    stats = data_stats(open_coco(small, ["train"], cache=False))
    rows = dict(stats_rows(stats))
    assert rows["objects per image"] == "2.5"
    assert rows["objects hidden by a quarter or more"] == "50.0%"
    assert rows["most frequent"] == "cat 3, dog 2"
    again = json.loads(json.dumps(stats.to_dict()))
    assert again["frequent"] == {"cat": 3, "dog": 2}
    assert again["labelled"]["captions"] == 3


def test_what_is_not_there_is_not_stated(tmp_path: Path) -> None:
    root = split(tmp_path, "train", captions={"images": [image(1)], "annotations": []})
    stats = data_stats(open_coco(root, ["train"], cache=False))
    assert (stats.objects_per_image, stats.small, stats.hidden, stats.captions_per_image) == (None, None, None, None)
    assert dict(stats_rows(stats))["objects hidden by a quarter or more"] == "not stated"
    write(tmp_path / "annotations" / "instances_train.json", instances([image(1)], [thing(1, 1)]))
    stats = data_stats(open_coco(root, ["train"], cache=False))
    assert (stats.objects, stats.hidden) == (1, None)
    assert stats.small == 0.0


def test_scenes_state_everything(tmp_path: Path) -> None:
    write_scenes(tmp_path / "out", train=6, val=2, workers=1)
    stats = data_stats(open_coco(tmp_path / "out", ["train", "val"], cache=False))
    assert stats.images == 8
    assert set(stats.labelled.values()) == {8}
    assert stats.hidden is not None
    assert stats.captions_per_image == 5
    assert "not stated" not in dict(stats_rows(stats)).values()
