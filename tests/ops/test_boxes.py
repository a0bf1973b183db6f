"""Overlaps against hand-worked numbers and torchvision; suppression against a loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, complete_box_iou_loss

from yolor_mtl.ops import boxes as box_ops

corner = st.floats(-50, 700, width=32)
side = st.floats(0.5, 600, width=32)
box = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


def test_ciou_of_shifted_squares() -> None:
    # Overlap 1 of a union of 4 + 4 - 1 = 7; centres (1, 1) apart: 2; hull 3 x 3: diagonal 18; same shape.
    found = box_ops.ciou(torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 1, 3, 3]))
    assert found.item() == pytest.approx(1 / 7 - 2 / 18, abs=1e-6)


def test_ciou_of_turned_rectangles() -> None:
    # Overlap 1, union 3. Centres (1, .5) and (.5, 1): squared distance .5, hull 2 x 2: 8, so .0625.
    # v = 4 / pi^2 (atan 2 - atan .5)^2 = .4052847 * .6435011^2 = .1678258; a = v / (1 - 1/3 + v) = .2011112.
    # 1/3 - .0625 - .2011112 * .1678258 = .2370817.
    found = box_ops.ciou(torch.tensor([0.0, 0, 2, 1]), torch.tensor([0.0, 0, 1, 2]))
    assert found.item() == pytest.approx(0.2370817, abs=1e-6)


def test_ciou_of_boxes_apart_is_negative() -> None:
    # No overlap; centres 3 apart: 9; hull 4 x 1: 17.
    found = box_ops.ciou(torch.tensor([0.0, 0, 1, 1]), torch.tensor([3.0, 0, 4, 1]))
    assert found.item() == pytest.approx(-9 / 17, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(box, box), min_size=1, max_size=5))
def test_ciou_and_its_gradient_as_torchvision(pairs: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
    wanted_boxes = torch.tensor([second for _, second in pairs], dtype=torch.float64)
    ours, theirs = (
        torch.tensor([first for first, _ in pairs], dtype=torch.float64, requires_grad=True) for _ in range(2)
    )
    found = 1 - box_ops.ciou(ours, wanted_boxes)
    wanted = complete_box_iou_loss(theirs, wanted_boxes)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)
    found.sum().backward()
    wanted.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "degenerate",
    [
        (10.0, 10, 10, 10),  # no area
        (10.0, 10, 10, 90),  # a line
        (10.0, 10, 10 + 1e-7, 90),
        (0.0, 0, 1e-7, 1e-7),
        (-500.0, -400, -100, -50),  # outside of the picture
        (0.0, 0, 640, 640),  # an area beyond float16
        (90.0, 90, 10, 10),  # inverted
    ],
)
def test_degenerate_boxes_stay_finite(degenerate: tuple[float, ...], dtype: torch.dtype) -> None:
    for other in (degenerate, (5.0, 5, 80, 60), (0.0, 0, 0, 0)):
        first = torch.tensor(degenerate, dtype=dtype, requires_grad=True)
        second = torch.tensor(other, dtype=dtype, requires_grad=True)
        value = box_ops.ciou(first, second) + box_ops.iou(first, second) + box_ops.area(first) * 1e-6
        value.backward()
        assert first.grad is not None
        assert second.grad is not None
        assert torch.isfinite(torch.stack((value, *first.grad.float(), *second.grad.float()))).all()
        assert value.dtype == torch.float32


@settings(max_examples=50, deadline=None)
@given(st.lists(box, min_size=1, max_size=6), st.lists(box, min_size=1, max_size=6))
def test_iou_of_all_pairs_as_torchvision(first: list[tuple[float, ...]], second: list[tuple[float, ...]]) -> None:
    one, two = torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64)
    torch.testing.assert_close(box_ops.iou(one[:, None], two), box_iou(one, two), atol=1e-5, rtol=1e-5)


def test_inverted_boxes_are_empty() -> None:
    assert box_ops.area(torch.tensor([[4.0, 4, 2, 9], [4, 4, 6, 9]])).tolist() == [0, 10]


def _loop_nms(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for index in scores.argsort(descending=True).tolist():
        rivals = [other for other in kept if classes[other] == classes[index]]
        if all(float(box_iou(boxes[None, index], boxes[None, other])) <= threshold for other in rivals):
            kept.append(index)
    return kept


whole_box = st.tuples(*[st.integers(-40, 40)] * 2, *[st.integers(1, 40)] * 2)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(whole_box, st.integers(0, 2)), max_size=12), st.randoms(use_true_random=False))
def test_nms_as_a_loop(rows: list[tuple[tuple[int, int, int, int], int]], random: object) -> None:
    boxes = torch.tensor([(x, y, x + w, y + h) for (x, y, w, h), _ in rows], dtype=torch.float32).reshape(-1, 4)
    classes = torch.tensor([cls for _, cls in rows], dtype=torch.int64)
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    scores = torch.tensor(order, dtype=torch.float32) / max(1, len(rows))
    assert box_ops.nms(boxes, scores, classes, 0.5, 100).tolist() == _loop_nms(boxes, scores, classes, 0.5)
    assert box_ops.nms(boxes, scores, classes, 0.5, 2).tolist() == _loop_nms(boxes, scores, classes, 0.5)[:2]


def test_nms_as_torchvision_within_the_picture() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(200, 2, generator=generator) * 300
    boxes = torch.cat((low, low + 20 + torch.rand(200, 2, generator=generator) * 100), dim=1)
    scores, classes = torch.rand(200, generator=generator), torch.randint(0, 5, (200,), generator=generator)
    wanted = batched_nms(boxes, scores, classes, 0.6)
    assert torch.equal(box_ops.nms(boxes, scores, classes, 0.6, 300), wanted)


def test_classes_stay_apart_left_of_the_picture() -> None:
    """torchvision's own shift of classes lets these two meet: -60 + (100 + 1) = 41."""
    boxes = torch.tensor([[41.0, 41, 100, 100], [-60, -60, -1, -1]])
    assert box_ops.nms(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), 0.5, 10).tolist() == [0, 1]
