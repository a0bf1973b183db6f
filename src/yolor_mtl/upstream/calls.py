"""The names that a checkpoint may mention, and our own answers to the calls that it may ask for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from yolor_mtl.upstream.archive import shown
from yolor_mtl.upstream.inert import Named, OddError, Opaque, Storage, TensorRecord


def texts(values: Iterable[Any]) -> set[str]:
    """The texts among the members of a set: nothing else in one is of use, and hashing it may never end."""
    return {value for value in values if isinstance(value, str)}


DTYPES: Mapping[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""torch's names of storages."""

_LONGEST_PATH = 4096
_PLAIN_TYPES = (bool, bytes, complex, dict, float, frozenset, int, list, object, range, set, slice, str, tuple)
_PATHS = tuple(
    (module, name)
    for module in ("pathlib", "pathlib._local")
    for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
)
STANDARD = {
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("builtins", "getattr"),
    *(("builtins", kind.__name__) for kind in _PLAIN_TYPES),
    *_PATHS,
}
"""All of Python's own library that may be named."""


def named(module: str, name: str) -> Named:
    """The record of a name.

    Raises:
        OddError: it is a part of Python's own library that is not in :data:`STANDARD`.
    """
    if module == "__builtin__":  # protocol 2 spells it as Python 2 did
        module = "builtins"
    root = module.partition(".")[0]
    if (root in sys.stdlib_module_names or root == "copy_reg") and (module, name) not in STANDARD:
        raise OddError(f"it asks for {Named(module, name)}, which no network's weights need")
    return Named(module, name)


def storage(told: Any) -> Storage:
    """The record of a storage, from what the pickle says of it.

    Raises:
        OddError: it is no storage, or one of a kind that networks do not have.
    """
    match told:
        case ("storage", Named(module="torch" | "torch.cuda") as kind, str(key), str(), int(numel)):
            if kind.name in DTYPES and key.isascii() and key.isdigit() and len(key) < 20 and numel >= 0:
                return Storage(DTYPES[kind.name], key, int(numel))
            raise OddError(f"it asks for a storage {kind} with the key {shown(repr(key))} and {numel} numbers")
    raise OddError("it refers to something outside that is no storage of torch's usual kinds")


def _integers(values: Any) -> tuple[int, ...] | None:
    """The tuple, if it is a short one of integers."""
    if not isinstance(values, tuple | list) or len(values) > 16:
        return None
    return tuple(values) if all(type(value) is int for value in values) else None


def _tensor(*args: Any) -> TensorRecord | None:
    match args:
        case (Storage() as storage, int(offset), size, stride, *more):
            shape, steps = _integers(size), _integers(stride)
            hooks = [value for value in more if isinstance(value, dict) and value]
            if shape is not None and steps is not None and len(shape) == len(steps) and not hooks and len(more) <= 3:
                return TensorRecord(storage, int(offset), shape, steps)
    return None


def _parameter(*args: Any) -> TensorRecord | None:
    match args:
        case (TensorRecord() as data, bool(), dict() as hooks, *more):
            return data if not hooks and len(more) <= 1 else None
    return None


def _method(*args: Any) -> Opaque | None:
    """The heads keep the base detector's forward as an attribute: the one attribute that is ever asked for."""
    match args:
        case (Named(module="models.yolo", name="Detect" | "TripleDDetect"), "forward"):
            return Opaque()
    return None


def _set(*args: Any) -> set[str] | None:
    match args:
        case ():
            return set()
        case (list() | tuple() as values,):
            return texts(values)
    return None


def _bytes(*args: Any) -> bytes | None:
    match args:
        case (str(text), "latin1" | "latin-1"):
            return text.encode("latin-1")
    return None


def _path(*args: Any) -> str | None:
    """A file name. The result may be joined again, so its length is bounded."""
    whole = sum(len(part) for part in args if isinstance(part, str)) <= _LONGEST_PATH
    return "/".join(args) if whole and all(isinstance(part, str) for part in args) else None


def _size(*args: Any) -> tuple[int, ...] | None:
    return _integers(args[0]) if len(args) == 1 else None


def _device(*args: Any) -> Opaque | None:
    return Opaque() if all(isinstance(part, str | int) for part in args) else None


def _numpy_dtype(*args: Any) -> Opaque | None:
    return Opaque() if args and all(isinstance(value, str | bool | int) for value in args) else None


def _numpy_scalar(*args: Any) -> Opaque | None:
    match args:
        case (Opaque(), bytes() | str()):
            return Opaque()
    return None


def _numpy_array(*args: Any) -> Opaque | None:
    match args:
        case (Named(module="numpy", name="ndarray"), tuple() as shape, bytes() | str()):
            return Opaque() if _integers(shape) is not None else None
    return None


CALLS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): lambda *args: None if args else {},
    ("builtins", "set"): _set,
    ("builtins", "frozenset"): _set,
    ("builtins", "getattr"): _method,
    ("_codecs", "encode"): _bytes,
    **dict.fromkeys(_PATHS, _path),
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("numpy", "dtype"): _numpy_dtype,
    **{
        (f"numpy.{core}.multiarray", name): answer
        for core in ("core", "_core")
        for name, answer in (("scalar", _numpy_scalar), ("_reconstruct", _numpy_array))
    },
}
"""Every call that is answered, and the function of ours that does; ``None`` from it means odd arguments."""
