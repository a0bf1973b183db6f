"""The device, the precision and the number of loading processes, or a message that says what there is."""

from __future__ import annotations

import os

import pytest
import torch

from yolor_mtl.ops import device as module
from yolor_mtl.ops.device import choose_device, half_pays, half_type, loading_processes, use_half
from yolor_mtl.records import UserError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> object:
    """``machine(gpus=2)`` pretends."""

    def pretend(gpus: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("there", "name", "wanted"),
    [
        ({}, "auto", "cpu"),
        ({}, "cpu", "cpu"),
        ({"gpus": 1}, "auto", "cuda"),
        ({"gpus": 1}, "cpu", "cpu"),
        ({"gpus": 2}, "cuda", "cuda"),
        ({"gpus": 2}, "gpu", "cuda"),
        ({"gpus": 2}, "1", "cuda:1"),
        ({"mps": True}, "auto", "mps"),
        ({"mps": True}, "mps", "mps"),
        ({"mps": True, "gpus": 1}, "auto", "cuda"),
    ],
)
def test_choose(machine, there: dict[str, int], name: str, wanted: str) -> None:  # type: ignore[no-untyped-def]
    machine(**there)
    assert choose_device(name) == torch.device(wanted)


@pytest.mark.parametrize(
    ("there", "name", "found"),
    [
        ({}, "cuda", "cpu"),
        ({}, "gpu", "cpu"),
        ({}, "0", "cpu"),
        ({}, "mps", "cpu"),
        ({"gpus": 2}, "2", "cpu, cuda"),
        ({"gpus": 2}, "tpu", "cpu, cuda"),
        ({"mps": True}, "", "cpu, mps"),
    ],
)
def test_refused(machine, there: dict[str, int], name: str, found: str) -> None:  # type: ignore[no-untyped-def]
    machine(**there)
    with pytest.raises(UserError, match=rf"^device={name} is not here; there is {found}$"):
        choose_device(name)


def test_half(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("true", "True", True):
        assert use_half(word, CPU)  # type: ignore[arg-type]
    for word in ("false", False):
        assert not use_half(word, CUDA)  # type: ignore[arg-type]
    for pays in (True, False):
        monkeypatch.setattr(module, "half_pays", lambda device, pays=pays: pays)
        assert use_half("auto", CPU) == pays
    with pytest.raises(UserError, match="half=fp32 must be auto, true, false or fp16"):
        use_half("fp32", CPU)


def test_float16_is_for_nvidia_gpus() -> None:
    assert half_type("fp16", CUDA) == torch.float16
    assert half_type("true", CUDA) == half_type("true", CPU) == torch.bfloat16
    assert half_type("false", CUDA) is None
    for device in ("cpu", "mps"):
        with pytest.raises(UserError, match=rf"half=fp16 needs an NVIDIA GPU, and device={device}.*half=true"):
            half_type("fp16", torch.device(device))


def test_half_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert half_pays(CPU) in (True, False)
    assert not half_pays(torch.device("mps"))
    asked: list[bool] = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return True

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert half_pays(CUDA)
    assert asked == [False]


@pytest.mark.parametrize(
    ("has", "wanted"),
    [
        ({"avx2": True}, False),
        ({"avx512_bf16": True}, True),
        ({"avx512_bf16": True, "avx512_fp16": True}, False),
        ({"avx512_bf16": True, "avx512_fp16": True, "amx_bf16": True}, True),
        ({"architecture": "arm64"}, False),
    ],
)
def test_half_pays_on_cpus(monkeypatch: pytest.MonkeyPatch, has: dict[str, object], wanted: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert half_pays(CPU) == wanted


@pytest.mark.parametrize("amx", [True, False])
def test_half_pays_by_an_older_torch(monkeypatch: pytest.MonkeyPatch, amx: bool) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert half_pays(CPU) == amx
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert not half_pays(CPU)


def test_loading_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [loading_processes(asked, CPU) for asked in (0, 1, 7)] == [0, 1, 7]
    for cores, on_cpu, on_gpu in ((1, 1, 1), (2, 1, 2), (4, 2, 4), (64, 4, 8)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, cores=cores: set(range(cores)), raising=False)
        assert loading_processes(-1, CPU) == on_cpu
        assert loading_processes(-1, CUDA) == on_gpu
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert loading_processes(-1, CPU) == 1
