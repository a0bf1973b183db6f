"""Short cuts of sampling against the plain way: every value interpolated at every pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from yolor_mtl.ops import sampling
from yolor_mtl.ops.frame import letterbox_frame, sample_original
from yolor_mtl.ops.sampling import Windows, strongest, taps
from yolor_mtl.records import Frame

SIZES = [(641, 333), (333, 641), (1, 1000), (1000, 1), (7, 7), (480, 640), (1, 1), (97, 61)]


@st.composite
def frames(draw: st.DrawFn) -> tuple[Frame, tuple[int, int]]:
    """Letterboxed pictures of any size, larger and smaller than the frame, and maps of stride 4, 8 or neither."""
    original = draw(st.tuples(st.integers(1, 150), st.integers(1, 150)))
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)).map(lambda s: (32 * s[0], 32 * s[1])))
    cells = draw(
        st.one_of(
            st.sampled_from([4, 8, 32]).map(lambda stride: (size[0] // stride, size[1] // stride)),
            st.tuples(st.integers(1, 20), st.integers(1, 20)),
        )
    )
    return letterbox_frame(original, size), cells


def _smooth(generator: torch.Generator, classes: int, cells: tuple[int, int]) -> Tensor:
    coarse = torch.randn(1, classes, 3, 3, generator=generator) * 5
    return F.interpolate(coarse, size=cells, mode="bilinear", align_corners=True)[0]


def _logits(kind: str, classes: int, cells: tuple[int, int], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if kind == "constant":
        return torch.full((classes, *cells), 0.3)
    if kind == "noise":
        return torch.randn(classes, *cells, generator=generator)
    if kind == "ties":  # whole numbers: many cells with two leaders, many means that are equal
        return torch.randint(-2, 3, (classes, *cells), generator=generator).float()
    smooth = _smooth(generator, classes, cells)
    if kind == "half":
        return smooth.to(torch.bfloat16)
    if kind == "channels last":
        return smooth[None].contiguous(memory_format=torch.channels_last)[0]
    return smooth


def _same_but_for_ties(logits: Tensor, frame: Frame, found: Tensor) -> None:
    """Every pixel has the plain way's class, or one whose value equals the greatest to float rounding."""
    values = sample_original(logits, frame)
    assert found.shape == frame.original
    assert found.dtype == torch.uint8
    best = values.argmax(0)
    other = found != best
    gap = values.amax(0) - values.gather(0, found[None].long())[0]
    assert (gap[other] <= 2e-6 * values.abs().amax().clamp(min=1)).all()


@settings(max_examples=150, deadline=None)
@given(
    frames(),
    st.sampled_from(["smooth", "half", "channels last", "noise", "ties", "constant"]),
    st.integers(1, 40),
    st.integers(0, 1000),
)
@example((letterbox_frame((1, 1), (32, 32)), (8, 8)), "noise", 5, 0)
@example((letterbox_frame((1, 1), (32, 32)), (1, 1)), "ties", 3, 0)
@example((letterbox_frame((150, 150), (32, 32)), (8, 8)), "smooth", 173, 0)
@example((letterbox_frame((60, 80), (128, 128)), (32, 32)), "smooth", 173, 0)
def test_the_strongest_class_is_that_of_the_plain_way(
    placed: tuple[Frame, tuple[int, int]], kind: str, classes: int, seed: int
) -> None:
    frame, cells = placed
    logits = _logits(kind, classes, cells, seed)
    _same_but_for_ties(logits, frame, strongest(logits, frame))


@pytest.mark.parametrize("original", SIZES)
@pytest.mark.parametrize("kind", ["smooth", "noise"])
def test_without_ties_no_pixel_differs(original: tuple[int, int], kind: str) -> None:
    frame = letterbox_frame(original, (64, 96))
    logits = _logits(kind, 30, (16, 24), 1)
    # One in a million pixels lies close enough to a border for rounding to decide; none of these does.
    assert torch.equal(strongest(logits, frame), sample_original(logits, frame).argmax(0).to(torch.uint8))


def test_a_class_that_leads_in_no_cell_wins_between_them() -> None:
    frame = letterbox_frame((8, 64), (8, 64))
    logits = torch.tensor([[10.0, -10], [-10, 10], [4, 4]])[:, None].expand(3, 2, 2)
    assert strongest(logits, frame)[0].unique_consecutive().tolist() == [0, 2, 1]


def test_equal_classes_give_the_lowest() -> None:
    frame = letterbox_frame((40, 50), (64, 64))
    logits = torch.zeros(6, 8, 8)
    logits[0] = -1
    assert (strongest(logits, frame) == 1).all()
    logits[4, :, 4:] = 1  # equal to class 1 only where its weight is none
    _same_but_for_ties(logits, frame, strongest(logits, frame))


@pytest.mark.parametrize("kind", ["smooth", "noise", "ties"])
@pytest.mark.parametrize("classes", [3, 30, 80])
def test_bands_and_portions_change_nothing(kind: str, classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = letterbox_frame((97, 61), (64, 96))
    logits = _logits(kind, classes, (16, 24), 2)
    whole = strongest(logits, frame)
    monkeypatch.setattr(sampling, "BAND", 61 * 10)
    monkeypatch.setattr(sampling, "VALUES", 50)
    assert torch.equal(strongest(logits, frame), whole)


@pytest.mark.parametrize("dense", [False, True])
def test_both_ways_between_the_cells_agree(dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many classes are left it interpolates all; the answers do not depend on which way it went."""
    frame = letterbox_frame((97, 61), (64, 96))
    logits = _logits("noise", 30, (16, 24), 3)
    asked = []

    def between(*args: object) -> Tensor | None:
        asked.append(args)
        return None if dense else real(*args[:-1], 10**9)  # type: ignore[arg-type]

    real = sampling._between
    monkeypatch.setattr(sampling, "_between", between)
    _same_but_for_ties(logits, frame, strongest(logits, frame))
    assert asked


def test_a_logit_that_is_no_number_shows_where_the_plain_way_shows_it() -> None:
    frame = letterbox_frame((50, 70), (64, 96))
    logits = _logits("smooth", 9, (16, 24), 4)
    logits[6, 7, 11] = torch.nan
    found = strongest(logits, frame)
    assert torch.equal(found, sample_original(logits, frame).argmax(0).to(torch.uint8))
    assert (found == 6).any()


@settings(max_examples=150, deadline=None)
@given(frames(), st.data())
def test_windows_are_cut_from_the_plain_whole(placed: tuple[Frame, tuple[int, int]], data: st.DataObject) -> None:
    frame, cells = placed
    height, width = frame.original
    left, right = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
    top, bottom = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
    plane = torch.randn(cells, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99)))) * 4
    whole = sample_original(plane[None], frame)[0].numpy()
    found = Windows(frame, cells).sample(plane.numpy(), (left, top, right, bottom))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, whole[top:bottom, left:right], atol=3e-5, rtol=0)


@settings(max_examples=100, deadline=None)
@given(frames(), st.sampled_from([0, 1]))
def test_pixels_lie_between_neighbouring_cells(placed: tuple[Frame, tuple[int, int]], axis: int) -> None:
    frame, cells = placed
    found = taps(frame, axis, cells[axis])
    assert len(found.low) == len(found.high) == len(found.weight) == frame.original[axis]
    assert (np.diff(found.low) >= 0).all()
    assert ((found.low >= 0) & (found.high < cells[axis])).all()
    assert np.isin(found.high - found.low, (0, 1)).all()
    assert ((found.weight >= 0) & (found.weight <= 1)).all()
