"""``yolor-mtl`` with bfloat16's numbers on a machine that has no arithmetic for them.

    .venv/bin/python benchmarks/rounded.py train model=nano data=scenes half=true

Without such arithmetic torch multiplies bfloat16 a hundred times slower than float32. Here the same products are
worked out by float32's, from numbers that were rounded to bfloat16, and what comes out is rounded again: what hardware
does, which adds the products up in float32. Everything else is torch's own bfloat16.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from yolor_mtl.cli import main

aten = torch.ops.aten

PRODUCTS = {
    aten.convolution.default,
    aten.convolution_backward.default,
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    aten.baddbmm.default,
}


class RoundedProducts(TorchDispatchMode):
    """Products of bfloat16 by float32's arithmetic, forward and backward."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """The operation itself, or, of the products, the same from float32 and to bfloat16."""
        if func not in PRODUCTS or not any(isinstance(arg, torch.Tensor) and _short(arg) for arg in args):
            return func(*args, **(kwargs or {}))
        long, given = tree_map(_lengthened, (args, dict(kwargs or {})))
        return tree_map(_rounded, func(*long, **given))


def _short(value: torch.Tensor) -> bool:
    return value.dtype == torch.bfloat16


def _lengthened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and _short(value) else value


def _rounded(value: Any) -> Any:
    return value.to(torch.bfloat16) if isinstance(value, torch.Tensor) else value


if __name__ == "__main__":
    with RoundedProducts():
        code = main()
    sys.exit(code)
