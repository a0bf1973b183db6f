"""Hand-made data sets in COCO's layout for the reader's tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Json = dict[str, Any]


def image(number: int, *, width: int = 40, height: int = 30, name: str | None = None) -> Json:
    return {"id": number, "file_name": name or f"{number:06}.jpg", "width": width, "height": height, "license": 3}


def thing(number: int, image_id: int, category: int = 1, **more: Any) -> Json:
    entry = {"id": number, "image_id": image_id, "category_id": category, "bbox": [2, 3, 10, 8], "iscrowd": 0}
    return entry | {"area": 80, "segmentation": [[2, 3, 12, 3, 12, 11, 2, 11]]} | more


def caption(image_id: int, text: str) -> Json:
    return {"id": 1, "image_id": image_id, "caption": text}


def classes(**names: int) -> list[Json]:
    return [{"id": number, "name": name, "supercategory": "x"} for name, number in names.items()]


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def instances(images: list[Json], annotations: list[Json], categories: list[Json] | None = None) -> Json:
    return {
        "info": {"year": 2017},
        "images": images,
        "annotations": annotations,
        "categories": classes(cat=1) if categories is None else categories,
    }


def split(root: Path, name: str, **files: Json) -> Path:
    """``split(root, "train", instances={...})`` writes annotations/instances_train.json and makes images/train/."""
    (root / "images" / name).mkdir(parents=True, exist_ok=True)
    for kind, content in files.items():
        write(root / "annotations" / f"{kind}_{name}.json", content)
    return root


def panoptic_png(path: Path, ids: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(path)


def png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
