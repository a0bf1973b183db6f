"""Detection's answers: scored boxes after class-wise non-maximum suppression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from yolor_mtl.ops import boxes as box_ops
from yolor_mtl.ops.frame import boxes_to_original
from yolor_mtl.records import Frame, Outputs, Prediction, Predictions
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.detection.head import boxes_from_distances, expected_distances

CANDIDATES = 3000
"""Greatest number of scored boxes that go into suppression: bounds its time on untrained networks."""


def box_words(options: DecodeOptions) -> str:
    """How boxes are chosen, in words."""
    return (
        f"scores over {options.conf:g}, the weaker of two boxes of a class over IoU {options.iou:g} dropped, "
        f"at most {options.max_det} boxes a picture"
    )


class DetectionDecode:
    """Boxes from one branch.

    Args:
        branch: name of the branch that answers.
    """

    def __init__(self, branch: str) -> None:
        self.branch = branch

    def __call__(
        self, out: Outputs, used: Mapping[str, Sequence[Prediction]], options: DecodeOptions
    ) -> list[Prediction]:
        """Raw outputs of B images to B predictions in the model's frame.

        Returns:
            ``boxes`` (N, 4) ``xyxy`` pixels, ``scores`` (N,), ``classes`` (N,) int64, best first, and ``points``
            (N,) int64, the anchor points they came from.
        """
        scores, steps = out[f"{self.branch}.class_logits"].float().sigmoid(), out[f"{self.branch}.steps"]
        return [
            self._image(scores[row], out[f"{self.branch}.box_logits"][row], steps, out["anchors"], options)
            for row in range(len(scores))
        ]

    def _image(
        self, scores: Tensor, box_logits: Tensor, steps: Tensor, anchors: Tensor, options: DecodeOptions
    ) -> Prediction:
        best, classes = scores.max(dim=-1)
        points = (best > options.conf).nonzero()[:, 0]
        if len(points) > CANDIDATES:
            points = points[best[points].topk(CANDIDATES).indices]
        # Distances are worked out for the candidates only: most points never become one.
        boxes = boxes_from_distances(expected_distances(box_logits[points], steps), anchors[points])
        keep = box_ops.nms(boxes, best[points], classes[points], options.iou, options.max_det)
        points = points[keep]
        return {"boxes": boxes[keep], "scores": best[points], "classes": classes[points], "points": points}

    def restore(self, prediction: Prediction, frame: Frame, restored: Predictions) -> Prediction:
        """Boxes in pixels of the original picture; boxes that lie in the padding alone are dropped."""
        boxes = boxes_to_original(prediction["boxes"], frame)
        keep = (box_ops.area(boxes) > 0).nonzero()[:, 0]
        return {name: torch.as_tensor(value)[keep] for name, value in {**prediction, "boxes": boxes}.items()} | {
            "kept": keep
        }
