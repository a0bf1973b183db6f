"""Caption loss: negative log-likelihood of each next word (PAPER, section 3, losses)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from yolor_mtl.records import LossOutput, Outputs
from yolor_mtl.tasks.captioning.tokenizer import PAD


class CaptionLoss:
    """Term ``words``; count: words, the end included; padding is left out.

    Args:
        smoothing: share of the target spread over all words.
    """

    reads = "tokens"
    """Name of the references among the targets."""

    def __init__(self, smoothing: float = 0.0) -> None:
        self.smoothing = smoothing

    def __call__(
        self, out: Outputs, targets: Mapping[str, Tensor], used: Mapping[str, Mapping[str, Any]]
    ) -> LossOutput:
        """Logits (N, T - 1, V) against ``tokens`` (N, T) int64, shifted by one."""
        wanted = targets["tokens"][:, 1:]
        value = F.cross_entropy(
            out["logits"].float().flatten(0, 1),
            wanted.flatten(),
            ignore_index=PAD,
            reduction="sum",
            label_smoothing=self.smoothing,
        )
        return LossOutput({"words": (value, (wanted != PAD).sum().float())})
