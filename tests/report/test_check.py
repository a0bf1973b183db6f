"""The page of a data check: what was found, drawn, and nothing executed or loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolor_mtl.data.check.findings import DRAWN, Finding, Findings, Shape
from yolor_mtl.data.check.result import Checked, SplitFacts
from yolor_mtl.data.locate import Layout
from yolor_mtl.report.check import groups, write_check

HOSTILE = '<script>alert("1")</script>'


def checked(path: Path, *found: tuple[Finding, Shape | None]) -> Checked:
    findings = Findings()
    for finding, shape in found:
        findings.add(finding, shape)
    layout = Layout(Path(f"data {HOSTILE}"), {}, root=path.parent)
    return Checked(layout, "whole", findings, {"train": SplitFacts(images=3)}, {f"cat {HOSTILE}": {"train": 7}})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (100, 50), "white").save(tmp_path / "a.png")
    return tmp_path / "a.png"


def about(check: str, number: int = 1) -> Finding:
    return Finding(check, f"bad {number} {HOSTILE}", "f.json", "train", 1, number, f"annotations[{number}]", "a.png")


def red(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image).astype(int)
    return np.asarray((pixels[..., 0] > 180) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90))


def test_boxes_and_outlines_are_drawn_where_they_are(picture: Path) -> None:
    box = Shape(picture, (50, 100), (60.0, 10.0, 90.0, 40.0))
    outline = Shape(picture, (50, 100), None, ((10.0, 10, 30, 10, 30, 40),))
    found = groups(checked(picture, (about("box-leaves"), box), (about("polygon-crosses"), outline)))
    (one, _), (other, _) = (group.pictures[0] for group in found)
    rows, columns = np.nonzero(red(one)[12:, :])
    assert (columns.min(), columns.max()) == (60, 89)
    assert rows.max() + 12 == 39
    assert red(other)[9:12, 12:28].any(axis=0).all()
    assert not red(other)[:, 40:].any()


def test_shares_are_drawn_at_the_size_of_the_picture(picture: Path) -> None:
    shape = Shape(picture, (0, 0), (0.6, 0.2, 0.9, 0.8))
    ((image, _),) = groups(checked(picture, (about("box-leaves"), shape)))[0].pictures
    columns = np.nonzero(red(image)[15:])[1]
    assert (columns.min(), columns.max()) == (60, 89)


def test_inverted_and_endless_boxes_are_drawn_too(picture: Path) -> None:
    wild = [(90.0, 40.0, 60.0, 10.0), (-1e30, 5.0, 1e30, 9.0), (500.0, 500.0, 600.0, 600.0)]
    shapes = [(about("box-inverted", k), Shape(picture, (50, 100), box)) for k, box in enumerate(wild)]
    assert len(groups(checked(picture, *shapes))[0].pictures) == 3


def test_errors_come_first_and_pictures_are_few(picture: Path) -> None:
    shape = Shape(picture, (50, 100), (1.0, 1.0, 9.0, 9.0))
    many = [(about("box-outside", k), shape) for k in range(200)]
    found = groups(checked(picture, (about("class-rare"), None), (about("box-leaves"), None), *many))
    assert [group.kind.severity for group in found] == ["error", "warning", "note"]
    assert (found[0].count, len(found[0].findings), len(found[0].pictures)) == (200, 50, DRAWN)


def test_a_picture_that_cannot_be_read_is_not_drawn(picture: Path) -> None:
    picture.write_text("none")
    shape = Shape(picture, (50, 100))
    assert groups(checked(picture, (about("image-type"), shape)))[0].pictures == ()


def test_page(picture: Path, tmp_path: Path) -> None:
    shape = Shape(picture, (50, 100), (1.0, 1.0, 9.0, 9.0))
    write_check(checked(picture, (about("box-outside"), shape)), tmp_path / "check.html")
    page = (tmp_path / "check.html").read_text()
    assert "<script" not in page
    assert "http" not in page
    assert page.count("data:image/jpeg;base64,") == 1
    assert "box-outside" in page
    assert "annotations[1]" in page
