"""The semantic head: one convolution at stride 8, its answer at stride 4."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import build, space
from torch.nn import functional as F

from yolor_mtl.config import fill
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.semantic import KIND, SemanticConfig
from yolor_mtl.tasks.semantic.head import SemanticHead
from yolor_mtl.tasks.semantic.loss import MultilabelLoss


def test_is_one_convolution_enlarged_twice() -> None:
    head = SemanticHead("p3", FeatureInfo(7, 8), 5, implicit=True)
    x = torch.randn(2, 7, 8, 12)
    wanted = F.interpolate(head.out.fused()(x), scale_factor=2, mode="bilinear")
    found = head({"p3": x}, {})["logits"]
    assert found.shape == (2, 5, 16, 24)
    torch.testing.assert_close(found, wanted)
    assert head.stride == 4
    assert sum(parameter.numel() for parameter in head.parameters()) == 7 * 5 + 5 + 7 + 5


def test_multilabel_is_a_row_of_configuration() -> None:
    tasks, _ = build({"semantic": {"loss": "multilabel"}})
    assert isinstance(tasks[0].loss, MultilabelLoss)
    assert not tasks[0].breaks
    assert "mixup" in build({"semantic": {}})[0][0].breaks


@pytest.mark.parametrize(
    ("block", "message"),
    [({"loss": "softmx"}, "did you mean 'softmax'"), ({"view": "visions"}, "did you mean 'vision'")],
)
def test_refused(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build({"semantic": block})


def test_data_without_semantic_classes_is_refused() -> None:
    with pytest.raises(UserError, match="leave semantic out"):
        KIND.build(fill(SemanticConfig), LabelSpace(things=space().things), {"p3": FeatureInfo(8, 8)})
