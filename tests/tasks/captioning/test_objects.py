"""Tokens of the likeliest objects: which ones, what they see, and what learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.ops.cells import cell_at
from yolor_mtl.records import Outputs, UserError
from yolor_mtl.tasks.captioning.objects import ObjectTokens, peak_logits, twins
from yolor_mtl.tasks.captioning.pre_norm import SumLayer
from yolor_mtl.tasks.detection.head import anchor_points

INFOS = {"c3": FeatureInfo(5, 8), "p3": FeatureInfo(6, 8), "p4": FeatureInfo(10, 16)}
SHAPES = [(8, 12), (4, 6)]
POINTS, CLASSES, BINS = 8 * 12 + 4 * 6, 3, 4


def _tokens(count: int = 4, **changes: Any) -> ObjectTokens:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"levels": ("p3", "p4"), "features": ("c3", "p3", "p4"), "classes": CLASSES, "width": 16}
    return ObjectTokens(INFOS, count=count, **{**sizes, **changes}).eval()


def _features(rows: int = 2) -> dict[str, Tensor]:
    return {name: torch.randn(rows, i.channels, 64 // i.stride, 96 // i.stride) for name, i in INFOS.items()}


def _detection(rows: int = 2) -> Outputs:
    """No object anywhere, and boxes of one cell to each side of their point."""
    box_logits = torch.full((rows, POINTS, 4, BINS), -50.0)
    box_logits[..., 1] = 50
    return {
        "anchors": anchor_points(SHAPES, (8, 16), torch.device("cpu")),
        "main.class_logits": torch.full((rows, POINTS, CLASSES), -9.0),
        "main.box_logits": box_logits.flatten(2),
        "main.steps": torch.arange(BINS, dtype=torch.float32).view(1, -1, 1, 1),
    }


def test_peaks_stand_for_the_points_around_them() -> None:
    logits = torch.full((1, POINTS, CLASSES), -9.0)
    logits[0, 12 * 3 + 5, 1] = 4  # a peak
    logits[0, 12 * 3 + 6, 1] = 3  # beside it, of the same class
    logits[0, 12 * 4 + 6, 2] = 2  # beside both, of another class
    logits[0, 12 * 3 + 8, 1] = 1  # two cells from the nearest: one of its own
    logits[0, 12 * 4, 0] = 3.5  # at the left edge; the row above ends far away
    logits[0, 12 * 3 + 11, 0] = 3  # at the right edge
    logits[0, 96 + 6 * 1 + 2, 1] = 3  # the other level does not compete
    found = peak_logits(logits, SHAPES)[0]
    best = logits[0].amax(1)
    kept = found == best
    assert [bool(kept[i]) for i in (41, 42, 54, 44, 48, 47, 104)] == [True, False, False, True, True, True, True]
    assert (found[~kept] < best[~kept] - 10).all()


def test_twins() -> None:
    """Of the same class and better; half of the second lies on the first, all of the fourth on the third."""
    boxes = torch.tensor([[[0.0, 0, 2, 2], [0, 1, 2, 3], [5, 5, 6, 6], [5, 5, 6, 6], [0, 0, 2, 2]]])
    found = twins(boxes, torch.tensor([[0, 0, 1, 1, 1]]))[0]
    torch.testing.assert_close(found, torch.tensor([0, 1 / 3, 0, 1, 0]), atol=1e-5, rtol=0)


def test_what_an_object_sees() -> None:
    """The cells of each feature about the middle of the box, wherever the point is that answers."""
    head, features, detection = _tokens(count=2), _features(1), _detection(1)
    place = 12 * 3 + 5  # of p3: x = 44, y = 28
    detection["main.class_logits"][0, place, 1] = 5
    boxes = detection["main.box_logits"].view(1, POINTS, 4, BINS)
    boxes[0, place] = -50.0
    boxes[0, place, 0, 0] = boxes[0, place, 1, 1] = boxes[0, place, 2, 3] = boxes[0, place, 3, 1] = 50
    # left 0, top 8, right 24, bottom 8: the box is 24 by 16 and its middle is at x = 56, y = 28.
    places = [(x, y) for x in (51.2, 56, 60.8) for y in (24.8, 28, 31.2)]

    def mean(name: str) -> Tensor:
        stride = INFOS[name].stride
        return torch.stack([features[name][0, :, int(y // stride), int(x // stride)] for x, y in places]).mean(0)

    with torch.inference_mode():
        token = head(features, detection)[0, 0]
        seen = torch.cat([mean(name) for name in ("c3", "p3", "p4")])
        classes = torch.tensor([-9.0, 5, -9]).sigmoid()
        box = torch.tensor([44 / 96, 36 / 96, 68 / 96, 52 / 96, 24 / 96, 16 / 96, torch.tensor(5.0).sigmoid(), 0.0])
        wanted = head.look(seen) + head.classes(classes) + head.box(box)
    torch.testing.assert_close(token, wanted, atol=1e-5, rtol=1e-5)


def test_the_likeliest_come_first_and_pictures_do_not_mix() -> None:
    head, features, detection = _tokens(count=3), _features(2), _detection(2)
    detection["main.class_logits"][0, 3, 0], detection["main.class_logits"][0, 100, 2] = 2, 6
    detection["main.class_logits"][1, 50, 1] = 3
    with torch.inference_mode():
        both = head(features, detection)
        assert both.shape == (2, 3, 16)
        for row in (0, 1):
            alone = {k: v if k in ("anchors", "main.steps") else v[row : row + 1] for k, v in detection.items()}
            one = head({n: f[row : row + 1] for n, f in features.items()}, alone)
            torch.testing.assert_close(both[row, :1], one[0, :1])
        detection["main.class_logits"][0, 3, 0] = 7
        turned = head(features, detection)
    assert not torch.equal(turned[0, 0], both[0, 0])
    # Fewer points than are asked for: all of them.
    assert _tokens(count=10**6)(features, detection).shape == (2, POINTS, 16)


def test_objects_see_each_other() -> None:
    """Two alike are told from one: the third token changes nothing but what the first knows of the others."""
    layer = SumLayer(16, 4, 24, 0.0)
    head, features, detection = _tokens(count=2, encoder=[layer]), _features(1), _detection(1)
    detection["main.class_logits"][0, 3, 0], detection["main.class_logits"][0, 90, 1] = 9, 5
    with torch.inference_mode():
        before = head(features, detection)[0, 0]
        detection["main.class_logits"][0, 90] = torch.tensor([5.0, -9, -9])
        assert not torch.allclose(head(features, detection)[0, 0], before, atol=1e-4)


def test_captions_do_not_move_boxes() -> None:
    head, features, detection = _tokens(), _features(), _detection()
    leaves = {name: value.requires_grad_() for name, value in detection.items() if name.endswith("logits")}
    for value in features.values():
        value.requires_grad_()
    head.train()(features, detection).square().sum().backward()
    assert all(value.grad is None for value in leaves.values())
    assert all(value.grad is not None and value.grad.any() for value in features.values())
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


def test_outputs_that_do_not_fit_are_refused() -> None:
    head, features, detection = _tokens(), _features(), _detection()
    with pytest.raises(UserError, match=r"objects.levels=\['p3', 'p4'\] have 120 points, but detection answers at 119"):
        head(features, {**detection, "main.class_logits": detection["main.class_logits"][:, 1:]})
    head.branch = "many"
    with pytest.raises(UserError, match=r"objects.branch='many'; detection has: main"):
        head(features, detection)


def test_the_cell_of_a_point() -> None:
    points = torch.tensor([[0.0, 0.0], [0.99, 0.0], [0.5, 0.5], [1.0, 1.0], [-0.2, 1.7]])
    assert cell_at(points, 4, 6).tolist() == [0, 5, 2 * 6 + 3, 23, 18]
