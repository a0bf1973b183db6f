"""The inference form gives the same answers, and is the same object."""

from __future__ import annotations

import shutil

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


@pytest.fixture(scope="module")
def fused() -> tuple[nn.Module, torch.Tensor, dict[str, torch.Tensor]]:
    """An inference form, pictures, and what it answers."""
    torch.manual_seed(1)
    _, network = build()
    randomise(network)
    fuse(network)
    pixels = images()
    return network, pixels, _flat(network(pixels))


def _flat(outputs: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {f"{task}/{name}": value for task, named in outputs.items() for name, value in named.items()}


def _check(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], share: float) -> None:
    """Each output within a share of its greatest value."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert (found[name].float() - value).abs().max() <= share * value.abs().max(), name


@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param(
            "inductor",
            # Minutes of g++.
            marks=[
                pytest.mark.torture,
                pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler"),
            ],
        ),
    ],
)
@torch.no_grad()
def test_compiled(fused: tuple[nn.Module, torch.Tensor, dict[str, torch.Tensor]], backend: str) -> None:
    network, pixels, wanted = fused
    compiled = torch.compile(network, backend=backend, fullgraph=True)
    _check(_flat(compiled(pixels)), wanted, 1e-4)


@torch.no_grad()
def test_exported(fused: tuple[nn.Module, torch.Tensor, dict[str, torch.Tensor]]) -> None:
    network, pixels, wanted = fused
    program = torch.export.export(network, (pixels,))
    _check(_flat(program.module()(pixels)), wanted, 1e-4)


@torch.no_grad()
def test_either_memory_format(fused: tuple[nn.Module, torch.Tensor, dict[str, torch.Tensor]]) -> None:
    network, pixels, wanted = fused
    for form in (torch.channels_last, torch.contiguous_format):
        network.to(memory_format=form)
        _check(_flat(network(pixels.contiguous(memory_format=form))), wanted, 1e-4)


@torch.no_grad()
def test_bfloat16(fused: tuple[nn.Module, torch.Tensor, dict[str, torch.Tensor]]) -> None:
    network, pixels, wanted = fused
    with torch.autocast("cpu", torch.bfloat16):
        found = _flat(network(pixels))
    _check(found, wanted, 0.1)
    assert found["semantic/logits"].dtype == torch.bfloat16


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
