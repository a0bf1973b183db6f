"""Detection's three terms against direct computations."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny import boxes_table
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import complete_box_iou_loss

from yolor_mtl.records import LossOutput, Outputs
from yolor_mtl.tasks.base import Branch
from yolor_mtl.tasks.detection.head import anchor_points, boxes_from_distances, expected_distances
from yolor_mtl.tasks.detection.loss import DetectionLoss, distribution_focal_loss

CLASSES, BINS = 3, 16


def test_dfl_by_hand() -> None:
    # Four bins with probabilities 1/8, 2/8, 3/8, 2/8. Distance 1.25 lies between bins 1 and 2:
    # -(.75 ln 2/8 + .25 ln 3/8) = .75 * 1.3862944 + .25 * .9808293 = 1.2849281. Distance 2 is bin 2: .9808293.
    # Distance 0 is bin 0: ln 8 = 2.0794415. Distance 9 counts as 2.99: .01 * .9808293 + .99 * 1.3862944 = 1.3822397.
    logits = torch.tensor([1.0, 2, 3, 2]).log().expand(1, 4, 4)
    found = distribution_focal_loss(logits, torch.tensor([[1.25, 2, 0, 9]]))
    assert found.item() == pytest.approx((1.2849281 + 0.9808293 + 2.0794415 + 1.3822397) / 4, abs=1e-6)


def test_dfl_of_a_flat_distribution() -> None:
    found = distribution_focal_loss(torch.zeros(5, 4, BINS), torch.rand(5, 4) * 15)
    torch.testing.assert_close(found, torch.full((5,), math.log(BINS)))


def _outputs(rows: int, dtype: torch.dtype = torch.float32, names: tuple[str, ...] = ("main",)) -> Outputs:
    anchors = anchor_points([(8, 12), (4, 6), (2, 3)], [8, 16, 32], torch.device("cpu"))
    out = {"anchors": anchors}
    for name in names:
        out[f"{name}.steps"] = torch.arange(float(BINS))
        out[f"{name}.box_logits"] = torch.randn(rows, len(anchors), 4 * BINS).to(dtype).requires_grad_()
        out[f"{name}.class_logits"] = (torch.randn(rows, len(anchors), CLASSES) - 3).to(dtype).requires_grad_()
    return out


def _total(loss: LossOutput) -> Tensor:
    return torch.stack([value for value, _ in loss.terms.values()]).sum()


def _check_finite(loss: LossOutput, out: Outputs) -> None:
    _total(loss).backward()
    values = [value for pair in loss.terms.values() for value in pair]
    assert all(torch.isfinite(value).all() for value in values)
    leaves = [value for value in out.values() if value.requires_grad]
    assert all(leaf.grad is not None and torch.isfinite(leaf.grad).all() for leaf in leaves)


def test_terms_directly() -> None:
    """A loop over all points, with torchvision's CIoU."""
    torch.manual_seed(3)
    out = _outputs(2)
    wanted = boxes_table([[(5.0, 5, 40, 40), (50, 10, 90, 60)], [(10.0, 10, 60, 50)]])
    loss = DetectionLoss([Branch()])(out, wanted, {})
    assignment = loss.shared["assignment"]
    logits = out["main.class_logits"].detach()
    boxes = boxes_from_distances(expected_distances(out["main.box_logits"].detach(), out["main.steps"]), out["anchors"])
    sums = {"class": 0.0, "box": 0.0, "dfl": 0.0}
    count = 0.0
    for row in range(2):
        for point in range(len(out["anchors"])):
            truth, number = torch.zeros(CLASSES), int(assignment.objects[row, point])
            if number >= 0:
                score, target = float(assignment.scores[row, point]), wanted["boxes"][row, number]
                truth[wanted["classes"][row, number]] = score
                count += score
                sums["box"] += score * float(complete_box_iou_loss(boxes[row, point], target))
                x, y, stride = out["anchors"][point].tolist()
                sides = torch.tensor([x - target[0], y - target[1], target[2] - x, target[3] - y]) / stride
                for side, bins in zip(sides.tolist(), out["main.box_logits"][row, point].view(4, BINS), strict=True):
                    near, low = min(side, BINS - 1.01), int(min(side, BINS - 1.01))
                    share = bins.detach().softmax(0).log()
                    sums["dfl"] -= score / 4 * float(share[low] * (low + 1 - near) + share[low + 1] * (near - low))
            sums["class"] += float(F.binary_cross_entropy_with_logits(logits[row, point], truth, reduction="sum"))
    assert int(assignment.positive.sum()) > 10
    for name, value in sums.items():
        found, divisor = loss.terms[name]
        assert found.item() == pytest.approx(value, rel=1e-4)
        assert divisor.item() == pytest.approx(count, rel=1e-5)


def test_case_03_crowd_points_do_not_count() -> None:
    """Whatever the network says inside of a crowd region, loss and gradient stay the same."""
    out = _outputs(1)
    wanted = boxes_table([[(0.0, 0, 30, 30), (40.0, 0, 96, 64)]], crowd={(0, 1)})
    loss = DetectionLoss([Branch()])(out, wanted, {})
    ignored = loss.shared["assignment"].ignored
    assert ignored.any()
    _total(loss).backward()
    grad = out["main.class_logits"].grad
    assert grad is not None
    assert not grad[ignored].any()
    assert grad[~ignored].all()
    assert not out["main.box_logits"].grad[ignored].any()  # type: ignore[index]
    with torch.no_grad():
        out["main.class_logits"][ignored] += 50
    assert torch.equal(_total(DetectionLoss([Branch()])(out, wanted, {})), _total(loss))
    assert not (loss.shared["assignment"].objects == 1).any()


@pytest.mark.parametrize("rows", [[[]], [[], [(5.0, 5, 40, 40)]], [[(5.0, 5, 40, 40)], []]])
def test_pictures_without_boxes(rows: list[list[tuple[float, ...]]]) -> None:
    out = _outputs(len(rows))
    _check_finite(DetectionLoss([Branch()])(out, boxes_table(rows), {}), out)
    grad = out["main.class_logits"].grad
    assert grad is not None
    assert grad.all(), "every point of a picture without objects is a negative"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_case_06_degenerate_boxes_and_logits(dtype: torch.dtype, scale: float) -> None:
    boxes = [(20.0, 20, 20, 20), (20.0, 20, 20 + 1e-7, 60), (-90.0, -90, 300, 300), (200.0, 200, 300, 300)]
    out = _outputs(1, dtype)
    with torch.no_grad():
        for value in out.values():
            if value.requires_grad:
                # Beyond fp16's range the logits themselves would be infinite, before any loss.
                value.mul_(scale).clamp_(-6e4, 6e4)
    _check_finite(DetectionLoss([Branch()])(out, boxes_table([boxes]), {}), out)


def test_branches_have_their_own_terms() -> None:
    out = _outputs(1, names=("main", "aux"))
    wanted = boxes_table([[(5.0, 5, 60, 60)]])
    rows = [Branch(), Branch("aux", weight=0.25, top_k=3)]
    both, alone = DetectionLoss(rows)(out, wanted, {}), DetectionLoss([Branch("aux", top_k=3)])(out, wanted, {})
    assert set(both.terms) == {"class", "box", "dfl", "class@aux", "box@aux", "dfl@aux"}
    for name in ("class", "box", "dfl"):
        assert both.terms[f"{name}@aux"][0].item() == pytest.approx(alone.terms[name][0].item() * 0.25)
        assert torch.equal(both.terms[f"{name}@aux"][1], alone.terms[name][1])
    main: dict[str, Any] = dict(DetectionLoss(rows[:1])(out, wanted, {}).shared)
    assert torch.equal(both.shared["assignment"].objects, main["assignment"].objects)
    assert int(alone.shared["assignment"].positive.sum()) == 3


def test_a_branch_learns_from_another_s_assignment() -> None:
    torch.manual_seed(1)
    out = _outputs(2, names=("one", "many", "aux"))
    wanted = boxes_table([[(5.0, 5, 40, 40), (50, 10, 90, 60)], [(10.0, 10, 60, 50)]])
    rows = [Branch("one", top_k=1), Branch("aux", assign_from="many", weight=0.25), Branch("many")]
    found = DetectionLoss(rows, "many")(out, wanted, {})
    alone = DetectionLoss([Branch("many")])(out, wanted, {})
    assert torch.equal(found.shared["assignment"].objects, alone.shared["assignment"].objects)
    # The same assignment makes the same count; the one-to-one branch assigns fewer points.
    assert found.terms["class@aux"][1] == found.terms["class@many"][1] == alone.terms["class"][1]
    assert found.terms["class"][1] < found.terms["class@many"][1]
    torch.testing.assert_close(found.terms["box@many"][0], alone.terms["box"][0])
    whole = DetectionLoss([Branch("aux")])(out, wanted, {})
    assert not torch.equal(whole.shared["assignment"].scores, alone.shared["assignment"].scores)
