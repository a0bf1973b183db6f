"""Writing over two functions of tensors gives what the head itself writes."""

from collections.abc import Mapping
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from yolor_mtl.records import Outputs
from yolor_mtl.tasks.base import DecodeOptions, Task
from yolor_mtl.tasks.captioning.decode import CaptionDecode
from yolor_mtl.tasks.captioning.parts import BEGIN, STEP
from yolor_mtl.tasks.parts import Parted

HEADS: dict[str, dict[str, Any]] = {
    "cells": {},
    "objects": {"objects": {"count": 5, "features": ["p3"]}},
    "two": {"features": ["p4", "p5"], "layers": 1},
}


def answered(block: Mapping[str, Any]) -> tuple[Task, Outputs]:
    tasks, network = tiny.build({"detection": {}, "captioning": block})
    network.eval()
    with torch.no_grad():
        outputs = network(tiny.images(3))
    return next(task for task in tasks if task.name == "captioning"), outputs["captioning"]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("beam", [1, 3])
def test_the_same_captions(head: str, beam: int) -> None:
    task, out = answered(HEADS[head])
    assert isinstance(task.decode, Parted)
    calls = {name: part.module for name, part in task.decode.parts(out).items()}
    options = DecodeOptions(beam=beam)
    assert task.decode.over(calls)(out, {}, options) == task.decode(out, {}, options)


def test_a_step_hands_on_only_what_has_grown() -> None:
    task, out = answered({})
    assert isinstance(task.decode, CaptionDecode)
    part = task.decode.parts(out)[STEP]
    assert {"tokens", "keys", "values", "memory_keys", "memory_values"} == part.example.keys()
    with torch.no_grad():
        said = part.module(part.example)
    assert said.keys() == {"logits", "attention", "next_keys", "next_values"}
    assert said["next_keys"].shape[3] == part.example["keys"].shape[3] + 1


def sizes(inputs: Mapping[str, Tensor], axes: Mapping[str, Mapping[int, str]]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for name, words in axes.items():
        for axis, word in words.items():
            found.setdefault(word, set()).add(inputs[name].shape[axis])
    return found


def test_axes_that_vary_are_named_and_no_two_words_have_one_size() -> None:
    """Equal sizes would be taken for one when a graph is traced."""
    task, out = answered({})
    assert isinstance(task.decode, CaptionDecode)
    parts = task.decode.parts(out)
    assert parts[BEGIN].axes == {"memory": {0: "captions", 1: "memory_places"}}
    step = parts[STEP]
    assert step.axes["tokens"] == {0: "captions"}
    assert step.axes["keys"] == step.axes["values"] == {1: "captions", 3: "words"}
    assert step.axes["memory_keys"] == step.axes["memory_values"] == {1: "captions", 3: "memory_places"}
    found = sizes(step.example, step.axes)
    assert [len(values) for values in found.values()] == [1] * 3
    assert len(set.union(*found.values())) == 3
