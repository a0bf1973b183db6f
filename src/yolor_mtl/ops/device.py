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
        half: ``true`` (bfloat16), ``false``, ``auto`` (bfloat16 where the hardware has it), or ``fp16`` (float16).
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
    """Whether the device multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Private, and there is no public way to ask; absent in some releases.
    questions = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return device.type == "cpu" and any(bool(question()) for question in questions if question)


def loading_processes(asked: int, device: torch.device) -> int:
    """``workers=``; -1 leaves the cores to the network where it computes on them."""
    if asked >= 0:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, max(1, cores // 2)) if device.type == "cpu" else min(8, cores)
