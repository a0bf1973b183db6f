"""``yolor-mtl val predictions=FOLDER`` of files that are none: exit code 2, the file, the entry, the remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from coco_builder import panoptic_png, png

from yolor_mtl.data.coco import open_coco
from yolor_mtl.records import Annotations


@pytest.fixture(scope="module")
def image(scenes: Path) -> Annotations:
    return open_coco(scenes, ["val"], cache=False).annotations(0)


def boxes(**more: Any) -> list[dict[str, Any]]:
    return [{"image_id": 0, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.5} | more]


def masks(segmentation: object) -> list[dict[str, Any]]:
    return [{"image_id": 0, "category_id": 1, "segmentation": segmentation, "score": 0.5}]


def segments(**more: Any) -> dict[str, Any]:
    return {"annotations": [{"image_id": 0, "file_name": "x.png", "segments_info": []} | more]}


CASES: dict[str, tuple[str, Any, list[str]]] = {
    "id as text": ("detections", boxes(image_id="abc"), ["entry 0: image_id"]),
    "box of three": ("detections", boxes(bbox=[0, 0, 9]), ["entry 0: bbox"]),
    "score NaN": ("detections", boxes(score=float("nan")), ["entry 0: NaN"]),
    "an object": ("detections", {"detections": boxes()}, ["a list of results is needed"]),
    "deep": ("detections", "[" * 100_000, []),
    "RLE cut off": ("segmentations", masks({"size": "SIZE", "counts": "5"}), ["entry 0", "counts do not describe"]),
    "RLE negative": ("segmentations", masks({"size": "SIZE", "counts": [-5, 9]}), ["entry 0", "counts[0]"]),
    "no mask": ("segmentations", masks(None), ["entry 0: segmentation"]),
    "image of another split": ("detections", boxes(image_id=9), ["entry 0: image_id 9", "1 of 1", "split="]),
    "caption of another split": ("captions", [{"image_id": 9, "caption": "a"}], ["entry 0: image_id 9", "split="]),
    "picture of another split": ("panoptic", segments(image_id=9), ["entry 0: image_id 9", "split="]),
    "no caption": ("captions", [{"image_id": 0, "caption": None}], ["entry 0: caption"]),
    "two captions": ("captions", [{"image_id": 0, "caption": text} for text in "ab"], ["entry 1: image_id", "already"]),
    "no file name": ("panoptic", segments(file_name=None), ["entry 0: file_name"]),
    "no id": ("panoptic", segments(segments_info=[{"category_id": 1}]), ["entry 0 has no 'id'"]),
    "ids not listed": ("panoptic", segments(), ["entry 0: 1 segment ids", "the first is 7"]),
    "no picture": ("panoptic", segments(file_name="y.png"), ["y.png: missing, the predicted map"]),
}


@pytest.mark.parametrize(("name", "content", "parts"), CASES.values(), ids=list(CASES))
def test_refused(
    command: runs.Command, scenes: Path, image: Annotations, tmp_path: Path, name: str, content: Any, parts: list[str]
) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    text = text.replace('"image_id": 0', f'"image_id": {image.image_id}')
    text = text.replace('"SIZE"', json.dumps([image.height, image.width]))
    (tmp_path / f"{name}.json").write_text(text)
    panoptic_png(tmp_path / "panoptic" / "x.png", np.full((image.height, image.width), 7))
    said = command("val", f"predictions={tmp_path}", f"data={scenes}", f"out={tmp_path / 'out'}")
    runs.refused(said, name, *parts)
    assert not (tmp_path / "out").exists()


def test_a_map_of_other_classes(command: runs.Command, scenes: Path, image: Annotations, tmp_path: Path) -> None:
    png(tmp_path / "semantic" / f"{image.path.stem}.png", np.full((image.height, image.width), 200))
    said = command("val", f"predictions={tmp_path}", f"data={scenes}", f"out={tmp_path / 'out'}")
    runs.refused(said, f"{image.path.stem}.png: value 200 is no class", "semantic classes")
