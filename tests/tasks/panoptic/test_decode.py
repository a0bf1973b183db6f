"""The merge of instances and stuff on maps small enough to write down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny import space

from yolor_mtl.ops.frame import letterbox_frame
from yolor_mtl.ops.masks import CroppedMasks
from yolor_mtl.records import Category, LabelSpace, Prediction
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.panoptic.decode import MergeRule, PanopticDecode

GRASS, SKY, DOG = 3, 4, 0


def _instances(rows: list[tuple[str, float, int]], size: tuple[int, int]) -> Prediction:
    """Rows of (mask as '#' and '.' from the upper left corner, score, class)."""
    crops = [np.array([[c == "#" for c in line] for line in picture.split()]) for picture, _, _ in rows]
    return {
        "masks": CroppedMasks(size, [(0, 0)] * len(rows), crops),
        "scores": torch.tensor([score for _, score, _ in rows]),
        "classes": torch.tensor([cls for _, _, cls in rows], dtype=torch.int64),
    }


def _merge(
    rows: list[tuple[str, float, int]], semantic: list[list[int]], rule: MergeRule | None = None
) -> tuple[list[list[int]], list[dict[str, Any]]]:
    classes = torch.tensor(semantic, dtype=torch.uint8)
    size = (classes.shape[0], classes.shape[1])
    restored = {"instance": _instances(rows, size), "semantic": {"map": classes}}
    decode = PanopticDecode(space(), rule or MergeRule())
    found = decode.restore({}, letterbox_frame(size, (64, 96)), restored)
    assert found["map"].dtype == np.int32
    for segment in found["segments"]:
        assert segment["area"] == int((found["map"] == segment["id"]).sum())
    assert sorted({*found["map"].ravel().tolist()} - {0}) == [segment["id"] for segment in found["segments"]]
    return found["map"].tolist(), found["segments"]


def test_instances_before_stuff_and_things_without_instance_are_void() -> None:
    ids, segments = _merge([("##.. ##..", 0.9, 1)], [[3, 3, 4, 4], [3, 3, 4, 0]])
    assert ids == [[1, 1, 2, 2], [1, 1, 2, 0]]
    assert [(s["category"], s["isthing"], s["area"]) for s in segments] == [(1, True, 4), (SKY, False, 3)]
    assert segments[0]["score"] == pytest.approx(0.9)
    assert segments[1]["score"] == 1


def test_the_better_instance_lies_on_top() -> None:
    ids, segments = _merge([("###. ....", 0.9, 0), (".### ....", 0.8, 0)], [[3] * 4, [3] * 4])
    # The second keeps one of its three pixels: less than half, so it is gone.
    assert ids == [[1, 1, 1, 2], [2, 2, 2, 2]]
    assert len(segments) == 2
    ids, _ = _merge([("##.. ....", 0.9, 0), (".### ....", 0.8, 0)], [[3] * 4, [3] * 4])
    assert ids == [[1, 1, 2, 2], [3, 3, 3, 3]]


def test_the_same_instance_twice_is_one() -> None:
    _, segments = _merge([("## ##", 0.9, 0), ("## ##", 0.8, 0), ("## ##", 0.7, 1)], [[3, 3], [3, 3]])
    assert [segment["score"] for segment in segments] == [pytest.approx(0.9)]


def test_thresholds() -> None:
    semantic = [[GRASS] * 10, [GRASS] * 9 + [SKY]]
    _, segments = _merge([("#.", 0.2, 0)], semantic, MergeRule(conf=0.25, stuff_share=0.06))
    assert [segment["category"] for segment in segments] == [GRASS]
    ids, _ = _merge([("#.", 0.25, 0)], semantic, MergeRule(conf=0.2, stuff_share=0.05))
    assert ids[0][0] == 1
    assert ids[1][9] == 3


def test_empty_masks_and_no_stuff() -> None:
    ids, segments = _merge([("..", 0.9, 0)], [[DOG, DOG], [DOG, DOG]])
    assert ids == [[0, 0], [0, 0]]
    assert segments == []


def test_classes_that_the_map_lacks_stay_out() -> None:
    lone = LabelSpace((Category(1, "dog"), Category(9, "cup")), (Category(1, "dog"), Category(4, "grass", False)))
    restored = {
        "instance": _instances([("##", 0.9, 1), ("#.", 0.8, 0)], (1, 2)),
        "semantic": {"map": torch.tensor([[1, 1]], dtype=torch.uint8)},
    }
    found = PanopticDecode(lone, MergeRule()).restore({}, letterbox_frame((1, 2), (64, 96)), restored)
    assert found["map"].tolist() == [[1, 2]]
    assert [segment["category"] for segment in found["segments"]] == [0, 1]


def test_nothing_happens_in_the_model_s_frame() -> None:
    assert PanopticDecode(space(), MergeRule())({}, {"instance": [{}, {}]}, DecodeOptions()) == [{}, {}]


@pytest.mark.parametrize("seed", range(6))
def test_stuff_is_written_class_by_class(seed: int) -> None:
    """Against one pass over the picture for each class."""
    rng = np.random.default_rng(seed)
    classes = rng.choice([DOG, 1, GRASS, SKY, 255], size=(9, 11), p=[0.2, 0.1, 0.5, 0.1, 0.1]).astype(np.uint8)
    instance = _instances([("##.. .##. ..##", 0.9, 0)], (9, 11))
    restored = {"instance": instance, "semantic": {"map": torch.from_numpy(classes)}}
    found = PanopticDecode(space(), MergeRule(stuff_share=0.1)).restore(
        {}, letterbox_frame((9, 11), (64, 96)), restored
    )
    expected = np.where(instance["masks"].dense(0), 1, 0)
    for category in (GRASS, SKY):
        pixels = (classes == category) & ~instance["masks"].dense(0)
        if pixels.sum() >= 9.9:
            expected[pixels] = expected.max() + 1
    assert np.array_equal(found["map"], expected)
