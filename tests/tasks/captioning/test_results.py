"""Captions of result files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from yolor_mtl.records import Annotations, UserError
from yolor_mtl.tasks.captioning.results import read_captions


def write(folder: Path, *rows: Any) -> Path:
    (folder / "captions.json").write_text(json.dumps(rows))
    return folder


def test_captions(tmp_path: Path) -> None:
    assert read_captions(tmp_path) is None
    answers = read_captions(write(tmp_path, {"image_id": 3, "caption": "A cat."}, {"image_id": 4, "caption": ""}))
    assert answers is not None
    told = [answers(Annotations(number, Path("a.jpg"), 2, 2))["text"] for number in (3, 4, 5)]
    assert told == ["A cat.", "", ""]


@pytest.mark.parametrize(
    ("bad", "parts"),
    [
        ({"image_id": 4, "caption": None}, ["entry 1", "caption", "null"]),
        ({"image_id": 4, "caption": ["a"]}, ["entry 1", "caption"]),
        ({"image_id": 3, "caption": "b"}, ["entry 1", "image_id 3", "entry 0"]),
    ],
)
def test_refused(tmp_path: Path, bad: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        read_captions(write(tmp_path, {"image_id": 3, "caption": "a"}, bad))
    assert all(part in str(caught.value) for part in ["captions.json", *parts])
