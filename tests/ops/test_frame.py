"""Letterboxing and its inverse: boxes and masks come back to the pixels they came from."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from yolor_mtl.ops.frame import GREY, boxes_to_original, fitting_size, letterbox, letterbox_frame, sample_original
from yolor_mtl.records import Frame

SIZES = [(641, 333), (333, 641), (1, 1000), (1000, 1), (7, 7), (640, 640), (480, 640), (1, 1)]
picture_size = st.tuples(st.integers(1, 1500), st.integers(1, 1500))
model_size = st.tuples(st.integers(1, 25), st.integers(1, 25)).map(lambda s: (32 * s[0], 32 * s[1]))


@settings(max_examples=200, deadline=None)
@given(picture_size, model_size)
@example((641, 333), (640, 640))
@example((333, 641), (640, 640))
@example((1, 1000), (640, 640))
@example((7, 7), (640, 640))
def test_frame_fits_and_is_centred(original: tuple[int, int], size: tuple[int, int]) -> None:
    frame = letterbox_frame(original, size)
    assert frame.inner[0] == size[0] or frame.inner[1] == size[1]
    for axis in (0, 1):
        left = frame.pad[1 - axis]
        right = size[axis] - frame.inner[axis] - left
        assert frame.inner[axis] >= 1
        assert 0 <= right - left <= 1
    exact = min(size[0] / original[0], size[1] / original[1])
    for side, factor in zip(original[::-1], frame.scale, strict=True):
        # Rounding to whole pixels, and at least one of them.
        assert abs(factor - exact) * side <= max(0.5 + 1e-6, 1 - exact * side + 1e-6)


@settings(max_examples=200, deadline=None)
@given(picture_size, model_size, st.lists(st.floats(0, 1), min_size=4, max_size=4))
@example((641, 333), (640, 640), [0.0, 0.0, 1.0, 1.0])
@example((1, 1000), (640, 640), [0.1, 0.2, 0.3, 0.4])
def test_boxes_come_back(original: tuple[int, int], size: tuple[int, int], shares: list[float]) -> None:
    frame = letterbox_frame(original, size)
    xs, ys = sorted(share * original[1] for share in shares[:2]), sorted(share * original[0] for share in shares[2:])
    box = torch.tensor([[xs[0], ys[0], xs[1], ys[1]]], dtype=torch.float64)
    factors = box.new_tensor([*frame.scale, *frame.scale])
    inside = box * factors + box.new_tensor([*frame.pad, *frame.pad])
    torch.testing.assert_close(boxes_to_original(inside, frame), box, atol=1e-6, rtol=1e-9)


def test_boxes_are_clipped_to_the_picture() -> None:
    frame = letterbox_frame((100, 200), (64, 64))
    assert frame == Frame((100, 200), (32, 64), (0, 16), (64, 64))
    found = boxes_to_original(torch.tensor([[-5.0, 0, 90, 64], [0, 0, 64, 10]]), frame)
    assert found.tolist() == [[0, 0, 200, 100], [0, 0, 200, 0]]
    assert boxes_to_original(torch.zeros(0, 4), frame).shape == (0, 4)


@pytest.mark.parametrize("original", SIZES)
def test_letterbox_pads_with_grey(original: tuple[int, int]) -> None:
    image, frame = letterbox(torch.full((3, *original), 200, dtype=torch.uint8), (320, 256))
    assert image.shape == (3, 320, 256)
    assert image.dtype == torch.uint8
    (left, top), (height, width) = frame.pad, frame.inner
    inner = torch.zeros(320, 256, dtype=torch.bool)
    inner[top : top + height, left : left + width] = True
    assert (image[:, inner] == 200).all()
    assert (image[:, ~inner] == GREY).all()


def test_picture_of_the_right_size_is_not_touched() -> None:
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    assert torch.equal(letterbox(image, (64, 96))[0], image)


def _through(mask: torch.Tensor, size: tuple[int, int], stride: int) -> torch.Tensor:
    """A mask through the letterbox, averaged over cells, and back, as logits of a perfect head would be."""
    image, frame = letterbox((mask * 255).to(torch.uint8).expand(3, -1, -1), size)
    left, top = frame.pad
    inner = image[:1, top : top + frame.inner[0], left : left + frame.inner[1]].float() / 255
    right, bottom = size[1] - left - frame.inner[1], size[0] - top - frame.inner[0]
    # What a head says of the padding is nobody's concern: a picture of one row is less than a cell high.
    (whole,) = F.pad(inner[None], (left, right, top, bottom), mode="replicate")
    return sample_original(F.avg_pool2d(whole, stride) - 0.5, frame)[0] > 0


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize(
    "original", [(641, 333), (333, 641), (1, 1000), (7, 7), (200, 311), (900, 700), (640, 640), (97, 97)]
)
def test_case_15_edges_of_a_rectangle_come_back(original: tuple[int, int], stride: int) -> None:
    height, width = original
    top, left = min(height // 5 + 1, height - 1), width // 7 + 2
    bottom, right = max(height * 3 // 4, top + 1), width * 4 // 5
    mask = torch.zeros(1, height, width)
    mask[:, top:bottom, left:right] = 1
    found = _through(mask, (640, 640), stride)
    assert found.shape == original
    rows, columns = found.any(1).nonzero()[:, 0], found.any(0).nonzero()[:, 0]
    edges = (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
    # A linear passage through averaged cells misses a straight edge by at most 9 % of a cell: within a pixel here.
    assert 0.09 * stride / min(letterbox_frame(original, (640, 640)).scale) + 0.5 < 2
    assert max(abs(a - b) for a, b in zip(edges, (top, bottom, left, right), strict=True)) <= 1


@pytest.mark.parametrize("original", SIZES)
def test_samples_have_the_shape_of_the_picture(original: tuple[int, int]) -> None:
    frame = letterbox_frame(original, (64, 96))
    maps = torch.randn(2, 16, 24)
    whole = sample_original(maps, frame)
    assert whole.shape == (2, *original)
    height, width = original
    window = (width // 3, height // 3, width // 3 + (width + 1) // 2, height // 3 + (height + 1) // 2)
    part = sample_original(maps, frame, window)
    torch.testing.assert_close(part, whole[:, window[1] : window[3], window[0] : window[2]], atol=1e-4, rtol=1e-4)


def test_a_linear_map_is_sampled_exactly() -> None:
    """Cell centres of stride 4 hold their own x in pixels: every pixel between them must get its own."""
    frame = letterbox_frame((100, 150), (64, 96))
    centres = (torch.arange(24) * 4 + 2.0).expand(1, 16, 24)
    found = sample_original(centres, frame)[0]
    wanted = (torch.arange(150) + 0.5) * frame.scale[0] + frame.pad[0]
    inner = (wanted >= 2) & (wanted <= 94)
    torch.testing.assert_close(found[50][inner], wanted[inner], atol=1e-4, rtol=1e-5)


@settings(max_examples=200, deadline=None)
@given(st.tuples(st.integers(1, 6000), st.integers(1, 6000)), st.integers(1, 20), st.sampled_from([8, 32, 64]))
@example((5000, 37), 20, 32)
@example((1, 1), 20, 32)
def test_a_fitting_frame_wastes_no_more_than_a_multiple(original: tuple[int, int], number: int, multiple: int) -> None:
    side = number * multiple
    size = fitting_size(original, side, multiple)
    frame, square = letterbox_frame(original, size), letterbox_frame(original, (side, side))
    assert max(size) == side
    assert all(length % multiple == 0 and length > 0 for length in size)
    # The picture is as large as in the square, and no more than a multiple of rows or columns is padding.
    assert frame.inner == square.inner
    assert all(0 <= size[axis] - frame.inner[axis] <= multiple for axis in (0, 1))
