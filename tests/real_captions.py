"""Captions of the real samples, for the caption tests."""

import json
from pathlib import Path

import pytest


def caption_groups(shared: Path, folder: str = "coco_sample", limit: int | None = None) -> list[list[str]]:
    """The captions of each image, in the order of image ids."""
    if not (shared / folder).is_dir():
        pytest.skip(f"{shared / folder} is absent: the real captions live there")
    groups: dict[tuple[str, int], list[str]] = {}
    for path in sorted((shared / folder / "annotations").glob("captions_*.json")):
        for row in json.loads(path.read_text(encoding="utf-8"))["annotations"]:
            groups.setdefault((path.name, row["image_id"]), []).append(row["caption"])
    return [groups[key] for key in sorted(groups)][:limit]


def captions(shared: Path, folder: str = "coco_sample", limit: int | None = None) -> list[str]:
    return [text for group in caption_groups(shared, folder, limit) for text in group]
