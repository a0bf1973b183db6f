"""The semantic map at the size of the user's picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yolor_mtl.ops.sampling import strongest
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
        return {"map": strongest(prediction["logits"], frame)}
