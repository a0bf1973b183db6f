"""Which device computes, in which precision, and with how many loading processes."""

from __future__ import annotations

import os

import torch

from yolor_mtl.records import UserError

HALVES = ("auto", "true", "false", "fp16")
"""What ``half=`` may say."""


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

    A CPU with AMX does. AVX-512's own products of bfloat16 were made to be twice as fast, but are half as fast on
    Intel's generations since the fourth (measured), which have AMX for them, that a virtual machine may hide. AVX-512's
    products of float16 came with that generation. Where a release of torch cannot tell, AMX alone counts.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # By what the CPU is and not by the clock, so that a training goes on as it began, on all of its machines.
    if not hasattr(torch.cpu, "get_capabilities"):
        older = getattr(torch.cpu, "_is_amx_tile_supported", None)
        return bool(older and older())
    has = torch.cpu.get_capabilities()
    return bool(has.get("amx_bf16") or (has.get("avx512_bf16") and not has.get("avx512_fp16")))


def loading_processes(asked: int, device: torch.device) -> int:
    """``workers=``; -1 leaves the cores to the network where it computes on them."""
    if asked >= 0:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, max(1, cores // 2)) if device.type == "cpu" else min(8, cores)
