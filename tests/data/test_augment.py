"""Pipelines are refused where they would make a label untrue, by what operations declare."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import tiny

from yolor_mtl.build import Model, ModelConfig
from yolor_mtl.data.augment import OPERATIONS, AugmentConfig, Meaning, check_meaning, weak
from yolor_mtl.records import UserError
from yolor_mtl.training.config import train_config
from yolor_mtl.training.trainer import _check_augmentation


def _check(blocks: dict[str, Any], **assigned: Any) -> None:
    tasks, network = tiny.build(blocks)
    _check_augmentation(train_config(assigned), Model(ModelConfig(), tiny.space(), tuple(tasks), network))


def test_every_strength_is_declared() -> None:
    strengths = {item.name for item in fields(AugmentConfig)} - {"place", "close", "untrue"}
    assert strengths == set(OPERATIONS)
    assert {meaning for operation in OPERATIONS.values() for meaning in operation.breaks} == set(Meaning)


def test_the_default_pipelines_serve_all_tasks() -> None:
    """Strong for boxes, masks and maps, weak for captions: the paper's choice."""
    _check(tiny.BLOCKS)
    assert not any(getattr(weak(), name) for name in OPERATIONS)


@pytest.mark.parametrize(
    ("key", "strength"),
    [("mosaic", 0.1), ("mixup", 0.1), ("copy_paste", 0.1), ("scale", 0.1), ("erase", 0.1), ("hue", 0.1), ("grey", 0.1)],
)
@pytest.mark.parametrize("strong", [True, False])
def test_captions_are_true_or_refused(key: str, strength: float, strong: bool) -> None:
    """Under either view; what the message offers is accepted."""
    still = dict.fromkeys(OPERATIONS, 0.0)
    view, where = ("vision", "augment") if strong else ("language", "weak")
    blocks = {"captioning": {"view": view}}
    _check(blocks, **{where: still})
    _check(blocks, **{where: {**still, "flip": 0.5, "blur": 0.5, "saturation": 0.3, "rotate": 90.0}})
    with pytest.raises(
        UserError, match=rf"{where}\.{key}=0\.1 breaks the labels of captioning: .*captioning\.view=lang"
    ):
        _check(blocks, **{where: {**still, key: strength}})
    _check(blocks, **{where: {**still, key: strength, "untrue": ["captioning"]}})
    if strong:
        _check({"captioning": {}}, augment={**still, key: strength})


def test_mixup_needs_the_multilabel_loss() -> None:
    with pytest.raises(UserError, match=r"augment\.mixup.*semantic.*one class a pixel.*semantic\.loss=multilabel"):
        _check({"semantic": {"loss": "softmax"}}, augment={"mixup": 0.1})
    _check({"semantic": {"loss": "softmax"}}, augment={"mosaic": 1.0})
    _check({"semantic": {"loss": "multilabel"}}, augment={"mixup": 1.0})


def test_boxes_of_turned_pictures() -> None:
    _check({"detection": {}}, augment={"rotate": 15.0})
    with pytest.raises(UserError, match=r"augment\.rotate=30 breaks the labels of detection.*at most 15.*untrue"):
        _check({"detection": {}}, augment={"rotate": 30.0})
    _check({"semantic": {}}, augment={"rotate": 30.0})


def test_whom_untrue_names() -> None:
    with pytest.raises(UserError, match=r"augment\.untrue: 'captionin' does not train on this view.*did you mean"):
        check_meaning(AugmentConfig(untrue=["captionin"]), "augment", {"captioning": {}})


@pytest.mark.parametrize(
    ("key", "value"), [("mosaic", 1.5), ("hue", 0.6), ("scale", 1.0), ("flip", -0.1), ("close", 2)]
)
def test_strengths_that_do_not_exist(key: str, value: float) -> None:
    for pipeline in ("augment", "weak"):
        with pytest.raises(UserError, match=rf"{pipeline}\.{key}=.* must lie between 0 and"):
            train_config({pipeline: {key: value}})
