"""Task-aligned assignment against plain loops over objects and points."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from yolor_mtl.tasks.detection.assigner import Assignment, _best_points, assign, points_inside

ALPHA, BETA, CLASSES = 0.5, 6.0, 3


@dataclass
class _Case:
    scores: Tensor  # (B, A, C)
    boxes: Tensor  # (B, A, 4)
    anchors: Tensor  # (A, 3)
    wanted: Tensor  # (B, N, 4)
    classes: Tensor  # (B, N)
    valid: Tensor  # (B, N)
    crowd: Tensor  # (B, N)
    top_k: int

    def run(self) -> Assignment:
        return assign(
            self.scores, self.boxes, self.anchors, self.wanted, self.classes, self.valid, self.crowd, top_k=self.top_k
        )


@st.composite
def cases(draw: st.DrawFn) -> _Case:
    """Small cases; on a coarse grid many scores and overlaps are equal."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    batch, points, objects = draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(st.integers(0, 4))
    coarse = draw(st.booleans())

    def boxes(number: int) -> Tensor:
        low, size = (torch.rand(batch, number, 2, generator=generator, dtype=torch.float64) * 20 for _ in range(2))
        if coarse:
            low, size = low // 10 * 10, size // 10 * 10
        return torch.cat((low, low + size), dim=-1)

    anchors = torch.rand(points, 3, generator=generator, dtype=torch.float64) * 30
    scores = torch.rand(batch, points, CLASSES, generator=generator, dtype=torch.float64)
    kind = torch.randint(0, 4, (batch, objects), generator=generator)  # 0 padding, 1 crowd, else an object
    return _Case(
        scores.round(decimals=1) if coarse else scores,
        boxes(points),
        anchors,
        boxes(objects),
        torch.randint(0, CLASSES, (batch, objects), generator=generator),
        kind >= 2,
        kind == 1,
        draw(st.integers(1, 4)),
    )


def _overlap(one: list[float], two: list[float]) -> float:
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    if width <= 0 or height <= 0:
        return 0.0
    union = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, two)) - width * height
    return width * height / (union + 1e-7)


def _inside(point: list[float], box: list[float]) -> bool:
    return box[0] < point[0] < box[2] and box[1] < point[1] < box[3]


@dataclass
class _Image:
    """One image of a case, in plain lists."""

    inside: list[list[bool]]  # object, point
    overlaps: list[list[float]]
    aligned: list[list[float]]

    @classmethod
    def of(cls, case: _Case, row: int) -> _Image:
        anchors, boxes, wanted = case.anchors.tolist(), case.boxes[row].tolist(), case.wanted[row].tolist()
        inside = [[_inside(anchor, box) for anchor in anchors] for box in wanted]
        overlaps = [[_overlap(box, mine) for mine in boxes] for box in wanted]
        aligned = [
            [float(case.scores[row, a, int(case.classes[row, n])]) ** ALPHA * overlaps[n][a] ** BETA for a in point]
            for n, point in enumerate([range(len(anchors))] * len(wanted))
        ]
        return cls(inside, overlaps, aligned)


def _check_image(case: _Case, row: int, found: Assignment, chosen: list[list[bool]]) -> None:
    image, points = _Image.of(case, row), range(len(case.anchors))
    learnt = [n for n in range(case.wanted.shape[1]) if case.valid[row, n]]
    for n in learnt:
        allowed = [a for a in points if image.inside[n][a]]
        taken = [a for a in points if chosen[n][a]]
        assert len(taken) == min(case.top_k, len(allowed))
        assert set(taken) <= set(allowed)
        worst = min((image.aligned[n][a] for a in taken), default=0.0)
        assert all(image.aligned[n][a] <= worst + 1e-12 for a in allowed if a not in taken)
    for a in points:
        claims = [n for n in learnt if chosen[n][a]]
        mine = int(found.objects[row, a])
        if not claims:
            assert mine == -1
            assert found.scores[row, a] == 0
            in_crowd = any(case.crowd[row, n] and image.inside[n][a] for n in range(case.wanted.shape[1]))
            assert bool(found.ignored[row, a]) == in_crowd
            continue
        assert mine in claims
        assert image.overlaps[mine][a] >= max(image.overlaps[n][a] for n in claims) - 1e-12
        assert not found.ignored[row, a]
        holders = [b for b in points if int(found.objects[row, b]) == mine]
        peak, best = (max(values[mine][b] for b in holders) for values in (image.aligned, image.overlaps))
        wanted = image.aligned[mine][a] / peak * best if peak > 0 else 0.0
        assert float(found.scores[row, a]) == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=250, deadline=None)
@given(cases())
def test_as_loops(case: _Case) -> None:
    found = case.run()
    assert torch.equal(found.positive, found.objects >= 0)
    assert found.objects.shape == found.scores.shape == found.ignored.shape == case.boxes.shape[:2]
    for row in range(len(case.boxes)):
        image = _Image.of(case, row)
        shape = (1, case.wanted.shape[1], len(case.anchors))
        aligned = torch.tensor(image.aligned, dtype=torch.float64).reshape(shape)
        allowed = torch.tensor(image.inside, dtype=torch.bool).reshape(shape) & case.valid[row][None, :, None]
        chosen = _best_points(aligned, allowed, case.top_k)[0].tolist() if shape[1] else []
        _check_image(case, row, found, chosen)


def _grid(side: int, stride: float) -> Tensor:
    place = (torch.arange(side) + 0.5) * stride
    ys, xs = torch.meshgrid(place, place, indexing="ij")
    return torch.stack((xs.flatten(), ys.flatten(), torch.full((side * side,), stride)), dim=1)


def _one_image(wanted: list[list[float]], valid: list[bool], crowd: list[bool], **changes: object) -> Assignment:
    anchors = _grid(4, 8.0)
    boxes = torch.cat((anchors[:, :2] - 8, anchors[:, :2] + 8), dim=1)[None]
    scores = torch.full((1, 16, CLASSES), 0.5)
    table = torch.tensor([wanted]).reshape(1, -1, 4)
    classes = torch.zeros(1, len(wanted), dtype=torch.int64)
    return assign(
        scores, boxes, anchors, table, classes, torch.tensor([valid]), torch.tensor([crowd]), top_k=10, **changes
    )  # type: ignore[arg-type]


def test_one_object_by_hand() -> None:
    # The box (0, 0, 16, 16) holds the centres (4, 4), (12, 4), (4, 12), (12, 12), whose boxes of 16 x 16 overlap it by
    # 12 x 12 = 144 of 256 + 256 - 144 = 368 each: IoU 144 / 368. All are equal, so each target score is that IoU.
    found = _one_image([[0.0, 0, 16, 16]], [True], [False])
    assert found.positive[0].nonzero()[:, 0].tolist() == [0, 1, 4, 5]
    torch.testing.assert_close(found.scores[0, [0, 1, 4, 5]], torch.full((4,), 144 / 368))


def test_crowds_are_never_learnt_and_ignored_inside() -> None:
    found = _one_image([[0.0, 0, 16, 16], [0.0, 0, 32, 16]], [True, False], [False, True])
    assert found.positive[0].nonzero()[:, 0].tolist() == [0, 1, 4, 5]
    assert found.ignored[0].nonzero()[:, 0].tolist() == [2, 3, 6, 7]


@pytest.mark.parametrize("wanted", [[[8.0, 8, 8, 8]], [[3.0, 3, 3, 30]], [[40.0, 40, 90, 90]], [[5.0, 5, 6, 6]]])
def test_boxes_without_a_point_inside_get_none(wanted: list[list[float]]) -> None:
    found = _one_image(wanted, [True], [False])
    assert not found.positive.any()
    assert not found.scores.any()


def test_no_objects() -> None:
    found = _one_image([], [], [])
    assert not found.positive.any()
    assert not found.ignored.any()


def test_tiny_alignments_still_reach_the_greatest_overlap() -> None:
    """At the first steps scores are 1e-5 and overlaps small: the target must not vanish beside a fixed number."""
    anchors = _grid(4, 8.0)
    boxes = torch.cat((anchors[:, :2] - 0.5, anchors[:, :2] + 0.5), dim=1)[None]
    yes, no = torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.bool)
    table, classes = torch.tensor([[[0.0, 0, 16, 16]]]), torch.zeros(1, 1, dtype=torch.int64)
    found = assign(torch.full((1, 16, 1), 1e-5), boxes, anchors, table, classes, yes, no, top_k=10)
    torch.testing.assert_close(found.scores[0, [0, 1, 4, 5]], torch.full((4,), 1 / 256), atol=1e-6, rtol=1e-4)


def test_no_gradient_and_no_padding() -> None:
    assert not _one_image([[0.0, 0, 16, 16]], [True], [False]).scores.requires_grad
    assert not _one_image([[0.0, 0, 16, 16]], [False], [False]).positive.any()


def test_border_is_outside() -> None:
    found = points_inside(torch.tensor([[1.0, 1], [2, 2], [1, 2]]), torch.tensor([[[1.0, 1, 3, 3]]]))
    assert found.tolist() == [[[False, True, False]]]
