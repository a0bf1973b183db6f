"""The semantic head: one convolution at stride 8, its answer at stride 4."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import build, images, space
from torch.nn import functional as F

from yolor_mtl.config import fill
from yolor_mtl.data.augment import Meaning
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.semantic import KIND, SemanticConfig
from yolor_mtl.tasks.semantic.head import MapBranch, SemanticHead
from yolor_mtl.tasks.semantic.loss import MultilabelLoss


def _head(features: dict[str, FeatureInfo], **changes: Any) -> SemanticHead:
    keys = {"hidden": 0, "kernel": 3, "enlarge": 2, "align_corners": False, "implicit": False, **changes}
    return SemanticHead([MapBranch("", tuple(features))], features, 5, **keys)


def _size(head: SemanticHead) -> int:
    return sum(parameter.numel() for parameter in head.parameters())


def test_is_one_convolution_enlarged_twice() -> None:
    head: Any = _head({"p3": FeatureInfo(7, 8)}, implicit=True)
    x = torch.randn(2, 7, 8, 12)
    wanted = F.interpolate(head.branches["main"][-1].fused()(x), scale_factor=2, mode="bilinear")
    found = head({"p3": x}, {})["logits"]
    assert found.shape == (2, 5, 16, 24)
    torch.testing.assert_close(found, wanted)
    assert head.stride == 4
    assert _size(head) == 7 * 5 + 5 + 7 + 5


def test_a_convolution_before_and_other_factors() -> None:
    x = torch.randn(1, 7, 8, 12)
    head = _head({"p3": FeatureInfo(7, 8)}, hidden=6, align_corners=True)
    assert _size(head) == 9 * 7 * 6 + 2 * 6 + 6 * 5 + 5
    found = head.eval()({"p3": x}, {})["logits"]
    # Corners' centres stay: the outermost cells are those of the map before it was enlarged.
    torch.testing.assert_close(found[..., ::15, ::23], head.branches["main"](x)[..., ::7, ::11])
    plain = _head({"s2": FeatureInfo(7, 4)}, enlarge=1)
    assert (plain.stride, plain({"s2": x}, {})["logits"].shape) == (4, (1, 5, 8, 12))
    assert _head({"p3": FeatureInfo(7, 8)}, enlarge=8).stride == 1


def test_several_scales() -> None:
    infos = {"p3": FeatureInfo(4, 8), "p4": FeatureInfo(6, 16), "p5": FeatureInfo(8, 32)}
    head = _head(infos, hidden=10, kernel=1)
    features = {
        name: torch.randn(2, info.channels, 64 // info.stride, 96 // info.stride) for name, info in infos.items()
    }
    assert head(features, {})["logits"].shape == (2, 5, 16, 24)
    assert _size(head) == 18 * 10 + 2 * 10 + 10 * 5 + 5


def test_branches_of_training() -> None:
    tasks, network = build({"semantic": {"loss": "multilabel", "branches": [BRANCH]}})
    out = network(images())["semantic"]
    assert set(out) == {"logits", "aux.logits"}
    assert tasks[0].features == ("p3", "c3")
    assert tasks[0].weights["focal@aux"] == tasks[0].weights["focal"]
    assert tasks[0].loss is not None
    maps = {"maps": torch.zeros(2, 1, 16, 24, dtype=torch.uint8)}
    found = tasks[0].loss({"logits": out["logits"], "aux.logits": out["logits"]}, maps, {}).terms
    torch.testing.assert_close(found["dice@aux"][0], found["dice"][0] / 4)
    head: Any = network.heads["semantic"]
    head.inference()
    assert set(network(images())["semantic"]) == {"logits"}


BRANCH = {"name": "aux", "features": ["c3"], "weight": 0.25}


def test_multilabel_is_a_row_of_configuration() -> None:
    tasks, _ = build({"semantic": {"loss": "multilabel"}})
    loss: Any = tasks[0].loss
    assert isinstance(loss.loss, MultilabelLoss)
    assert not tasks[0].relies
    assert Meaning.ONE_CLASS in build({"semantic": {}})[0][0].relies


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"loss": "softmx"}, "did you mean 'softmax'"),
        ({"view": "visions"}, "did you mean 'vision'"),
        ({"kernel": 2}, "kernel=2 odd"),
        ({"branches": [{"features": ["c3"]}]}, "a name of its own"),
    ],
)
def test_refused(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build({"semantic": block})


def test_data_without_semantic_classes_is_refused() -> None:
    with pytest.raises(UserError, match="leave semantic out"):
        KIND.build(fill(SemanticConfig), LabelSpace(things=space().things), {"p3": FeatureInfo(8, 8)})
