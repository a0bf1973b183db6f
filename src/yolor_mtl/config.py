"""Configuration: typed dataclasses filled from YAML and ``key=value``; an unknown key names the nearest one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from yolor_mtl.records import UserError

T = TypeVar("T")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping.

    Raises:
        UserError: no such file, not YAML, or not a mapping.
    """
    try:
        content = _load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except ValueError as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}; keys and values are needed")
    return content


_MOST_VALUES, _MOST_LEVELS = 1_000_000, 100


def _load_yaml(text: str) -> Any:
    """What a YAML text says.

    Raises:
        ValueError: it is not YAML, a text in it can name no file (``"\\0"``, half a character), or it says more than
            anyone means: with aliases, ten lines can be a thousand million values.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        # Looked at before anything is made of it: merging keys copies what aliases stand for.
        values, levels = _extent(node, {})
        if levels > _MOST_LEVELS:
            raise ValueError("values inside values without end")
        if values > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES} values")
        return loader.construct_document(node) if node else None
    except RecursionError as error:
        raise ValueError("values inside values without end") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    # What PyYAML makes of `!!bool x`, `!!int ""` and `!!timestamp x`.
    except (LookupError, AttributeError, TypeError, ArithmeticError) as error:
        raise ValueError(f"a value is not what its tag says ({error!r})") from error


def _extent(node: yaml.Node | None, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Number of values, and of levels, with every alias written out; ``known`` has those that were counted."""
    if isinstance(node, yaml.ScalarNode) and b"\0" in node.value.encode():
        raise ValueError(f"a text with a NUL: {node.value!r}")
    if not isinstance(node, yaml.CollectionNode):
        return 1, 1
    if id(node) not in known:
        known[id(node)] = (0, _MOST_LEVELS)  # for whatever is inside itself
        inside = chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value
        extents = [_extent(each, known) for each in inside]
        known[id(node)] = (1 + sum(each[0] for each in extents), 1 + max((each[1] for each in extents), default=0))
    return known[id(node)]


def packaged(kind: str, name: str) -> dict[str, Any]:
    """A configuration shipped with the package, or a user's own YAML file.

    Args:
        kind: ``models``, ``data`` or ``train``.
        name: the name of a shipped file without its ending, or a path that ends in ``.yaml``.

    Raises:
        UserError: neither exists; the message lists the shipped names.
    """
    if name.endswith((".yaml", ".yml")):
        return read_yaml(Path(name))
    known = packaged_names(kind)
    if name not in known:
        raise UserError(f"no {kind} configuration {name!r}{nearest(name, known)}; there are: {', '.join(known)}")
    with resources.as_file(_folder(kind) / f"{name}.yaml") as path:
        return read_yaml(path)


def packaged_names(kind: str) -> list[str]:
    """Names of the shipped files of a kind: ``models``, ``data`` or ``train``."""
    return sorted(Path(entry.name).stem for entry in _folder(kind).iterdir() if entry.name.endswith(".yaml"))


def _folder(kind: str) -> Traversable:
    return resources.files("yolor_mtl") / "configs" / kind


def parse_assignments(words: Sequence[str]) -> dict[str, Any]:
    """``["a=1", "b.c=x", "--d", "2"]`` as ``{"a": 1, "b": {"c": "x"}, "d": 2}``.

    A value is a number, ``true``, ``false``, ``null``, or YAML where it starts with a bracket or a quotation mark;
    anything else is text as it stands, so that paths need no quotes. ``--key`` alone means true.

    Raises:
        UserError: a word is neither ``key=value`` nor ``--key value``, or a value is YAML that cannot be read.
    """
    parsed: dict[str, Any] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        key, equals, value = word.removeprefix("--").partition("=")
        if not (equals or word.startswith("--")) or not all(key.split(".")):
            raise UserError(f"cannot read the argument {word!r}; write key=value or --key value")
        if not equals:
            follows = bool(queue) and not queue[0].startswith("--") and not _ASSIGNMENT.match(queue[0])
            value = queue.pop(0) if follows else "true"
        _put(parsed, key, _value(key, value))
    return parsed


_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*=")
_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:[.][0-9]*)?(?:[eE][-+]?[0-9]+)?|[-+]?[.][0-9]+(?:[eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None}


def _value(key: str, text: str) -> Any:
    """What a value on the command line means. YAML for all of it would read ``12:30`` as 750 and ``a: b`` as keys."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    number = _NUMBER.fullmatch(text)
    if not number and not text.startswith(("[", "{", '"', "'")):
        return text
    try:
        if number:
            return int(text) if text.lstrip("+-").isdigit() else float(text)
        return _load_yaml(text)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot read {key}={text}: {reason}; put text that is meant as it stands in quotes") from error


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key in nested dictionaries; later words win over earlier ones."""
    *path, last = key.split(".")
    for part in path:
        below = tree.get(part)
        tree[part] = tree = below if isinstance(below, dict) else {}
    tree[last] = value


def fill(schema: type[T], *layers: Mapping[str, Any], where: str = "") -> T:
    """An instance of the dataclass ``schema``: its defaults, overlaid by ``layers`` in order.

    Args:
        schema: a dataclass, nested dataclasses allowed.
        layers: mappings; later ones win.
        where: prefix of keys in messages, for example ``tasks.detection``.

    Raises:
        UserError: an unknown key (with the nearest known one) or a value of the wrong type; the message names the key.
    """
    merged: Any = OmegaConf.structured(schema)
    for layer in layers:
        check_keys(schema, layer, where)
        _refuse_interpolation(layer, where)
        try:
            merged = OmegaConf.merge(merged, OmegaConf.create(_with_lists(schema, layer)))
        except (OmegaConfBaseException, ValueError, TypeError) as error:
            key = getattr(error, "full_key", None)
            name = ".".join(part for part in (where, str(key) if key else "") if part) or "configuration"
            reason = str(getattr(error, "msg", None) or error).splitlines()[0]
            raise UserError(f"{name}: {reason}") from error
    try:
        return cast("T", OmegaConf.to_object(cast("DictConfig", merged)))
    except OmegaConfBaseException as error:
        raise UserError(f"{where or 'configuration'}: {str(error).splitlines()[0]}") from error


def _with_lists(schema: type[Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """The layer with lists where only a word was given for one: ``tasks=captioning`` means ``tasks=[captioning]``."""
    hints = get_type_hints(schema)
    lists = (list[str], list[str] | None)
    return {key: [value] if isinstance(value, str) and hints[key] in lists else value for key, value in layer.items()}


def _refuse_interpolation(value: Any, where: str) -> None:
    """A configuration may come with somebody's weights: ``${...}`` could read the environment.

    Raises:
        UserError: names the key.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_interpolation(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_interpolation(inner, where)
    elif isinstance(value, str) and "${" in value:
        raise UserError(f"{where}={value}: ${{...}} is not understood here; write the value itself")


def split_names(value: Any) -> list[str]:
    """``train=a`` or ``train=[a,b]`` as a list of names."""
    return [str(name) for name in value] if isinstance(value, list | tuple) else [str(value)]


def check_keys(schema: type[Any], layer: Mapping[str, Any], where: str = "") -> None:
    """Refuses keys that the dataclass does not have.

    Raises:
        UserError: names the key, its place and the nearest known one.
    """
    hints = get_type_hints(schema)
    known = [entry.name for entry in fields(schema)]
    for key, value in layer.items():
        full = f"{where}.{key}" if where else str(key)
        if key not in known:
            raise UserError(f"unknown key {full!r}{nearest(str(key), known)}; known: {', '.join(sorted(known))}")
        if is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise UserError(
                    f"{full} holds keys of its own, not {value!r}; for example {full}.{_first(hints[key])}="
                )
            check_keys(cast("type[Any]", hints[key]), value, full)


def _first(schema: Any) -> str:
    return str(fields(schema)[0].name)


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'epochs'?)``, or nothing where no known word is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.55)
    return f" (did you mean {close[0]!r}?)" if close else ""


def to_yaml(config: Any) -> str:
    """The whole of a dataclass as YAML text, defaults included."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))
