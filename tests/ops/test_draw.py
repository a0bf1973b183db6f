"""Pictures over photographs: what must stand out does, and no size breaks them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from yolor_mtl.ops import draw


def test_neighbouring_colours_differ() -> None:
    tints = [np.array(draw.colour(index)) for index in range(200)]
    assert min(int(np.abs(a - b).max()) for a, b in pairwise(tints)) > 40
    assert all(0 <= value <= 255 for tint in tints for value in tint.tolist())


def test_text_reads_on_its_plate() -> None:
    assert draw.text_colour((255, 255, 0)) == (0, 0, 0)
    assert draw.text_colour((0, 0, 128)) == (255, 255, 255)


def test_paint_keeps_to_its_mask() -> None:
    image = np.full((6, 8, 3), 100, dtype=np.uint8)
    mask = np.zeros((4, 4), dtype=bool)
    mask[:3, :3] = True
    draw.paint(image, (slice(1, 5), slice(2, 6)), mask, (200, 0, 0), 0.5)
    assert image[2, 3].tolist() == [150, 50, 50]
    assert image[1, 2].tolist() == [200, 0, 0]
    assert (image[5:] == 100).all()
    assert (image[:, 5:] == 100).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (40, 60), (500, 700)])
def test_any_size(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), dtype=np.uint8)
    height, width = size
    xyxy = np.array([[0, 0, width, height], [width / 2, height / 2, width / 2 + 0.1, height / 2 + 0.1]])
    marked = draw.boxes(image, xyxy, ["a very long label indeed 0.99", ""], [(255, 0, 0), (0, 255, 0)])
    assert marked.shape == image.shape
    assert not image.any()
    assert draw.legend(image, [("grass", (0, 200, 0))] * 9).shape == image.shape
    sheet = draw.mosaic([image, marked, marked], ["a", "b", "c"], ["one two three " * 20, ""])
    assert sheet.width >= 640
    assert sheet.width * sheet.height <= 4 * (max(size) + 640) ** 2


def test_no_boxes_no_change() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(draw.boxes(image, np.zeros((0, 4)), [], []), image)
    assert np.array_equal(draw.legend(image, []), image)


@pytest.mark.parametrize("far", [1e300, float("inf"), float("nan"), -1e9])
def test_boxes_may_lie_anywhere(far: float) -> None:
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    drawn = draw.boxes(image, np.array([[-5.0, -5, far, 20], [50, 30, 40, 30]]), ["a", "b"], [(255, 0, 0)] * 2)
    assert drawn.shape == image.shape
    assert drawn.any()
