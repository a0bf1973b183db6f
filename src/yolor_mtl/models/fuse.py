"""The inference form: every block that knows a cheaper equal of itself is replaced by it."""

from __future__ import annotations

from torch import nn


def fuse(module: nn.Module, kept: tuple[type[nn.Module], ...] = ()) -> nn.Module:
    """Puts a module into evaluation mode and replaces its blocks by their own ``fused()``, in place.

    In place and not on a copy, because parts outside of the module may refer to modules within it: a task's decoder
    writes with the caption head itself. What is fused cannot be trained again; fuse after loading weights.

    Args:
        module: any module; blocks with a method ``fused() -> nn.Module`` are replaced wherever they sit.
        kept: kinds of blocks that stay as they are.

    Returns:
        The module itself (or its replacement, if it is such a block); outputs equal those of ``module.eval()`` up to
        rounding.
    """
    module.eval()
    if (whole := _fused(module, kept)) is not None:
        return whole
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if (replacement := _fused(child, kept)) is not None:
                setattr(parent, name, replacement)
    return module


def _fused(block: nn.Module, kept: tuple[type[nn.Module], ...]) -> nn.Module | None:
    """The cheaper equal of a block, or nothing where it has none."""
    make = None if isinstance(block, kept) else getattr(block, "fused", None)
    replacement = make() if callable(make) else None
    return replacement.eval() if isinstance(replacement, nn.Module) else None
