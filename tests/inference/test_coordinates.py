"""A file and the same pixels as an array have the same answers, in the upright picture's frame, whatever the size and
the form of the file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from sideways import STORED, saved

from yolor_mtl import YOLORMTL, Result


@pytest.fixture(scope="module")
def model(trained: Path) -> YOLORMTL:
    return YOLORMTL(trained, device="cpu", half=False)


def pixels(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: something to be seen at every size."""
    rng = np.random.default_rng(height * 7919 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    return np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))


def same(found: Result, wanted: Result) -> None:
    assert found.orig_shape == wanted.orig_shape
    assert np.array_equal(found.image, wanted.image)
    assert torch.equal(found.boxes.xyxy, wanted.boxes.xyxy)
    assert torch.equal(found.boxes.conf, wanted.boxes.conf)
    assert torch.equal(found.masks.data, wanted.masks.data)
    assert torch.equal(found.semantic, wanted.semantic)
    assert np.array_equal(found.panoptic["map"], wanted.panoptic["map"])
    assert found.caption == wanted.caption


long_side, short_side = st.integers(1, 5000), st.integers(1, 37)
sizes = st.one_of(
    st.tuples(long_side, short_side),
    st.tuples(short_side, long_side),
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes, st.sampled_from(sorted(STORED)))
@example((1, 1), 6)
@example((5000, 37), 1)
@example((37, 5000), 8)
@example((1, 1000), 5)
@example((641, 333), 3)
def test_every_size_and_orientation(model: YOLORMTL, size: tuple[int, int], orientation: int) -> None:
    upright = pixels(*size)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    (wanted,) = model.predict(upright, conf=0.0, max_det=4)
    (found,) = model.predict(saved(stored, "PNG", orientation), conf=0.0, max_det=4)
    assert wanted.orig_shape == size
    same(found, wanted)
    height, width = size
    boxes = found.boxes.xyxy
    assert ((boxes >= 0) & (boxes <= torch.tensor([width, height, width, height]))).all()
    assert found.masks.data.shape[1:] == found.semantic.shape == found.panoptic["map"].shape == size


def grey(upright: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    return Image.fromarray(upright[..., 0]), upright[..., :1].repeat(3, axis=2)


def palette(upright: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    indexed = Image.fromarray(upright).quantize(16)
    colours = np.array(indexed.getpalette()).reshape(-1, 3)
    return indexed, colours[np.array(indexed)].astype(np.uint8)


def transparent(upright: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    alpha = np.zeros(upright.shape[:2], np.uint8)
    alpha[::2] = 255
    on_white = np.where(alpha[..., None] == 255, upright, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([upright, alpha])), on_white


def sixteen_bits(upright: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    values = upright[..., 0].astype(np.uint16) * 257
    return Image.fromarray(values), upright[..., :1].repeat(3, axis=2)


def cmyk(upright: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    inks = np.dstack([255 - upright, np.zeros(upright.shape[:2], np.uint8)])
    return Image.fromarray(inks, "CMYK"), upright


@pytest.mark.parametrize("size", [(1, 1), (33, 64), (64, 33), (1, 500), (300, 200)])
@pytest.mark.parametrize(
    ("form", "make"),
    [("PNG", grey), ("PNG", palette), ("GIF", palette), ("PNG", transparent), ("PNG", sixteen_bits), ("TIFF", cmyk)],
)
def test_every_form(model: YOLORMTL, size: tuple[int, int], form: str, make) -> None:  # type: ignore[no-untyped-def]
    stored, wanted = make(pixels(*size))
    buffer = io.BytesIO()
    stored.save(buffer, form)
    same(model.predict(buffer.getvalue(), conf=0.0, max_det=4)[0], model.predict(wanted, conf=0.0, max_det=4)[0])


def test_an_answer_does_not_depend_on_its_company(model: YOLORMTL) -> None:
    pictures = [pixels(*size) for size in ((40, 90), (90, 40), (60, 60), (40, 90), (1, 300))]
    alone = [model.predict(picture, conf=0.0, max_det=4)[0] for picture in pictures]
    together = model.predict(pictures, conf=0.0, max_det=4, batch=5)
    for one, other in zip(together, alone, strict=True):
        assert one.orig_shape == other.orig_shape
        # Sums of a larger batch may be made in another order.
        torch.testing.assert_close(one.boxes.xyxy, other.boxes.xyxy, atol=0.05, rtol=0)
        assert (one.semantic == other.semantic).float().mean() > 0.99
        assert one.caption == other.caption


def test_rectangles_and_squares_agree(model: YOLORMTL, trained: Path, scenes: Path) -> None:
    """Padding is no part of the picture: most pixels have the same class with it and without."""
    square = YOLORMTL(trained, device="cpu", half=False, rect=False)
    for path in sorted((scenes / "val").glob("*.jpg")):
        one, other = model.predict(path, conf=0.0)[0], square.predict(path, conf=0.0)[0]
        assert (one.semantic == other.semantic).float().mean() > 0.8
