"""The mask loss against loops over points and cells."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from yolor_mtl.records import UserError
from yolor_mtl.tasks.detection.assigner import Assignment
from yolor_mtl.tasks.instance.head import MaskBranch
from yolor_mtl.tasks.instance.loss import InstanceLoss, mask_loss


def _by_loops(
    coefficients: Tensor, proto: Tensor, row: Tensor, boxes: Tensor, masks: Tensor, mask: Tensor
) -> tuple[float, list[int]]:
    """Sum over points of the mean cross entropy over the cells whose centres lie in the box; cells of each point."""
    total, cells = 0.0, []
    for point in range(len(coefficients)):
        errors = []
        for y in range(proto.shape[2]):
            for x in range(proto.shape[3]):
                left, top, right, bottom = boxes[point].tolist()
                if not (left <= x + 0.5 < right and top <= y + 0.5 < bottom):
                    continue
                logit = float(coefficients[point] @ proto[row[point], :, y, x])
                share = 1 / (1 + math.exp(-logit))
                errors.append(-math.log(share if masks[mask[point], y, x] else 1 - share))
        total += sum(errors) / max(1, len(errors))
        cells.append(len(errors))
    return total, cells


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 6), st.integers(1, 3))
def test_as_loops(seed: int, points: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    height, width = 6, 9
    coefficients = torch.randn(points, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    proto = torch.randn(rows, 4, height, width, generator=generator, dtype=torch.float64, requires_grad=True)
    row = torch.randint(0, rows, (points,), generator=generator).sort().values
    low = torch.rand(points, 2, generator=generator) * 9 - 1
    boxes = torch.cat((low, low + torch.rand(points, 2, generator=generator) * 7), dim=1)
    masks = torch.randint(0, 2, (3, height, width), generator=generator, dtype=torch.uint8)
    mask = torch.randint(0, 3, (points,), generator=generator)
    found = mask_loss(coefficients, proto, row, boxes, masks, mask)
    wanted, cells = _by_loops(coefficients.detach(), proto.detach(), row, boxes, masks, mask)
    assert found.item() == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    if points:
        found.backward()
        assert coefficients.grad is not None
        assert (coefficients.grad.abs().sum(1) > 0).tolist() == [number > 0 for number in cells]


def test_a_box_by_hand() -> None:
    # Logits 0 everywhere: ln 2 in each of the 2 x 3 cells, so ln 2 for the point, whatever the mask.
    found = mask_loss(
        torch.zeros(1, 2),
        torch.zeros(1, 2, 4, 4),
        torch.zeros(1, dtype=torch.int64),
        torch.tensor([[0.0, 1, 3, 3]]),
        torch.ones(1, 4, 4, dtype=torch.uint8),
        torch.zeros(1, dtype=torch.int64),
    )
    assert found.item() == pytest.approx(math.log(2))


def test_a_cell_half_covered_wants_one_half() -> None:
    logits = torch.tensor([0.0], requires_grad=True)
    args = (torch.ones(1, 1, 1, 1), torch.zeros(1, dtype=torch.int64), torch.tensor([[0.0, 0, 1, 1]]))
    masks = torch.full((1, 1, 1), 8, dtype=torch.uint8)
    mask_loss(logits[None], *args, masks, torch.zeros(1, dtype=torch.int64), 16).backward()
    assert logits.grad is not None
    assert logits.grad.item() == 0


def _loss() -> InstanceLoss:
    return InstanceLoss(4, [MaskBranch("", ("p3",), "p3", 8)])


def _used(objects: list[list[int]], boxes: list[list[list[float]]]) -> dict[str, dict[str, Any]]:
    table = torch.tensor(objects)
    assignment = Assignment(table, torch.ones(table.shape), torch.zeros(table.shape, dtype=torch.bool))
    return {"detection": {"assignment": assignment, "boxes": torch.tensor(boxes).reshape(len(objects), -1, 4)}}


def _outputs(rows: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {
        "coefficients": torch.randn(rows, 5, 4).to(dtype).requires_grad_(),
        "proto": torch.randn(rows, 4, 6, 8).to(dtype).requires_grad_(),
    }


def _check_gradients(out: dict[str, Tensor], value: Tensor) -> None:
    value.backward()
    assert torch.isfinite(value)
    assert all(x.grad is not None and torch.isfinite(x.grad).all() for x in out.values())


def test_points_of_objects_without_a_mask_are_left_out() -> None:
    out = _outputs(2)
    masks = torch.randint(0, 2, (2, 6, 8), dtype=torch.uint8)
    used = _used(
        [[-1, 0, 1, 0, -1], [1, -1, -1, 0, 0]],
        [[[0.0, 0, 16, 12], [4, 4, 32, 24]], [[0, 0, 32, 24], [8, 0, 16, 24]]],
    )
    targets = {"masks": masks * 16, "mask_index": torch.tensor([[0, -1], [-1, 1]])}
    value, count = _loss()(out, targets, used).terms["mask"]
    assert count.item() == 3
    wanted, _ = _by_loops(
        torch.stack((out["coefficients"][0, 1], out["coefficients"][0, 3], out["coefficients"][1, 0])).detach(),
        out["proto"].detach(),
        torch.tensor([0, 0, 1]),
        torch.tensor([[0.0, 0, 4, 3], [0, 0, 4, 3], [2, 0, 4, 6]]),
        masks,
        torch.tensor([0, 0, 1]),
    )
    assert value.item() == pytest.approx(wanted, rel=1e-5)
    _check_gradients(out, value)
    grad = out["coefficients"].grad
    assert grad is not None
    assert grad.abs().sum(-1).nonzero().tolist() == [[0, 1], [0, 3], [1, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "box", [[4.0, 4, 4, 4], [4, 4, 4 + 1e-7, 20], [-90, -90, -20, -20], [-90, -90, 90, 90], [9, 9, 9.5, 9.5]]
)
def test_degenerate_boxes_stay_finite(box: list[float], dtype: torch.dtype) -> None:
    out = _outputs(1, dtype)
    targets = {"masks": torch.ones(1, 6, 8, dtype=torch.uint8), "mask_index": torch.tensor([[0]])}
    _check_gradients(out, _loss()(out, targets, _used([[0, 0, -1, -1, -1]], [[box]])).terms["mask"][0])


@pytest.mark.parametrize("objects", [[[-1] * 5, [-1] * 5], [[0] * 5, [-1] * 5]])
def test_pictures_without_masks(objects: list[list[int]]) -> None:
    out = _outputs(2)
    targets = {"masks": torch.zeros(0, 6, 8, dtype=torch.uint8), "mask_index": torch.full((2, 1), -1)}
    value, count = _loss()(out, targets, _used(objects, [[[0.0, 0, 9, 9]]] * 2)).terms["mask"]
    assert (value.item(), count.item()) == (0, 0)
    _check_gradients(out, value)


NO_MASKS = {"masks": torch.zeros(0, 6, 8, dtype=torch.uint8), "mask_index": torch.zeros(1, 0, dtype=torch.int64)}


def test_pictures_without_boxes() -> None:
    out = _outputs(1)
    _check_gradients(out, _loss()(out, NO_MASKS, _used([[-1] * 5], [[]])).terms["mask"][0])


def test_other_points_than_detection_are_refused() -> None:
    with pytest.raises(UserError, match="same features"):
        _loss()(_outputs(1), NO_MASKS, _used([[-1] * 4], [[]]))


def test_a_further_branch_learns_the_same_masks() -> None:
    out = _outputs(1)
    out |= {f"aux.{name}": value.detach().clone().requires_grad_() for name, value in _outputs(1).items()}
    rows = [MaskBranch("", ("p3",), "p3", 8), MaskBranch("aux", ("c3",), "c3", 8, 0.25, train_only=True)]
    targets = {"masks": torch.full((1, 6, 8), 16, dtype=torch.uint8), "mask_index": torch.tensor([[0]])}
    used = _used([[0, -1, -1, -1, 0]], [[[0.0, 0, 20, 20]]])
    found = InstanceLoss(4, rows)(out, targets, used).terms
    plain = {name.removeprefix("aux."): value for name, value in out.items() if name.startswith("aux.")}
    assert set(found) == {"mask", "mask@aux"}
    torch.testing.assert_close(found["mask@aux"][0], _loss()(plain, targets, used).terms["mask"][0] / 4)
