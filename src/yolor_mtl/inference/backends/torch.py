"""The network itself as a runtime."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from yolor_mtl.build import Model
from yolor_mtl.ops.device import choose_device, half_type
from yolor_mtl.records import Outputs


class TorchRuntime:
    """Runs a model's network.

    Args:
        model: it is turned into its inference form, in place, and taken to the device.
        device: as :func:`choose_device` understands it.
        half: ``auto``, ``true``, ``false`` or ``fp16``; see :func:`half_type`.

    Raises:
        UserError: no such device, or it does not compute in such numbers.
    """

    def __init__(self, model: Model, device: str, half: str) -> None:
        self.device = choose_device(device)
        self.short = half_type(half, self.device)
        self.half = self.short is not None
        self.network = model.inference().network.to(self.device)

    def __call__(self, images: Tensor) -> Mapping[str, Outputs]:
        """Letterboxed pictures (B, 3, H, W) uint8 to task -> outputs by name."""
        with torch.inference_mode(), torch.autocast(self.device.type, self.short, enabled=self.half):
            outputs: Mapping[str, Outputs] = self.network(images.to(self.device, non_blocking=True))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return outputs
