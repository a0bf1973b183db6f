"""The released networks' parity data: weights that are a function of their names, and outputs measured with them."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from yolor_mtl.build import Model, build_model, model_config
from yolor_mtl.data.coco_stuff_classes import released_space
from yolor_mtl.models.weights import load_state
from yolor_mtl.records import Outputs
from yolor_mtl.tasks.detection.head import boxes_from_distances, expected_distances
from yolor_mtl.upstream import keys

RENAMES: dict[str, Callable[[str], str | None]] = {
    "gelan-c-pan": keys.gelan_c_pan,
    "yolov7-af-pan": keys.yolov7_af_pan,
    "gyolo": keys.gyolo,
}
VISION = ("detection", "instance", "semantic")
TOLERANCE = 1e-4
"""Of an array's greatest value."""


def entries(shared: Path, name: str) -> list[tuple[str, list[int]]]:
    """Keys and shapes of a release's state dict, in its order."""
    rows = json.loads((shared / f"upstream/{name}.keys.json").read_text())
    return [(key, shape) for key, shape, _ in rows]


def released_state(shared: Path, name: str) -> dict[str, Tensor]:
    """The state dict the outputs were measured with, by released names."""
    fill = runpy.run_path(str(shared / "upstream/fill.py"))["fill"]
    kept = np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1)
    return {
        key: torch.from_numpy(kept if key.endswith(".dfl.conv.weight") else fill(key, shape))
        for key, shape in entries(shared, name)
    }


def is_caption(name: str, key: str) -> bool:
    """Whether a tensor belongs to the caption part."""
    return name == "gyolo" and key.startswith(keys.CAPTION_LAYER)


def vision_model(shared: Path, name: str) -> Model:
    """Our network with those weights, without its caption part."""
    model = build_model(model_config(name), released_space(), (*VISION, "panoptic"))
    state = released_state(shared, name)
    named = {RENAMES[name](key): value for key, value in state.items() if not is_caption(name, key)}
    load_state(model.network, {str(ours): value for ours, value in named.items()}, name)
    model.network.eval()
    return model


def images() -> Tensor:
    """The parity input, (1, 3, 128, 160) in 0..1."""
    return torch.from_numpy(np.random.RandomState(0).rand(1, 3, 128, 160).astype(np.float32))


def as_released(out: dict[str, Outputs]) -> dict[str, np.ndarray]:
    """Our outputs in the arrays' layout: ``raw`` holds the three levels one after the other."""
    detection = out["detection"]
    boxes, classes = detection["main.box_logits"][0], detection["main.class_logits"][0]
    xyxy = boxes_from_distances(expected_distances(boxes, detection["main.steps"]), detection["anchors"])
    low, high = xyxy.split(2, dim=1)
    coefficients = out["instance"]["coefficients"][0]
    found = {
        "raw": torch.cat((boxes, classes), dim=1).T,
        "box": torch.cat(((low + high) / 2, high - low), dim=1).T,
        "det": torch.cat((classes.sigmoid(), coefficients), dim=1).T,
        "proto": out["instance"]["proto"],
        "semantic": out["semantic"]["logits"],
    }
    return {key: value.numpy() for key, value in found.items()}


def measured(shared: Path, name: str) -> dict[str, np.ndarray]:
    """The arrays of :func:`as_released` as the published network gave them."""
    with np.load(shared / f"upstream/{name}.npz") as arrays:
        levels = [arrays[f"raw{level}"][0].reshape(144, -1) for level in range(3)]
        return {
            "raw": np.concatenate(levels, axis=1),
            "box": arrays["det"][0, :4],
            "det": arrays["det"][0, 4:],
            "proto": arrays["proto"],
            "semantic": arrays["semantic"],
        }


def gaps(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> dict[str, float]:
    """Greatest difference of each array, as a share of its greatest value."""
    assert all(found[key].shape == wanted[key].shape for key in wanted)
    return {key: float(np.abs(found[key] - wanted[key]).max() / np.abs(wanted[key]).max()) for key in wanted}
