"""Where words were read from: maps of the upright picture, and the boxes that words are about."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import build

from yolor_mtl.ops.cells import cell_boxes, squared
from yolor_mtl.ops.frame import fitting_size, letterbox, letterbox_frame
from yolor_mtl.tasks.base import DecodeOptions, decode_all
from yolor_mtl.tasks.captioning.grounding import LONGER_SIDE, Word, heat_maps


def test_a_place_becomes_its_box_in_the_picture() -> None:
    # 200 x 100 pixels in a square of 64: scale .32, 16 rows of grey above and below.
    frame = letterbox_frame((100, 200), (64, 64))
    # The left half of the picture's upper half, and a place in the grey.
    places = torch.tensor([[0.0, 16 / 64, 0.5, 32 / 64], [0.0, 0.0, 1.0, 16 / 64]])
    (heat,) = heat_maps(torch.tensor([[0.4, 0.6]]), places, frame)
    assert heat.shape == (14, 28)
    assert np.allclose(heat[:7, :14], 1, atol=1e-5)
    assert np.abs(heat[7:]).max() < 1e-5
    assert np.abs(heat[:, 14:]).max() < 1e-5


sizes = st.tuples(st.integers(1, 900), st.integers(1, 900))


@settings(max_examples=150, deadline=None)
@given(sizes, st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_the_cell_over_a_point_lights_it(original: tuple[int, int], x: float, y: float, rect: bool) -> None:
    """In square frames and in others: the cell that the network has at a point is warm at the point."""
    size = fitting_size(original, 256, 32) if rect else (256, 256)
    frame = letterbox_frame(original, size)
    height, width = size[0] // 32, size[1] // 32
    left, top = (
        min(share * frame.inner[1 - axis] + frame.pad[axis], frame.pad[axis] + frame.inner[1 - axis] - 0.01)
        for axis, share in enumerate((x, y))
    )
    cell = int(top // 32) * width + int(left // 32)
    attention = torch.zeros(1, height * width)
    attention[0, cell] = 1
    (heat,) = heat_maps(attention, cell_boxes(height, width), frame)
    assert max(heat.shape) == LONGER_SIDE
    assert heat.max() == pytest.approx(1)
    column, row = (min(int(share * cells), cells - 1) for share, cells in ((x, heat.shape[1]), (y, heat.shape[0])))
    around = heat[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    assert around.max() > 0


def test_squares_of_frames() -> None:
    shares = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.5, 1.0]])
    assert torch.equal(squared(shares, 96, 96), shares)
    # 64 rows in a square of 96: 16 above and below.
    wanted = torch.tensor([[0.0, 16 / 96, 1.0, 80 / 96], [0.25, 48 / 96, 0.5, 80 / 96]])
    torch.testing.assert_close(squared(shares, 64, 96), wanted)


def word(text: str, place: tuple[slice, slice]) -> Word:
    heat = np.zeros((20, 20), dtype=np.float32)
    heat[place] = 1
    return Word(text, heat)


LEFT, RIGHT = [0.0, 0.0, 0.4, 1.0], [0.5, 0.5, 0.75, 0.75]
BOXES = np.array([LEFT, RIGHT])
IN_RIGHT = (slice(11, 14), slice(11, 14))


@pytest.mark.parametrize(
    ("text", "names", "box"),
    [
        ("dog", ["dog", "cat"], 0),  # it names the class, wherever it looked
        ("dogs", ["cat", "dog"], 1),
        ("buses", ["bus", "cat"], 0),
        ("people", ["cat", "person"], 1),
        ("plant", ["potted plant", "cat"], 0),
        ("running", ["dog", "cat"], 1),  # it names none: where it looked
        (",", ["dog", "cat"], None),
    ],
)
def test_the_box_that_a_word_is_about(text: str, names: list[str], box: int | None) -> None:
    assert word(text, IN_RIGHT).box(BOXES, names) == box


def test_of_boxes_of_one_name_the_one_it_looked_at() -> None:
    assert word("dog", IN_RIGHT).box(BOXES, ["dog", "dog"]) == 1
    assert word("dog", (slice(0, 5), slice(0, 5))).box(BOXES, ["dog", "dog"]) == 0


def test_words_about_no_box() -> None:
    everywhere = word("sunny", (slice(None), slice(None)))
    assert everywhere.box(BOXES, ["dog", "cat"]) is None
    assert everywhere.box(np.array([[0.0, 0, 1, 1]]), ["dog"]) is None
    assert everywhere.box(np.zeros((0, 4)), []) is None
    assert everywhere.inside(BOXES) == pytest.approx([0.4, 0.0625])


@pytest.mark.parametrize("blocks", [{"captioning": {}}, {"detection": {}, "captioning": {"objects": {"count": 5}}}])
def test_words_spell_the_caption(blocks: dict[str, dict[str, object]]) -> None:
    tasks, network = build(blocks)
    frames, images = [], []
    for size in ((70, 90), (50, 200)):
        image, frame = letterbox(torch.randint(0, 256, (3, *size), dtype=torch.uint8), (64, 96))
        images.append(image.as_subclass(torch.Tensor))
        frames.append(frame)
    with torch.inference_mode():
        outputs = network.eval()(torch.stack(images))
    plain = decode_all(tasks, outputs, frames, DecodeOptions(conf=0.0))
    for options in (DecodeOptions(conf=0.0, attention=True), DecodeOptions(conf=0.0, attention=True, beam=3)):
        for found, silent, frame in zip(decode_all(tasks, outputs, frames, options), plain, frames, strict=True):
            caption = found["captioning"]
            assert "words" not in silent["captioning"]
            if options.beam == 1:
                assert caption["text"] == silent["captioning"]["text"]
            assert "".join(w.text for w in caption["words"]) == caption["text"].replace(" ", "")
            wide = frame.original[1] > frame.original[0]
            for each in caption["words"]:
                assert each.heat.shape[1 if wide else 0] == LONGER_SIDE
                assert 0 <= each.heat.min() <= each.heat.max() <= 1 + 1e-6
