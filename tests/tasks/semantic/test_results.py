"""Semantic maps as PNGs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coco_builder import png

from yolor_mtl.records import IGNORE, Annotations, Category, LabelSpace, UserError
from yolor_mtl.tasks.semantic.results import read_maps

SPACE = LabelSpace(semantic=tuple(Category(number, f"class {number}") for number in (1, 5, 9)), semantic_protocol="own")
IMAGE = Annotations(3, Path("photos/a.jpg"), 2, 3)


def test_maps(tmp_path: Path) -> None:
    assert read_maps(tmp_path, SPACE) is None
    pixels = np.array([[0, 1, 2], [IGNORE, 2, 2]])
    png(tmp_path / "semantic" / "a.png", pixels)
    answer = read_maps(tmp_path, SPACE)
    assert answer is not None
    assert np.array_equal(answer(IMAGE)["map"], pixels)


@pytest.mark.parametrize("value", [3, 254])
def test_a_value_beyond_the_classes(tmp_path: Path, value: int) -> None:
    png(tmp_path / "semantic" / "a.png", np.array([[0, 1, 2], [IGNORE, value, 2]]))
    answer = read_maps(tmp_path, SPACE)
    assert answer is not None
    with pytest.raises(UserError, match=rf"a\.png: value {value} is no class: .* 3 semantic classes, 0 to 2"):
        answer(IMAGE)


def test_a_missing_picture(tmp_path: Path) -> None:
    (tmp_path / "semantic").mkdir()
    answer = read_maps(tmp_path, SPACE)
    assert answer is not None
    with pytest.raises(UserError, match=r"a\.png: missing, the predicted map of image 3"):
        answer(IMAGE)
