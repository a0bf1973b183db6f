"""A published checkpoint as tensors and names; nothing in the file is executed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolor_mtl.records import UserError
from yolor_mtl.upstream.archive import Archive, shown
from yolor_mtl.upstream.inert import Inert, Storage, TensorRecord
from yolor_mtl.upstream.pickled import read_pickle

PARTS = ("ema", "model", "state_dict")
"""Entries that hold weights, the preferred one first: averaged weights are the ones to use."""

MOST_TENSORS = 20_000
"""The released networks have 2,516 at most."""

MOST_PARTS = 100_000
"""Modules, and entries of modules that hold nothing among them."""

MOST_BYTES = 1024**3
"""Of all tensors as float32; those of the released networks take 0.21 * 10^9 at most."""

DEEPEST = 64
LONGEST_KEY = 500
MOST_NAMES = 10_000

Plain = str | int | float | bool | None


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        state: key -> tensor, on the CPU, floating-point ones as float32; tensors that share a storage still do.
        names: names of the thing classes, or nothing where the file has none.
        meta: plain values beside the weights, such as ``epoch`` and ``date``.
        part: the entry that the weights are from, such as ``ema``; empty for a plain state dict.
    """

    state: dict[str, Tensor]
    names: tuple[str, ...]
    meta: dict[str, Plain]
    part: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a ``.pt`` file that ``torch.save`` wrote (1.6 or newer): whole pickled modules, or a state dict.

    Classes need not exist: an object is only its attributes, and the tensors of a module lie in its ``_parameters``,
    ``_buffers`` and ``_modules``.

    Raises:
        UserError: it is missing, damaged, of another format, or asks for anything but tensors and plain values.
    """
    with Archive(path) as archive:
        content = read_pickle(archive.pickle, path)
        part, root = _weights(content, path)
        storages = _Storages(archive)
        state = {key: storages.tensor(key, record) for key, record in _records(root, path)}
        top = content if isinstance(content, dict) else {}
        if not state:
            raise UserError(f"{path}: its modules have no tensors; the published .pt with the weights is needed")
        return Checkpoint(state, _names(root, top, path), _plain(top), part)


def _weights(content: Any, path: Path) -> tuple[str, Inert | dict[Any, Any]]:
    """The entry with the weights and its content."""
    if isinstance(content, Inert):
        return "", content
    if isinstance(content, dict):
        for part in PARTS:
            if isinstance(content.get(part), Inert) or _is_state(content.get(part)):
                return part, content[part]
        if _is_state(content):
            return "", content
        raise UserError(f"{path}: it has no entry {', '.join(map(repr, PARTS))} with weights; is it a checkpoint?")
    raise UserError(f"{path}: it holds a {type(content).__name__}, not a checkpoint")


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(inner, TensorRecord) for inner in value.values())


def _records(root: Inert | dict[Any, Any], path: Path) -> Iterator[tuple[str, TensorRecord]]:
    """Keys and records in the order of a state dict, each key once."""
    seen: set[str] = set()
    for key, record in _walk(root, path) if isinstance(root, Inert) else _flat(root, path):
        if key in seen:
            raise UserError(f"{path}: two tensors have the key {shown(key)}; it is forged")
        if len(seen) >= MOST_TENSORS:
            raise UserError(f"{path}: more than {MOST_TENSORS} tensors; it is forged")
        seen.add(key)
        yield key, record


def _flat(root: dict[Any, Any], path: Path) -> Iterator[tuple[str, TensorRecord]]:
    for key, value in root.items():
        if isinstance(value, TensorRecord):
            yield _joined("", key, path), value


def _walk(root: Inert, path: Path) -> Iterator[tuple[str, TensorRecord]]:
    """Parameters, buffers and modules of a module, a module's own tensors first."""
    waiting = [("", 0, root)]
    parts = 0
    while waiting:
        prefix, depth, module = waiting.pop()
        own, buffers, inner = (_entries(module, kind, prefix, path) for kind in ("_parameters", "_buffers", "_modules"))
        parts += 1 + len(own) + len(buffers) + len(inner)
        if parts > MOST_PARTS or depth > DEEPEST:
            # Modules may hold one another, or each two of the next: neither ends by itself.
            raise UserError(f"{path}: its modules lie in one another without end (at {shown(prefix)}); it is forged")
        passing = module.state.get("_non_persistent_buffers_set")
        kept = buffers if not isinstance(passing, set) else {k: v for k, v in buffers.items() if k not in passing}
        for name, value in (*own.items(), *kept.items()):
            if isinstance(value, TensorRecord):
                yield _joined(prefix, name, path), value
            elif value is not None:
                raise UserError(f"{path}: {_joined(prefix, name, path)} is a {type(value).__name__}, not a tensor")
        modules = [(name, value) for name, value in inner.items() if isinstance(value, Inert)]
        waiting += [(_joined(prefix, name, path), depth + 1, value) for name, value in reversed(modules)]


def _entries(module: Inert, kind: str, prefix: str, path: Path) -> dict[Any, Any]:
    found = module.state.get(kind)
    if not isinstance(found, dict):
        raise UserError(
            f"{path}: {shown(prefix) or 'its model'} ({module.kind}) is no module of torch: it has no {kind}"
        )
    return found


def _joined(prefix: str, name: Any, path: Path) -> str:
    if not isinstance(name, str) or not name.isprintable() or len(prefix) + len(name) >= LONGEST_KEY:
        raise UserError(f"{path}: {shown(prefix) or 'its model'} has a part whose name is no name; it is forged")
    return f"{prefix}.{name}" if prefix else name


class _Storages:
    """Storages that were read; each is read once and, where it holds floats, converted once."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._read: dict[str, tuple[Storage, Tensor]] = {}
        self._bytes = 0

    def tensor(self, key: str, record: TensorRecord) -> Tensor:
        """The view that a record describes, if it lies inside its storage."""
        storage, size, stride = record.storage, record.size, record.stride
        where = f"{self._archive.path}: {key}"
        if min((*size, *stride, record.offset)) < 0:
            raise UserError(f"{where} has a negative size, stride or offset; it is forged")
        number = math.prod(size)
        end = record.offset + 1 + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
        if number > storage.numel or (number and end > storage.numel):
            raise UserError(
                f"{where}, {list(size)}, reaches beyond its storage of {storage.numel} numbers; it is forged"
            )
        if not number:
            return self._empty(size, storage, where)
        return self._values(storage).as_strided(size, stride, record.offset)

    @staticmethod
    def _empty(size: tuple[int, ...], storage: Storage, where: str) -> Tensor:
        if math.prod(side or 1 for side in size) >= 2**63:
            raise UserError(f"{where} has the size {list(size)}; it is forged")
        return torch.zeros(size, dtype=torch.float32 if storage.dtype.is_floating_point else storage.dtype)

    def _values(self, storage: Storage) -> Tensor:
        """(numel,) on the CPU."""
        if storage.key in self._read:
            known, values = self._read[storage.key]
            if (known.dtype, known.numel) != (storage.dtype, storage.numel):
                raise UserError(
                    f"{self._archive.path}: storage {storage.key} has two types or sizes, {known.numel} of "
                    f"{known.dtype} and {storage.numel} of {storage.dtype}; it is forged"
                )
            return values
        self._bytes += storage.numel * max(4, storage.dtype.itemsize)
        if self._bytes > MOST_BYTES:
            raise UserError(f"{self._archive.path}: its tensors have more than {MOST_BYTES} bytes; it is no release")
        content = self._archive.storage(storage.key, storage.numel * storage.dtype.itemsize)
        if storage.dtype is torch.bool:  # a byte that is neither 0 nor 1 is no bool to compute with
            values = torch.frombuffer(content, dtype=torch.uint8) != 0
        else:
            values = torch.frombuffer(content, dtype=storage.dtype)
        if storage.dtype.is_floating_point:
            values = values.float()
        self._read[storage.key] = storage, values
        return values


def _names(root: Inert | dict[Any, Any], top: Mapping[Any, Any], path: Path) -> tuple[str, ...]:
    """Class names: a list, or a dict by number; of the module, or beside it."""
    found = root.state.get("names") if isinstance(root, Inert) else None
    found = top.get("names") if found is None else found
    if found is None:
        return ()
    if isinstance(found, dict) and list(found) == list(range(len(found))):
        found = list(found.values())
    if not isinstance(found, list | tuple) or len(found) > MOST_NAMES:
        raise UserError(f"{path}: its class names are no list of texts")
    names = tuple(found)
    if not all(isinstance(name, str) and name.isprintable() and 0 < len(name) <= 200 for name in names):
        raise UserError(f"{path}: its class names are no list of texts")
    return names


def _plain(top: Mapping[Any, Any]) -> dict[str, Plain]:
    """Short plain values at the top."""
    return {
        str(key): value
        for key, value in top.items()
        if isinstance(key, str) and (value is None or isinstance(value, str | int | float)) and len(str(value)) < 1000
    }
