"""Instance masks of the kept boxes, in the user's pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from yolor_mtl.ops.masks import CroppedMasks, PackedCrops
from yolor_mtl.ops.sampling import Windows
from yolor_mtl.records import Frame, Outputs, Prediction, Predictions
from yolor_mtl.tasks.base import DecodeOptions


class InstanceDecode:
    """Mixes prototypes for the points that detection kept; masks are cropped to their boxes."""

    def __call__(
        self, out: Outputs, used: Mapping[str, Sequence[Prediction]], options: DecodeOptions
    ) -> list[Prediction]:
        """Raw outputs of B images to ``logits`` (N, h, w) of each image's kept boxes, at the prototypes' stride."""
        answers: list[Prediction] = []
        for row, detection in enumerate(used["detection"]):
            coefficients = out["coefficients"][row, detection["points"]].float()
            proto = out["proto"][row].float()
            answers.append({"logits": (coefficients @ proto.flatten(1)).unflatten(1, proto.shape[1:])})
        return answers

    def restore(self, prediction: Prediction, frame: Frame, restored: Predictions) -> Prediction:
        """``masks`` as :class:`CroppedMasks` of the original picture, beside detection's boxes, scores and classes."""
        detection = restored["detection"]
        height, width = frame.original
        logits = prediction["logits"][detection["kept"]].detach().float().cpu().numpy()
        windows = Windows(frame, (logits.shape[1], logits.shape[2]))
        corners: list[tuple[int, int]] = []

        def crops() -> Iterator[np.ndarray]:
            for plane, box in zip(logits, detection["boxes"].tolist(), strict=True):
                left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
                right, bottom = min(width, math.ceil(box[2])), min(height, math.ceil(box[3]))
                corners.append((left, top))
                yield windows.sample(plane, (left, top, right, bottom)) > 0

        packed = PackedCrops(crops())
        return {**detection, "masks": CroppedMasks(frame.original, corners, packed)}
