"""Masks of the kept boxes, in the user's pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from yolor_mtl.ops.frame import letterbox_frame, sample_original
from yolor_mtl.records import Prediction
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.detection.decode import DetectionDecode
from yolor_mtl.tasks.instance.decode import InstanceDecode


def _detection(boxes: list[list[float]], points: list[int]) -> Prediction:
    number = len(boxes)
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "scores": torch.linspace(0.9, 0.5, number),
        "classes": torch.zeros(number, dtype=torch.int64),
        "points": torch.tensor(points, dtype=torch.int64),
    }


def test_logits_are_mixed_prototypes() -> None:
    out = {"coefficients": torch.randn(2, 7, 3), "proto": torch.randn(2, 3, 4, 5)}
    used = {"detection": [_detection([[0.0, 0, 1, 1]] * 2, [6, 2]), _detection([], [])]}
    found = InstanceDecode()(out, used, DecodeOptions())
    wanted = sum(out["coefficients"][0, 2, k] * out["proto"][0, k] for k in range(3))
    assert isinstance(wanted, Tensor)
    torch.testing.assert_close(found[0]["logits"][1], wanted)
    assert found[0]["logits"].shape == (2, 4, 5)
    assert found[1]["logits"].shape == (0, 4, 5)


@pytest.mark.parametrize("original", [(128, 192), (641, 333), (40, 500), (7, 7)])
def test_masks_lie_in_their_boxes(original: tuple[int, int]) -> None:
    frame = letterbox_frame(original, (64, 96))
    left, top = frame.pad
    height, width = frame.inner
    boxes = [
        [left + 0.2 * width, top + 0.3 * height, left + 0.7 * width, top + 0.9 * height],
        [0, 0, left + 0.01, top + 0.01],
        [left - 50.0, top - 50.0, left + 300.0, top + 300.0],
    ]
    detection = _detection(boxes, [0, 1, 2])
    restored = {"detection": DetectionDecode("main").restore(detection, frame, {})}
    logits = torch.stack([torch.ones(16, 24), torch.ones(16, 24), torch.full((16, 24), -1.0)])
    found = InstanceDecode().restore({"logits": logits}, frame, restored)
    masks = found["masks"]
    assert masks.size == original
    assert len(masks) == len(found["boxes"]) == len(restored["detection"]["kept"])
    x1, y1, x2, y2 = found["boxes"][0].tolist()
    ys, xs = np.nonzero(masks.dense(0))
    # All of the box and nothing but it, to whole pixels outward.
    assert (ys.min(), xs.min()) == (int(y1), int(x1))
    assert (ys.max() + 1, xs.max() + 1) == (int(np.ceil(y2)), int(np.ceil(x2)))
    assert masks.areas()[0] == (ys.max() + 1 - ys.min()) * (xs.max() + 1 - xs.min())
    assert masks.areas()[-1] == 0


def test_half_of_a_box() -> None:
    """Logits negative left of x = 48 in the frame: the mask begins at x = 48 of a picture of the frame's size."""
    frame = letterbox_frame((64, 96), (64, 96))
    centres = torch.arange(24) * 4 + 2.0
    restored = {"detection": DetectionDecode("main").restore(_detection([[20.0, 10, 80, 50]], [0]), frame, {})}
    found = InstanceDecode().restore({"logits": (centres - 48).expand(1, 16, 24)}, frame, restored)["masks"].dense(0)
    wanted = np.zeros((64, 96), dtype=bool)
    wanted[10:50, 48:80] = True
    assert np.array_equal(found, wanted)


def test_nothing_found() -> None:
    frame = letterbox_frame((30, 40), (64, 96))
    restored = {"detection": DetectionDecode("main").restore(_detection([], []), frame, {})}
    found = InstanceDecode().restore({"logits": torch.zeros(0, 16, 24)}, frame, restored)
    assert len(found["masks"]) == 0
    assert found["masks"].size == (30, 40)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 120), st.integers(1, 120)), st.integers(0, 10**6))
def test_masks_are_those_of_whole_planes_cut_to_their_boxes(original: tuple[int, int], seed: int) -> None:
    """But for pixels whose logit is zero within float rounding."""
    generator = torch.Generator().manual_seed(seed)
    frame = letterbox_frame(original, (64, 96))
    corners = torch.rand(5, 2, 2, generator=generator) * torch.tensor([120.0, 80.0]) - 10
    boxes = torch.cat((corners.amin(1), corners.amax(1)), dim=1)
    restored = {"detection": DetectionDecode("main").restore(_detection(boxes.tolist(), [0] * 5), frame, {})}
    logits = torch.randn(5, 16, 24, generator=generator)
    found = InstanceDecode().restore({"logits": logits}, frame, restored)
    whole = sample_original(logits[restored["detection"]["kept"]], frame).numpy()
    ys, xs = np.mgrid[: original[0], : original[1]]
    for mask, values, (x1, y1, x2, y2) in zip(found["masks"], whole, found["boxes"].tolist(), strict=True):
        inside = (xs >= np.floor(x1)) & (xs < np.ceil(x2)) & (ys >= np.floor(y1)) & (ys < np.ceil(y2))
        decided = np.abs(values) > 2e-6 * np.abs(values).max()
        assert np.array_equal(mask[decided], ((values > 0) & inside)[decided])
        assert not mask[~inside].any()
