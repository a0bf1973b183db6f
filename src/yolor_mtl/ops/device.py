"""Which device computes, in which precision, and with how many loading processes."""

from __future__ import annotations

import functools
import os
import time

import torch
from torch.nn import functional

from yolor_mtl.records import UserError

HALVES = ("auto", "true", "false", "fp16")
"""What ``half=`` may say."""

TURNS = 8
"""In which bfloat16 is timed beside float32; the least time of each counts."""

CLEARLY = 1.2
"""How many times faster bfloat16 must be before its rounding is accepted for it."""


def choose_device(name: str) -> torch.device:
    """The device that ``device=`` names.

    Args:
        name: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``mps``, or a GPU's number.

    Raises:
        UserError: it is not here; the message says what is.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if there["cuda"] else "mps" if there["mps"] else "cpu")
    if name.isdigit() and there["cuda"] and int(name) < torch.cuda.device_count():
        return torch.device("cuda", int(name))
    if there.get("cuda" if name == "gpu" else name, False):
        return torch.device("cuda" if name == "gpu" else name)
    found = ", ".join(kind for kind, here in there.items() if here)
    raise UserError(f"device={name} is not here; there is {found}")


def half_type(half: str, device: torch.device) -> torch.dtype | None:
    """The short numbers to compute in, ``None`` for float32.

    Args:
        half: ``true`` (bfloat16), ``false``, ``auto`` (bfloat16 where it is faster here), or ``fp16`` (float16).
        device: where.

    Raises:
        UserError: it is none of these, or the device does not compute in it.
    """
    word = str(half).lower()
    if word not in HALVES:
        raise UserError(f"half={half} must be auto, true, false or fp16")
    if word == "fp16":
        if device.type != "cuda":
            remedy = "half=true computes in bfloat16 here, half=auto where that is faster"
            raise UserError(f"half=fp16 needs an NVIDIA GPU, and device={device.type} is none; {remedy}")
        return torch.float16
    return torch.bfloat16 if word == "true" or (word == "auto" and half_pays(device)) else None


def use_half(half: str, device: torch.device) -> bool:
    """Whether :func:`half_type` is other than float32.

    Raises:
        UserError: as there.
    """
    return half_type(half, device) is not None


def half_pays(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 faster than float32.

    A CPU with AMX does. One that has only AVX-512's products of bfloat16 may be twice as fast in them (AMD) or half as
    fast (Intel's since Sapphire Rapids, where AMX is hidden by a virtual machine), so it is timed, once.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    return _says("_is_amx_tile_supported") or (_says("_is_avx512_bf16_supported") and _timed_faster())


def _says(name: str) -> bool:
    """What torch says of this CPU; private, and there is no public way to ask; absent in some releases."""
    question = getattr(torch.cpu, name, None)
    return bool(question and question())


@functools.cache
def _timed_faster() -> bool:
    """Whether bfloat16 is clearly faster in a convolution here."""
    threads = torch.get_num_threads()
    # By one thread: several wait for each other where the machine does other things, too, which is no arithmetic.
    torch.set_num_threads(1)
    try:
        turns = [(_convolution_seconds(torch.float32), _convolution_seconds(torch.bfloat16)) for _ in range(TURNS)]
    finally:
        torch.set_num_threads(threads)
    long, short = (min(times) for times in zip(*turns, strict=True))
    faster: bool = short * CLEARLY < long
    return faster


def _convolution_seconds(dtype: torch.dtype) -> float:
    """Seconds of a convolution such as the networks have, 0.15 GFLOP."""
    with torch.inference_mode():
        features = torch.ones(1, 64, 48, 48, dtype=dtype).to(memory_format=torch.channels_last)
        kernel = torch.ones(64, 64, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
        start = time.perf_counter()
        functional.conv2d(features, kernel, padding=1)
        return time.perf_counter() - start


def loading_processes(asked: int, device: torch.device) -> int:
    """``workers=``; -1 leaves the cores to the network where it computes on them."""
    if asked >= 0:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, max(1, cores // 2)) if device.type == "cpu" else min(8, cores)
