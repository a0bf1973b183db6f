"""One token for each of the likeliest objects of a picture, for a decoder to read beside the cells.

A caption names things, and their number and colour: "two red cars". From cells alone a small decoder has to find out by
itself which cells belong to one thing. Detection knows; so it points at the things, as bottom-up attention does
(Anderson et al., arXiv 1707.07998, section 3.1), without a second pass and without suppressing boxes pair by pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yolor_mtl.models.blocks import WideLinear
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.ops.boxes import iou
from yolor_mtl.ops.cells import cell_at, cells_of, extent, pick, squared
from yolor_mtl.records import Outputs, UserError
from yolor_mtl.tasks.captioning.pre_norm import SumLayer
from yolor_mtl.tasks.detection.head import boxes_from_distances, expected_distances

BESIDE_A_PEAK = 20.0
"""Taken from the logits of points next to a better one: they come last, and with a score of nothing."""


def peak_logits(logits: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
    """Each point's best class logit, lowered where one of the eight cells around it has a better one.

    The points around a thing all answer for it; its peak stands for them (CenterNet, arXiv 1904.07850, section 3).

    Args:
        logits: (R, A, C).
        shapes: (height, width) in cells of each level; together they have A cells.

    Returns:
        (R, A).
    """
    levels = []
    for part, (height, width) in zip(logits.amax(2).split([h * w for h, w in shapes], dim=1), shapes, strict=True):
        best = part.unflatten(1, (1, height, width))
        lower = F.max_pool2d(best, 3, stride=1, padding=1) > best
        levels.append((best - BESIDE_A_PEAK * lower).flatten(1))
    return torch.cat(levels, dim=1)


def twins(boxes: Tensor, classes: Tensor) -> Tensor:
    """How much of each object is a better one of its class: the greatest overlap (IoU) with one that precedes it.

    It says what suppression would take away (Matrix NMS, arXiv 2003.10152, section 3.3), and takes nothing away.

    Args:
        boxes: (R, K, 4) ``xyxy`` in any unit, the likeliest first.
        classes: (R, K) int64.

    Returns:
        (R, K), 0..1.
    """
    better = (classes[:, :, None] == classes[:, None]).tril(-1)
    return (iou(boxes[:, :, None], boxes[:, None]) * better).amax(2)


def looked_up(feature: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The mean of a feature over nine places about the middle of boxes, a fifth of the box apart.

    One place would do for the class, which all cells of a thing know; its colour may be that of a window or a shadow.

    Args:
        feature: (R, C, H, W).
        low: (R, K, 2) x and y of the top left corners, as shares of the picture.
        high: the same of the bottom right corners.

    Returns:
        (R, K, C).
    """
    steps = torch.tensor((-0.2, 0.0, 0.2), device=low.device)
    offsets = torch.cartesian_prod(steps, steps)
    places = ((low + high) / 2)[:, :, None] + offsets * (high - low)[:, :, None]
    cells = cell_at(places, feature.shape[2], feature.shape[3])
    mean: Tensor = pick(cells_of(feature), cells.flatten(1)).unflatten(1, (-1, len(offsets))).mean(2)
    return mean


class ObjectTokens(nn.Module):
    """What the features hold about the middle of each object's box, with its classes and its box.

    Gradients reach the features and the layers here, not detection's answers: captions do not move boxes.

    Args:
        infos: channels and stride of the features.
        levels: names of detection's features, in its order.
        features: names of the features to read.
        classes: number of detection's classes.
        count: greatest number of objects K; a picture of fewer points gives all it has.
        width: channels of a token, d.
        branch: detection's branch that points.
        encoder: layers in which the objects see each other, so that each can know how many are like it.
    """

    def __init__(
        self,
        infos: Mapping[str, FeatureInfo],
        *,
        levels: Sequence[str],
        features: Sequence[str],
        classes: int,
        count: int,
        width: int,
        branch: str = "main",
        encoder: Sequence[SumLayer] = (),
    ) -> None:
        super().__init__()
        self.levels, self.features = tuple(levels), tuple(features)
        self.count, self.branch = count, branch
        self.stride = infos[levels[0]].stride
        self.look = WideLinear(sum(infos[name].channels for name in features), width)
        self.classes = WideLinear(classes, width, bias=False)
        self.box = nn.Sequential(nn.Linear(8, width), nn.GELU(), nn.Linear(width, width))
        self.encoder = nn.Sequential(*encoder)

    def forward(self, features: Mapping[str, Tensor], detection: Outputs) -> Tensor:
        """Tokens (R, K, d) of what :meth:`glean` finds."""
        return self.tokens(self.glean(features, detection))

    def glean(self, features: Mapping[str, Tensor], detection: Outputs) -> Outputs:
        """The objects, the likeliest first, before any weight of this module.

        Args:
            features: named features (R, C, H, W).
            detection: its outputs for the same R pictures.

        Returns:
            ``objects.seen`` (R, K, channels of all features), ``objects.classes`` (R, K, classes) probabilities, and
            ``objects.form`` (R, K, 8): corners and sides as shares of the square about the frame, the score, and
            :func:`twins`.

        Raises:
            UserError: detection answers at other points than ``levels`` have.
        """
        shapes = [(features[name].shape[2], features[name].shape[3]) for name in self.levels]
        logits, boxes = self._answers(detection, sum(height * width for height, width in shapes))
        peaks = peak_logits(logits, shapes)
        # min() would tie an exported graph to the points of its example.
        best, places = peaks.topk(torch.sym_min(self.count, peaks.shape[1]), dim=1)
        height, width = shapes[0]
        frame = extent(height, width, boxes.device).repeat(2) * self.stride
        sides = pick(boxes, places) / frame
        low, high = sides.clamp(0, 1).split(2, dim=-1)
        seen = [looked_up(features[name], low, high) for name in self.features]
        found = pick(logits, places)
        corners = [squared(corner, height, width) for corner in (low, high)]
        # Classes by logits: below -18 ONNX Runtime's sigmoid is the same for all, and any class would be the greatest.
        scores = torch.stack((best.sigmoid(), twins(sides, found.argmax(2))), dim=-1)
        return {
            "objects.seen": torch.cat(seen, dim=-1),
            "objects.classes": found.sigmoid(),
            "objects.form": torch.cat((*corners, corners[1] - corners[0], scores), dim=-1),
        }

    def tokens(self, gleaned: Mapping[str, Tensor]) -> Tensor:
        """What :meth:`glean` found as tokens (R, K, d)."""
        classes, form = self.classes(gleaned["objects.classes"]), self.box(gleaned["objects.form"])
        return self.encoder(self.look(gleaned["objects.seen"]) + classes + form)  # type: ignore[no-any-return]

    def _answers(self, detection: Outputs, points: int) -> tuple[Tensor, Tensor]:
        """Class logits (R, A, C) and boxes (R, A, 4) in pixels, float32, cut off from detection."""
        name = f"{self.branch}.class_logits"
        if name not in detection:
            known = [key.removesuffix(".class_logits") for key in detection if key.endswith(".class_logits")]
            raise UserError(f"captioning.objects.branch={self.branch!r}; detection has: {', '.join(known)}")
        logits = detection[name].detach().float()
        if logits.shape[1] != points:
            raise UserError(
                f"captioning.objects.levels={list(self.levels)} have {points} points, but detection answers at "
                f"{logits.shape[1]}: name detection's own features"
            )
        box_logits, steps = detection[f"{self.branch}.box_logits"].detach(), detection[f"{self.branch}.steps"].detach()
        return logits, boxes_from_distances(expected_distances(box_logits, steps), detection["anchors"])
