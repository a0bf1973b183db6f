"""Boxes, masks, maps and pixels move together, and what is not labelled stays so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn import BOX, HEIGHT, WIDTH, drawn, extent, painted
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from yolor_mtl.data.mosaic import mixup, mosaic, single
from yolor_mtl.data.transforms import (
    Cut,
    assemble,
    covered,
    join_tables,
    map_sample,
    mirror,
    random_cut,
    select_rows,
    turn,
    whole_cut,
)
from yolor_mtl.ops.frame import GREY
from yolor_mtl.records import IGNORE, Sample

SIZE = (64, 96)
SHAPES = [(1, 1000), (1000, 1), (7, 7), (641, 333), (333, 641)]


Drawing = tuple[tuple[int, int], tuple[int, int, int, int]]
"""Shape of a picture and the box of its object."""


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    """A picture of any shape with a rectangle somewhere in it."""
    height, width = draw(st.integers(4, 220)), draw(st.integers(4, 220))
    top, left = draw(st.integers(0, height - 2)), draw(st.integers(0, width - 2))
    bottom, right = draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))
    return (height, width), (left, top, right, bottom)


def _flipped(sample: Sample) -> Sample:
    return map_sample(sample, F.horizontal_flip)


def _check_whole(sample: Sample) -> None:
    """Everything has the frame's size and type, and every column as many rows as the others."""
    assert sample.image.shape == (3, *SIZE)
    assert sample.image.dtype == torch.uint8
    table = sample.objects
    assert table is not None
    assert len({len(column) for column in table.values()}) == 1
    assert isinstance(table["boxes"], tv_tensors.BoundingBoxes)
    assert isinstance(table["masks"], tv_tensors.Mask)
    assert tuple(table["boxes"].canvas_size) == SIZE
    assert table["masks"].shape[1:] == SIZE
    assert all(label.shape[1:] == SIZE and label.dtype == torch.uint8 for label in sample.maps.values())
    boxes = table["boxes"].as_subclass(Tensor)
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([SIZE[1], SIZE[0], SIZE[1], SIZE[0]])).all()


def _check_together(sample: Sample) -> None:
    """The box, the mask, the semantic pixels and the coloured pixels of each object lie in one place."""
    _check_whole(sample)
    table = sample.objects
    assert table is not None
    colours, semantic = painted(sample.image), sample.maps["semantic"][0].numpy()
    for row, number in enumerate(table["classes"].tolist()):
        box = table["boxes"][row].tolist()
        for pixels in (table["masks"][row], semantic == 2 * number + 1, colours == number):
            assert np.abs(np.subtract(extent(pixels), box)).max() <= 1.5
    # Unlabelled is exactly what no picture covers.
    assert np.array_equal(semantic == IGNORE, colours == -2)


@pytest.mark.parametrize("after", [lambda sample: sample, _flipped], ids=["as it is", "flipped"])
@settings(max_examples=60, deadline=None)
@given(drawing=drawings(), jitter=st.floats(0, 0.9), seed=st.integers(0, 2**32))
def test_single(after: Callable[[Sample], Sample], drawing: Drawing, jitter: float, seed: int) -> None:
    sample = drawn(*drawing)
    found = after(single(sample, SIZE, jitter, np.random.default_rng(seed)))
    _check_together(found)
    assert found.texts == sample.texts
    assert found.annotations is None


@pytest.mark.parametrize("after", [lambda sample: sample, _flipped], ids=["as it is", "flipped"])
@settings(max_examples=40, deadline=None)
@given(four=st.tuples(*[drawings()] * 4), jitter=st.floats(0, 0.9), seed=st.integers(0, 2**32))
def test_mosaic(after: Callable[[Sample], Sample], four: tuple[Drawing, ...], jitter: float, seed: int) -> None:
    samples = [drawn(*drawing, number) for number, drawing in enumerate(four)]
    found = after(mosaic(samples, SIZE, jitter, np.random.default_rng(seed)))
    _check_together(found)
    assert found.objects is not None
    assert found.objects["classes"].tolist() == sorted(found.objects["classes"].tolist())
    assert found.texts == samples[0].texts


@pytest.mark.parametrize("shape", SHAPES)
def test_extreme_shapes(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    sample = drawn(shape, (0, 0, shape[1], shape[0]))
    for _ in range(5):
        framed = [single(sample, SIZE, 0.5, rng), mosaic([sample] * 4, SIZE, 0.5, rng)]
        for found in [*framed, mixup(framed[0], framed[1], rng)]:
            _check_whole(found)
    letterboxed = assemble([(sample, whole_cut(shape, SIZE))], SIZE)
    _check_whole(letterboxed)
    assert (painted(letterboxed.image) == 0).sum() == (letterboxed.maps["semantic"] == 1).sum() > 0


def test_only_what_is_left_stays() -> None:
    # The object (10, 10) to (30, 30) loses its left part; of each cut's other side nothing of it is seen.
    sample = drawn((40, 60), (10, 10, 30, 30))
    frame = (40, 60)

    def left_of(start: int) -> list[list[float]]:
        cut = Cut((0, start, 40, 60 - start), (0, 0, 40, 60 - start))
        found = assemble([(sample, cut)], frame)
        assert found.objects is not None
        assert len({len(column) for column in found.objects.values()}) == 1
        return found.objects["boxes"].tolist()  # type: ignore[no-any-return]

    assert left_of(0) == [[10, 10, 30, 30]]
    assert left_of(15) == [[0, 10, 15, 30]]
    assert left_of(28) == [[0, 10, 2, 30]]  # a tenth of it, two pixels wide
    assert left_of(29) == []
    assert left_of(40) == []


def test_what_is_too_small_to_see_goes() -> None:
    # A tenth of the size: one object becomes 1.9 pixels wide, the other two.
    for width, kept in ((19, 0), (20, 1)):
        found = assemble([(drawn((400, 400), (0, 0, width, 200)), Cut((0, 0, 400, 400), (0, 0, 40, 40)))], (40, 40))
        assert found.objects is not None
        assert [len(column) for column in found.objects.values()] == [kept] * 5


def test_an_empty_table_stays_a_table() -> None:
    sample = drawn((30, 40), (5, 5, 10, 10))
    assert sample.objects is not None
    none = {**sample.__dict__, "objects": select_rows(sample.objects, torch.tensor([False]))}
    found = assemble([(Sample(**none), whole_cut((30, 40), SIZE))], SIZE)
    _check_whole(found)
    assert found.objects is not None
    assert len(found.objects["boxes"]) == 0


def test_uncovered_is_grey_and_unlabelled() -> None:
    tiles = [(drawn((10, 10), (2, 2, 6, 6), k), Cut((0, 0, 10, 10), (12 * k, 5, 10, 10))) for k in range(2)]
    found = assemble(tiles, (40, 30))
    covered = torch.zeros(40, 30, dtype=torch.bool)
    covered[0:10, 5:15] = covered[12:22, 5:15] = True
    assert (found.image[:, ~covered] == GREY).all()
    assert torch.equal(found.maps["semantic"][0] == IGNORE, ~covered)
    assert found.objects is not None
    assert found.objects["boxes"].tolist() == [[7, 2, 11, 6], [7, 14, 11, 18]]


def test_a_tile_without_a_map_is_unlabelled_there() -> None:
    tiles = [drawn((30, 40), BOX, k, **({"maps": {}} if k in (0, 2) else {})) for k in range(4)]
    pieces = [(tile, Cut((0, 0, 30, 40), (30 * (k // 2), 40 * (k % 2), 30, 40))) for k, tile in enumerate(tiles)]
    found = assemble(pieces, (60, 80)).maps["semantic"]
    assert (found[:, :, :40] == IGNORE).all()
    assert torch.equal(found[:, :30, 40:], tiles[1].maps["semantic"])
    assert torch.equal(found[:, 30:, 40:], tiles[3].maps["semantic"])
    assert assemble([pieces[0], pieces[2]], (60, 80)).maps == {}


def test_tables_with_and_without_masks_join() -> None:
    tiles = [drawn((HEIGHT, WIDTH), BOX, k) for k in range(4)]
    for k in (0, 2):
        assert tiles[k].objects is not None
        tiles[k].objects = {
            name: column for name, column in (tiles[k].objects or {}).items() if name not in ("masks", "has_mask")
        }
    found = mosaic(tiles, SIZE, 0.0, np.random.default_rng(1))
    _check_whole(found)
    assert found.objects is not None
    assert found.objects["has_mask"].tolist() == [number in (1, 3) for number in found.objects["classes"].tolist()]
    assert set(found.objects["classes"].tolist()) & {0, 2}
    for row, number in enumerate(found.objects["classes"].tolist()):
        assert bool(found.objects["masks"][row].any()) == (number in (1, 3))
    blended = mixup(found, single(tiles[0], SIZE, 0.0, np.random.default_rng(2)), np.random.default_rng(3))
    _check_whole(blended)
    assert blended.objects is not None
    assert not blended.objects["has_mask"][-1]


def test_join_keeps_types_and_order() -> None:
    first, second = (drawn((30, 40), BOX, k).objects or {} for k in (0, 1))
    joined = join_tables([first, select_rows(first, torch.tensor([False])), second])
    assert joined["classes"].tolist() == [0, 1]
    assert {name: type(column) for name, column in joined.items()} == {n: type(c) for n, c in first.items()}
    assert {name: column.dtype for name, column in joined.items()} == {n: c.dtype for n, c in first.items()}


def test_without_objects_there_is_no_table() -> None:
    sample = drawn((30, 40), BOX, objects=None)
    rng = np.random.default_rng(0)
    for found in (single(sample, SIZE, 0.5, rng), mosaic([sample] * 4, SIZE, 0.5, rng)):
        assert found.objects is None
        assert map_sample(found, F.horizontal_flip).objects is None


@settings(max_examples=100, deadline=None)
@given(
    original=st.tuples(st.integers(1, 1000), st.integers(1, 1000)),
    region=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 300), st.integers(1, 300)),
    ratio=st.floats(0.01, 100),
    seed=st.integers(0, 2**32),
)
def test_a_cut_stays_inside(
    original: tuple[int, int], region: tuple[int, int, int, int], ratio: float, seed: int
) -> None:
    cut = random_cut(original, region, ratio, np.random.default_rng(seed))
    for axis in (0, 1):
        assert 0 <= cut.source[axis] < cut.source[axis] + cut.source[2 + axis] <= original[axis]
        end = cut.target[axis] + cut.target[2 + axis]
        assert region[axis] <= cut.target[axis] < end <= region[axis] + region[2 + axis]


@pytest.mark.parametrize(("side", "goal"), [(96, 40), (96, 60), (40, 96), (64, 64), (97, 31)])
def test_masks_are_not_shifted_against_the_picture(side: int, goal: int) -> None:
    ramp = torch.arange(side, dtype=torch.uint8)[None, None].expand(1, side, side)
    sample = Sample(tv_tensors.Image(ramp.expand(3, -1, -1)), "vision", maps={"semantic": tv_tensors.Mask(ramp)})
    cut = Cut((0, 0, side, side), (0, 0, goal, goal))
    moved = assemble([(sample, cut)], (goal, goal))
    picture = moved.image.as_subclass(Tensor)[0].double()
    mask = moved.maps["semantic"].as_subclass(Tensor)[0].double()
    assert (mask - picture).mean().abs() < 0.13
    assert (mask - picture).abs().max() <= max(1.0, 0.5 * side / goal + 1)


def _without_mask(sample: Sample) -> Sample:
    assert sample.objects is not None
    masks = torch.zeros_like(sample.objects["masks"].as_subclass(Tensor))
    return replace(
        sample,
        objects={**sample.objects, "masks": tv_tensors.Mask(masks), "has_mask": torch.tensor([False])},
    )


@settings(max_examples=40, deadline=None)
@given(angle=st.floats(-180, 180), shear=st.tuples(st.floats(-20, 20), st.floats(-20, 20)), size=st.integers(12, 40))
def test_turned_things_have_boxes_that_fit(angle: float, shear: tuple[float, float], size: int) -> None:
    """With a mask the box is that of the pixels; without, the pixels lie inside."""
    sample = drawn(SIZE, (48 - size // 2, 32 - size // 2, 48 + size // 2, 32 + size // 2))
    found = turn(sample, angle, shear)
    _check_whole(found)
    assert found.objects is not None
    coloured = extent(painted(found.image) == 0)
    assert found.objects["boxes"][0].tolist() == pytest.approx(extent(found.objects["masks"][0]))
    assert found.objects["boxes"][0].tolist() == pytest.approx(coloured, abs=1.5)
    assert extent(found.maps["semantic"][0] == 1) == pytest.approx(coloured, abs=1.5)
    loose = turn(_without_mask(sample), angle, shear).objects
    assert loose is not None
    x1, y1, x2, y2 = loose["boxes"][0].tolist()
    assert x1 <= coloured[0] + 1.5
    assert y1 <= coloured[1] + 1.5
    assert x2 >= coloured[2] - 1.5
    assert y2 >= coloured[3] - 1.5


def test_what_comes_in_from_outside_is_unlabelled() -> None:
    found = turn(drawn(SIZE, (40, 20, 60, 40)), 45.0, (0.0, 0.0))
    semantic = found.maps["semantic"][0]
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert semantic[corner] == IGNORE
        assert (found.image[:, corner[0], corner[1]] == GREY).all()
    assert found.objects is not None
    assert set(found.objects["masks"].unique().tolist()) == {0, 1}


def test_turned_out_of_the_picture() -> None:
    """A corner leaves the frame when it is turned."""
    found = turn(drawn(SIZE, (0, 0, 8, 6)), 45.0, (0.0, 0.0))
    assert found.objects is not None
    assert {len(column) for column in found.objects.values()} == {0}


@pytest.mark.parametrize("masked", [True, False])
def test_covered(masked: bool) -> None:
    """Half hidden: the mask ends there and the box with it; all but hidden: it goes; without a mask the box stays."""
    sample = drawn(SIZE, (10, 10, 50, 30))
    sample = sample if masked else _without_mask(sample)
    right, nearly, elsewhere = (torch.zeros(SIZE, dtype=torch.bool) for _ in range(3))
    right[:, 30:], nearly[:, :49], elsewhere[40:] = True, True, True
    half = covered(sample, right).objects
    assert half is not None
    assert half["boxes"].tolist() == [[10, 10, 30 if masked else 50, 30]]
    assert half["masks"].sum() == (20 * 20 if masked else 0)
    rest = covered(sample, nearly).objects
    assert rest is not None
    assert len(rest["boxes"]) == 0
    untouched = covered(sample, elsewhere).objects
    assert untouched is not None
    assert untouched["boxes"].tolist() == [[10, 10, 50, 30]]
    assert covered(replace(sample, objects=None), right).objects is None


def test_mirror() -> None:
    sample = replace(drawn(SIZE, (0, 5, 20, 30)), texts={"captions": ("a box on the left",), "notes": ()})
    found = mirror(sample)
    _check_together(found)
    assert found.objects is not None
    assert found.objects["boxes"].tolist() == [[SIZE[1] - 20, 5, SIZE[1], 30]]
    assert found.texts == {"captions": ("a box on the right",), "notes": ()}
    assert torch.equal(mirror(found).image, sample.image)
    assert mirror(found).texts == sample.texts
