"""From raw outputs to boxes of the user's picture."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from yolor_mtl.ops.frame import letterbox_frame
from yolor_mtl.records import Outputs
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.detection import decode as module
from yolor_mtl.tasks.detection.decode import DetectionDecode
from yolor_mtl.tasks.detection.head import anchor_points, boxes_from_distances, expected_distances

BINS = 16


def _outputs(rows: int = 2) -> Outputs:
    generator = torch.Generator().manual_seed(5)
    anchors = anchor_points([(8, 12), (4, 6), (2, 3)], [8, 16, 32], torch.device("cpu"))
    return {
        "anchors": anchors,
        "main.box_logits": torch.randn(rows, len(anchors), 4 * BINS, generator=generator),
        "main.class_logits": torch.randn(rows, len(anchors), 3, generator=generator),
        "main.steps": torch.arange(float(BINS)),
    }


def _picked(boxes: Tensor) -> set[tuple[float, ...]]:
    return {tuple(round(v, 3) for v in box) for box in boxes.tolist()}


@pytest.mark.parametrize("conf", [0.0, 0.5, 0.9, 1.0])
def test_as_torchvision(conf: float) -> None:
    out = _outputs()
    options = DecodeOptions(conf=conf, iou=0.6, max_det=20)
    for row, found in enumerate(DetectionDecode("main")(out, {}, options)):
        best, classes = out["main.class_logits"][row].sigmoid().max(-1)
        boxes = boxes_from_distances(expected_distances(out["main.box_logits"][row], out["main.steps"]), out["anchors"])
        strong = best > conf
        shifted = boxes[strong] + 500  # torchvision keeps classes apart for positive coordinates only
        keep = batched_nms(shifted, best[strong], classes[strong], 0.6)[:20]
        torch.testing.assert_close(found["boxes"], boxes[strong][keep])
        torch.testing.assert_close(found["scores"], best[strong][keep])
        assert torch.equal(found["classes"], classes[strong][keep])
        assert torch.equal(found["points"], strong.nonzero()[:, 0][keep])
        assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)


def test_candidates_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CANDIDATES", 5)
    out = _outputs(1)
    found = DetectionDecode("main")(out, {}, DecodeOptions(conf=0.0, iou=1.0))[0]
    best = out["main.class_logits"][0].sigmoid().amax(-1)
    torch.testing.assert_close(found["scores"], best.sort(descending=True).values[:5])


def test_one_box_by_hand() -> None:
    """Sharp distributions at 2 cells to each side of the point (44, 28) at stride 8: (28, 12, 60, 44)."""
    out = _outputs(1)
    point = 3 * 12 + 5
    out["main.class_logits"].fill_(-20)
    out["main.class_logits"][0, point, 1] = math.log(3)
    out["main.box_logits"].fill_(0)
    out["main.box_logits"][0, point].view(4, BINS)[:, 2] = 100
    decode = DetectionDecode("main")
    found = decode(out, {}, DecodeOptions())[0]
    torch.testing.assert_close(found["boxes"], torch.tensor([[28.0, 12, 60, 44]]))
    assert found["scores"].item() == pytest.approx(0.75)
    assert found["classes"].tolist() == [1]
    assert found["points"].tolist() == [point]
    # A picture of 128 x 384 in a frame of 64 x 96: a quarter of the size, 16 rows of padding above.
    restored = decode.restore(found, letterbox_frame((128, 384), (64, 96)), {})
    torch.testing.assert_close(restored["boxes"], torch.tensor([[112.0, 0, 240, 112]]))
    assert restored["kept"].tolist() == [0]


def test_boxes_in_the_padding_are_dropped() -> None:
    prediction = {
        "boxes": torch.tensor([[0.0, 0, 90, 10], [0, 10, 90, 40], [-50, 20, -10, 30]]),
        "scores": torch.tensor([0.9, 0.8, 0.7]),
        "classes": torch.tensor([0, 1, 2]),
        "points": torch.tensor([4, 5, 6]),
    }
    found = DetectionDecode("main").restore(prediction, letterbox_frame((128, 384), (64, 96)), {})
    assert found["kept"].tolist() == [1]
    assert found["classes"].tolist() == [1]
    assert found["points"].tolist() == [5]
    assert _picked(found["boxes"]) == {(0.0, 0.0, 360.0, 96.0)}


def test_nothing_found() -> None:
    decode = DetectionDecode("main")
    found = decode.restore(decode(_outputs(1), {}, DecodeOptions(conf=1.0))[0], letterbox_frame((7, 7), (64, 96)), {})
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "boxes": (0, 4),
        "scores": (0,),
        "classes": (0,),
        "points": (0,),
        "kept": (0,),
    }
