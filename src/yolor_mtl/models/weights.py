"""Weights on disk: safetensors with what they mean in the metadata. Nothing in the file is ever executed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from yolor_mtl.config import nearest
from yolor_mtl.ops.files import write_atomic
from yolor_mtl.records import UserError

FORMAT, WITHOUT_DIGEST = "yolor-mtl/2", "yolor-mtl/1"
"""Values of the metadata's key ``format``: that of new files, and of earlier ones, which had no digest."""

DIGEST = "digest"
"""Key of the metadata that holds :func:`digest_of` the rest."""

BEST = "best.safetensors"
"""File of a run's folder that holds its weights."""


def shipped_weights() -> list[str]:
    """Names of the weights that the package has with it."""
    return sorted(Path(entry.name).stem for entry in _shipped().iterdir() if entry.name.endswith(".safetensors"))


def _shipped() -> Traversable:
    return resources.files("yolor_mtl") / "weights"


@contextmanager
def found_weights(key: str, name: str, *, others: str = "") -> Iterator[Path]:
    """The file of weights that a name means: a ``.safetensors``, a run's folder, or weights that the package ships.

    Args:
        key: whose value the name is, for messages.
        name: what was given.
        others: what else may be given, for messages.

    Raises:
        UserError: it means none.
    """
    path = Path(name)
    if (path / BEST).is_file():
        yield path / BEST
    elif path.suffix == ".safetensors":
        yield path
    elif name in shipped_weights():
        with resources.as_file(_shipped() / f"{name}.safetensors") as unpacked:
            yield unpacked
    else:
        raise UserError(
            f"{key}={name}: a .safetensors file is needed, such as runs/NAME/{BEST}, {others}or shipped weights: "
            f"{', '.join(shipped_weights())}{nearest(name, shipped_weights())}"
        )


def save_weights(
    path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str], dtype: torch.dtype | None = None
) -> None:
    """Writes a state dict and its metadata, whole or not at all, with a digest by which any change is seen.

    Args:
        path: the file.
        state: names to tensors; tensors that share memory are written once.
        metadata: texts by key.
        dtype: floating-point tensors are stored as this; as they are by default.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    seen: set[tuple[int, torch.Size]] = set()
    kept: dict[str, Tensor] = {}
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tensor.shape)
        if place in seen and tensor.numel():
            continue
        seen.add(place)
        stored = tensor.detach().cpu()
        kept[name] = (stored.to(dtype) if dtype and stored.is_floating_point() else stored).contiguous()
    told = {"format": FORMAT, **metadata}
    told[DIGEST] = digest_of(kept, told)
    try:
        write_atomic(path, lambda temporary: save_file(kept, temporary, told))
    except SafetensorError as error:
        if (number := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file that :func:`save_weights` wrote.

    Raises:
        UserError: no such file, not safetensors, cut off, not ours, or altered since.
    """
    if not path.is_file():
        raise UserError(f"no weights file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is not a whole safetensors file: {error}") from error
    if metadata.get("format") not in (FORMAT, WITHOUT_DIGEST):
        raise UserError(
            f"{path} was not written by yolor-mtl (its metadata has no format={FORMAT}); train writes best.safetensors"
        )
    digest = metadata.pop(DIGEST, None)
    earlier = metadata["format"] == WITHOUT_DIGEST and digest is None
    if not earlier and digest != digest_of(state, metadata):
        raise UserError(f"{path} was altered after it was written: its digest {digest} does not fit; get it once more")
    return state, metadata


def digest_of(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """BLAKE2b, 32 hexadecimal digits, of every tensor's name, type, shape and bytes, and of all metadata."""
    found = hashlib.blake2b(json.dumps(sorted(metadata.items())).encode(), digest_size=16)
    for name, tensor in sorted(state.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def load_state(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Puts tensors into a module, converted to its dtypes.

    Raises:
        UserError: names or shapes do not fit; the message names the first of each kind.
    """
    own = module.state_dict()
    loaded = {tensor.data_ptr() for name, tensor in own.items() if name in state}
    missing = [name for name, tensor in own.items() if name not in state and tensor.data_ptr() not in loaded]
    unknown = [name for name in state if name not in own]
    wrong = [name for name in state if name in own and state[name].shape != own[name].shape]
    if missing or unknown or wrong:
        parts = [
            f"{len(names)} {what} ({names[0]}, ...)"
            for names, what in ((missing, "missing"), (unknown, "unknown"), (wrong, "of another shape"))
            if names
        ]
        raise UserError(f"{where} does not fit the network: tensors {', '.join(parts)}")
    module.load_state_dict(dict(state), strict=False)
