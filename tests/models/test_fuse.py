"""The inference form gives the same answers, and is the same object."""

from __future__ import annotations

import pytest
import torch
from tiny import BLOCKS, HEIGHT, WIDTH, build, images, randomise
from torch import nn

from yolor_mtl.models.blocks import ConvNormAct
from yolor_mtl.models.fuse import fuse
from yolor_mtl.models.implicit import OutputConv
from yolor_mtl.ops.frame import letterbox_frame
from yolor_mtl.tasks.base import DecodeOptions, decode_all
from yolor_mtl.tasks.captioning.decode import CaptionDecode


@pytest.mark.parametrize("blocks", [BLOCKS, {"detection": {"separable": True, "depth": 2}}])
def test_outputs_stay_the_same(blocks: dict[str, dict[str, object]]) -> None:
    torch.manual_seed(1)
    _, network = build(blocks)
    randomise(network)
    network.eval()
    pixels = images()
    with torch.inference_mode():
        wanted = network(pixels)
        fused = fuse(network)
        found = network(pixels)
    assert fused is network
    for task, outputs in wanted.items():
        for name, value in outputs.items():
            torch.testing.assert_close(found[task][name], value, atol=1e-4, rtol=1e-4)
    kinds = {type(module) for module in network.modules()}
    assert not kinds & {ConvNormAct, OutputConv, nn.BatchNorm2d}


def test_the_decoder_still_writes_with_the_fused_head() -> None:
    tasks, network = build()
    decode = next(task.decode for task in tasks if task.name == "captioning")
    fuse(network)
    assert isinstance(decode, CaptionDecode)
    assert decode.writer is network.heads["captioning"]
    with torch.inference_mode():
        found = decode_all(
            tasks, network(images(1)), [letterbox_frame((HEIGHT, WIDTH), (HEIGHT, WIDTH))], DecodeOptions()
        )
    assert found[0]["captioning"]["text"]


def test_twice_is_once() -> None:
    _, network = build({"semantic": {}})
    randomise(network)
    pixels = images(1)
    with torch.inference_mode():
        once = fuse(network)(pixels)["semantic"]["logits"]
        twice = fuse(network)(pixels)["semantic"]["logits"]
    assert torch.equal(once, twice)


def test_a_block_by_itself() -> None:
    plain = fuse(OutputConv(3, 2, implicit=True))
    assert isinstance(plain, nn.Conv2d)
    assert not plain.training


def test_leaves_training_mode() -> None:
    _, network = build({"semantic": {}})
    network.train()
    assert not any(module.training for module in fuse(network).modules())
