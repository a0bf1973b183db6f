"""Batches that are too large for the memory are answered in halves, with the same answers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from yolor_mtl.inference.model import YOLORMTL
from yolor_mtl.inference.predictor import Predictor

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def limited(monkeypatch: pytest.MonkeyPatch, room: int) -> list[int]:
    """Memory for so many pictures at once; how many were tried."""
    plain, tried = Predictor.predict_batch, []

    def checked(self: Predictor, images: torch.Tensor, *given: Any) -> Any:
        tried.append(len(images))
        if len(images) > room:
            raise FULL
        return plain(self, images, *given)

    monkeypatch.setattr(Predictor, "predict_batch", checked)
    return tried


def test_a_batch_that_is_too_large(trained: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, pictures = YOLORMTL(trained, device="cpu", rect=False), sorted((scenes / "train").glob("*.jpg"))[:11]
    wanted = model.predict(pictures, conf=0.01, batch=8)
    tried = limited(monkeypatch, 2)
    with pytest.warns(UserWarning, match="out of memory with 8 pictures at once; going on with 4") as said:
        found = model.predict(pictures, conf=0.01, batch=8)
    assert len(said) == 3  # 8, 4 and the other 4
    assert tried == [8, 4, 2, 2, 4, 2, 2, 2, 1]
    assert [result.path for result in found] == [str(path) for path in pictures]
    for one, other in zip(found, wanted, strict=True):
        assert one.caption == other.caption
        torch.testing.assert_close(one.boxes.xyxy, other.boxes.xyxy, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(one.boxes.conf, other.boxes.conf, rtol=1e-4, atol=1e-5)


def test_a_picture_that_is_too_large(trained: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = YOLORMTL(str(trained), device="cpu")
    limited(monkeypatch, 0)
    with warnings.catch_warnings(action="ignore"), pytest.raises(torch.OutOfMemoryError):
        model.predict(sorted((scenes / "val").glob("*.jpg")))
