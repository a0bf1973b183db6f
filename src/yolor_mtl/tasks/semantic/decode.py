"""The semantic map at the size of the user's picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from yolor_mtl.ops.frame import sample_original
from yolor_mtl.records import Frame, Outputs, Prediction, Predictions
from yolor_mtl.tasks.base import DecodeOptions


class SemanticDecode:
    """The class with the greatest logit, after interpolation to the original pixels."""

    def __call__(
        self, out: Outputs, used: Mapping[str, Sequence[Prediction]], options: DecodeOptions
    ) -> list[Prediction]:
        """Raw outputs of B images to ``logits`` (C, h, w) of each."""
        return [{"logits": logits} for logits in out["logits"]]

    def restore(self, prediction: Prediction, frame: Frame, restored: Predictions) -> Prediction:
        """``map`` (H, W) uint8 of class indices at the original size."""
        height, width = frame.original
        answer = torch.empty(height, width, dtype=torch.uint8)
        # In bands: all classes of a large photograph at once would take gigabytes.
        band = max(1, 2**22 // max(1, width * prediction["logits"].shape[0]))
        for top in range(0, height, band):
            bottom = min(height, top + band)
            logits = sample_original(prediction["logits"], frame, (0, top, width, bottom))
            answer[top:bottom] = logits.argmax(0).to(torch.uint8).cpu()
        return {"map": answer}
