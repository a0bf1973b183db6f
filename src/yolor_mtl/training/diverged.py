"""The batch whose loss was no number, kept for whoever looks for the reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from yolor_mtl.ops.files import write_atomic
from yolor_mtl.records import Batch

NAME = "diverged.pt"
"""Name in the run's folder."""


def keep_batch(batch: Batch, folder: Path, paths: Sequence[str], **facts: int | str) -> Path:
    """Writes a batch as tensors and plain values, for ``torch.load(path, weights_only=True)``.

    Args:
        batch: images (B, 3, H, W), and for each task its rows and targets.
        folder: the run's.
        paths: the pictures that were drawn for it; mosaics hold further ones.
        facts: further plain values, such as step and seed.

    Returns:
        The file.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    here = batch.to("cpu")
    tensors = {"images": here.images, "rows": here.rows, "targets": here.targets, "gleaned": here.gleaned}
    path = folder / NAME
    write_atomic(path, lambda temporary: torch.save({**tensors, "paths": list(paths), **facts}, temporary))
    return path
