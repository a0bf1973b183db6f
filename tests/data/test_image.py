"""Pictures come upright and in RGB, whole or not at all."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from yolor_mtl.data import image as module
from yolor_mtl.data.image import UnreadableImageError, open_upright, read_image

# Where row 0 and column 0 of the stored picture lie in the upright one (EXIF 2.32, table of tag 274).
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda upright: upright,  # top, left
    2: lambda upright: upright[:, ::-1],  # top, right
    3: lambda upright: upright[::-1, ::-1],  # bottom, right
    4: lambda upright: upright[::-1],  # bottom, left
    5: lambda upright: upright.swapaxes(0, 1),  # left, top
    6: lambda upright: upright.swapaxes(0, 1)[::-1],  # right, top
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],  # left, bottom
}


@pytest.fixture
def upright() -> np.ndarray:
    """(24, 40, 3), smooth enough for JPEG, with no symmetry."""
    ys, xs = np.mgrid[:24, :40]
    return np.stack([ys * 10, xs * 6, (ys + xs) * 3], axis=-1).astype(np.uint8)


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(("ending", "tolerance"), [("png", 0), ("tif", 0), ("jpg", 8)])
def test_orientations(tmp_path: Path, upright: np.ndarray, orientation: int, ending: str, tolerance: int) -> None:
    path = tmp_path / f"picture.{ending}"
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    stored.save(path, exif=_exif(orientation), **({"quality": 95, "subsampling": 0} if ending == "jpg" else {}))
    found = read_image(path)
    assert found.shape == (3, 24, 40)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    assert np.abs(found.permute(1, 2, 0).numpy().astype(int) - upright).max() <= tolerance


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param((282, 2, 4, b"abc\0"), id="a text where a resolution should be"),
        pytest.param((272, 11, 1, struct.pack(">f", np.nan)), id="a number where a text should be"),
        pytest.param((0x8769, 4, 1, struct.pack(">I", 9_999_999)), id="a pointer out of the file"),
    ],
)
def test_another_broken_exif_entry_does_not_matter(
    tmp_path: Path, upright: np.ndarray, entry: tuple[int, int, int, bytes]
) -> None:
    rows = sorted([(274, 3, 1, b"\0\6\0\0"), entry])
    packed = b"".join(struct.pack(">HHI", *row[:3]) + row[3] for row in rows)
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", len(rows)) + packed + bytes(8)
    Image.fromarray(upright).save(tmp_path / "picture.png", exif=exif)
    assert np.array_equal(np.rot90(upright, -1), read_image(tmp_path / "picture.png").permute(1, 2, 0))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist(tmp_path: Path, upright: np.ndarray, orientation: int) -> None:
    Image.fromarray(upright).save(tmp_path / "picture.png", exif=_exif(orientation))
    assert np.array_equal(upright, np.asarray(open_upright(tmp_path / "picture.png")))


def _jpeg(upright: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(upright).save(stream, "JPEG")
    return stream.getvalue()


def test_a_stream(upright: np.ndarray) -> None:
    assert read_image(io.BytesIO(_jpeg(upright))).shape == (3, 24, 40)
    with pytest.raises(UnreadableImageError, match="known format"):
        read_image(io.BytesIO(b""))


def test_unreadable(tmp_path: Path, upright: np.ndarray) -> None:
    def reason(name: str, content: bytes | None = None) -> str:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImageError) as caught:
            read_image(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)
        return str(caught.value)

    whole = _jpeg(upright)
    assert "truncated" in reason("half.jpg", whole[:-40])
    assert reason("head.jpg", whole[:30])
    assert reason("empty.jpg", b"") == "the file is empty (0 bytes)"
    assert reason("text.jpg", b"This is not a picture.") == "not a picture in a known format"
    assert reason("missing.jpg") == "no such file"
    (tmp_path / "folder.jpg").mkdir()
    assert reason("folder.jpg") == "Is a directory"


def test_too_many_pixels(tmp_path: Path, upright: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(upright).save(tmp_path / "picture.png")
    monkeypatch.setattr(module, "MAX_PIXELS", 24 * 40)
    assert read_image(tmp_path / "picture.png").shape == (3, 24, 40)
    monkeypatch.setattr(module, "MAX_PIXELS", 24 * 40 - 1)
    with pytest.raises(UnreadableImageError, match="40 x 24 pixels, more than the limit of 959"):
        read_image(tmp_path / "picture.png")


def test_a_small_file_that_claims_to_be_huge(tmp_path: Path) -> None:
    # A PNG's header chunk: width, height, 1 bit, grey.
    header = b"IHDR" + struct.pack(">IIBBBBB", 10_000, 13_000, 1, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT")
    with pytest.raises(UnreadableImageError, match="10000 x 13000 pixels"):
        read_image(tmp_path / "bomb.png")


def _palette(transparent: bool) -> Image.Image:
    picture = Image.new("P", (6, 4), 1)
    picture.putpalette([9, 9, 9, 200, 100, 50])
    if transparent:
        picture.info["transparency"] = 1
    return picture


@pytest.mark.parametrize(
    ("picture", "ending", "colour"),
    [
        (Image.new("RGBA", (6, 4), (10, 20, 30, 255)), "png", (10, 20, 30)),
        (Image.new("RGBA", (6, 4), (10, 20, 30, 0)), "png", (255, 255, 255)),
        (Image.new("LA", (6, 4), (77, 255)), "png", (77, 77, 77)),
        (Image.new("L", (6, 4), 77), "png", (77, 77, 77)),
        (Image.new("1", (6, 4), 1), "png", (255, 255, 255)),
        (_palette(transparent=False), "png", (200, 100, 50)),
        (_palette(transparent=True), "png", (255, 255, 255)),
        (Image.fromarray(np.full((4, 6), 100 * 257, dtype=np.uint16)), "png", (100, 100, 100)),
        (Image.fromarray(np.full((4, 6), 65535, dtype=np.uint16)), "tif", (255, 255, 255)),
        (Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "tif", (255, 0, 0)),
        (Image.new("CMYK", (6, 4), (0, 0, 0, 255)), "jpg", (0, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path, picture: Image.Image, ending: str, colour: tuple[int, int, int]
) -> None:
    picture.save(tmp_path / f"picture.{ending}")
    found = read_image(tmp_path / f"picture.{ending}")
    assert found.shape == (3, 4, 6)
    assert (found.permute(1, 2, 0) == torch.tensor(colour)).all()
