"""Where a loss that is no number comes from, and its batch, kept for whoever looks for the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from yolor_mtl.ops.files import write_atomic
from yolor_mtl.records import Batch

NAME = "diverged.pt"
"""Name in the run's folder."""


def keep_batch(batch: Batch, folder: Path, paths: Sequence[str], **facts: int | str) -> Path:
    """Writes a batch as tensors and plain values, for ``torch.load(path, weights_only=True)``.

    Args:
        batch: images (B, 3, H, W), and for each task its rows and targets.
        folder: the run's.
        paths: the pictures that were drawn for it; mosaics hold further ones.
        facts: further plain values, such as step and seed.

    Returns:
        The file.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    here = batch.to("cpu")
    tensors = {"images": here.images, "rows": here.rows, "targets": here.targets, "gleaned": here.gleaned}
    path = folder / NAME
    write_atomic(path, lambda temporary: torch.save({**tensors, "paths": list(paths), **facts}, temporary))
    return path


def without_number(module: nn.Module) -> str | None:
    """Name of the first learnt tensor that is not finite, or buffer that holds a NaN; an infinity may be on purpose."""
    learnt = (name for name, tensor in module.named_parameters() if not tensor.isfinite().all())
    kept = (name for name, tensor in module.named_buffers() if tensor.isnan().any())
    return next(chain(learnt, kept), None)


def origin(network: nn.Module, run: Callable[[], object]) -> str:
    """In words, which layer is the first whose output is not finite; the network is as before afterwards.

    Args:
        network: its layers are told by their names in it.
        run: sends what the loss is of through the network once more.
    """
    names = {module: name for name, module in network.named_modules()}
    found: list[nn.Module] = []

    def look(module: nn.Module, given: object, output: object) -> None:
        if not found and not _finite(output):
            found.append(module)

    hooks = [module.register_forward_hook(look) for module in names]
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        with torch.no_grad():
            answer = run()
    except Exception as error:
        # Such as memory: the first pass still has its own. What the training ends for is the loss, not this.
        return f"the layer could not be looked for: {error}"
    finally:
        for hook in hooks:
            hook.remove()
        for name, buffer in network.named_buffers():  # such as the running means of batch norm
            buffer.copy_(before[name])
    if not found:
        if not _finite(answer):
            return "run once more, every layer's output is finite, but not what the network makes of them"
        return "run once more, every layer's output is finite: it comes of the loss itself or of the targets"
    weights = without_number(found[0])
    why = f", whose {weights} is not" if weights else ", whose weights are"
    return f"the first layer whose output is not finite is {names[found[0]] or 'the network itself'}{why}"


def _finite(value: object) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in _tensors(value))


def _tensors(value: object) -> Iterator[Tensor]:
    """All of floating point, however deep."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _tensors(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)
