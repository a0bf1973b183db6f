"""Malicious pickles do nothing. Each payload first proves, under Python's own unpickler, that it would have."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import pickle
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import runs
import torch
from checkpoints import (
    Call,
    Reference,
    dumps,
    foreign_classes,
    labelled_pictures,
    network,
    storage_of,
    tensor_of,
    top,
    write_archive,
)

from yolor_mtl import YOLORMTL
from yolor_mtl.records import UserError
from yolor_mtl.upstream import pickled
from yolor_mtl.upstream.pickled import read_pickle
from yolor_mtl.upstream.reader import read_checkpoint

Payload = Callable[[Path], bytes]


def touch(sentinel: Path) -> Call:
    """The plainest attack: a shell command."""
    return Call(os.system, f"touch {sentinel}")


def by_getattr(sentinel: Path) -> Call:
    """Only names that checkpoints may have: ``getattr(Path(...), "touch")()``."""
    return Call(Call(getattr, sentinel, "touch"))


def by_import(sentinel: Path) -> Call:
    return Call(Call(getattr, Call(__import__, "os"), "system"), f"touch {sentinel}")


def by_torch(sentinel: Path) -> Call:
    """A function of torch's own that unpickles without a restriction."""
    file = io.BytesIO()
    torch.save(touch(sentinel), file)
    return Call(torch.storage._load_from_bytes, file.getvalue())


def by_script(sentinel: Path) -> Call:
    script = sentinel.with_name("script.py")
    script.write_text(f"open({str(sentinel)!r}, 'w')")
    return Call(runpy.run_path, str(script))


def text(value: object) -> bytes:
    """A step that puts a text on the stack."""
    content = str(value).encode()
    return b"X" + len(content).to_bytes(4, "little") + content


def by_dotted_name(sentinel: Path) -> bytes:
    """A method of an allowed class, as protocol 4 can name it."""
    path = b"cpathlib\nPath\n(" + text(sentinel) + b"tR"
    return b"\x80\x04" + text("pathlib") + text("Path.touch") + b"\x93(" + path + b"tR."


PAYLOADS: dict[str, Payload] = {
    "os.system": lambda sentinel: dumps(touch(sentinel)),
    "eval": lambda sentinel: dumps(Call(eval, f"open({str(sentinel)!r}, 'w')")),
    "exec": lambda sentinel: dumps(Call(exec, f"open({str(sentinel)!r}, 'w')")),
    "open": lambda sentinel: dumps(Call(open, str(sentinel), "w")),
    "chain of getattr": lambda sentinel: dumps(by_getattr(sentinel)),
    "import, then getattr": lambda sentinel: dumps(by_import(sentinel)),
    "a process": lambda sentinel: dumps(Call(subprocess.call, ["touch", str(sentinel)])),
    "a partial function": lambda sentinel: dumps(Call(functools.partial(os.system, f"touch {sentinel}"))),
    "a script": lambda sentinel: dumps(by_script(sentinel)),
    "a pickle in a pickle": lambda sentinel: dumps(Call(pickle.loads, dumps(touch(sentinel)))),
    "torch.load in a pickle": lambda sentinel: dumps(by_torch(sentinel)),
    "persistent id": lambda sentinel: dumps(Reference(touch(sentinel))),
    "kind of a storage": lambda sentinel: dumps(storage_of(4, kind=touch(sentinel))),
    "size of a tensor": lambda sentinel: dumps(tensor_of(storage_of(4), (touch(sentinel),), (1,))),
    "hidden under a pop": lambda sentinel: dumps(touch(sentinel))[:-1] + b"0N.",
    "hidden in a key": lambda sentinel: dumps({touch(sentinel): 1}),
    "protocol 4": lambda sentinel: dumps(touch(sentinel), 4),
    "step INST": lambda sentinel: b"\x80\x02(" + text(f"touch {sentinel}") + b"ios\nsystem\n.",
    "step OBJ": lambda sentinel: b"\x80\x02(cos\nsystem\n" + text(f"touch {sentinel}") + b"o.",
    "dotted name": by_dotted_name,
}


class Trusting(pickle.Unpickler):
    """Python's own, as ``torch.load`` uses it for whole modules."""

    def persistent_load(self, told: Any) -> Any:
        return told


def fires(content: bytes, sentinel: Path) -> bool:
    """Whether a trusting reader runs the payload; removes its trace."""
    with contextlib.suppress(Exception):
        Trusting(io.BytesIO(content)).load()
    fired = sentinel.exists()
    sentinel.unlink(missing_ok=True)
    return fired


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "beside weights"])
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=list(PAYLOADS))
def test_case_17_nothing_is_run(payload: Payload, inside: bool, tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    content = payload(sentinel)
    if inside:  # {"model": {"a": tensor}, "date": payload}; without protocol and end
        weights = dumps({"a": tensor_of(storage_of(4), (4,), (1,))})[2:-1]
        content = content[:2] + b"}(" + text("date") + content[2:-1] + text("model") + weights + b"u."
    assert fires(content, sentinel)
    path = write_archive(tmp_path / "evil.pt", content, {"0": bytes(16)})
    with pytest.raises(UserError, match=r"is refused, and nothing in it was executed: its? ") as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert not sentinel.exists()


def test_the_message_names_what_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"it asks for posix\.system, which no network's weights need|nt\.system"):
        read_pickle(dumps(touch(tmp_path / "ran")), tmp_path)
    with pytest.raises(UserError, match=r"it asks for builtins\.eval"):
        read_pickle(dumps(Call(eval, "1")), tmp_path)
    with pytest.raises(UserError, match=r"it asks to call torch\.storage\._load_from_bytes"):
        read_pickle(dumps(by_torch(tmp_path / "ran")), tmp_path)


def test_no_class_is_made_or_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes that exist, and would act when they are made, filled or imported, stay names."""
    sentinel = tmp_path / "ran"

    def act(*_: object) -> None:
        sentinel.touch()

    home = ModuleType("models")
    monkeypatch.setitem(sys.modules, "models", home)
    kind = type("Evil", (), {"__module__": "models", "__setstate__": act, "__setitem__": act, "append": act})
    home.Evil = kind  # type: ignore[attr-defined]
    held = kind()
    held.a = 1
    assert fires(dumps(held), sentinel)
    (tmp_path / "acts_on_import.py").write_text(f"open({str(sentinel)!r}, 'w')\nclass Evil: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for content in (
        dumps({"model": held}),
        b"\x80\x02cmodels\nEvil\n)\x81K\x01K\x02s.",
        b"\x80\x02cmodels\nEvil\n)\x81K\x01a.",
        b"\x80\x02cacts_on_import\nEvil\n)\x81.",
    ):
        with pytest.raises(UserError):
            read_checkpoint(write_archive(tmp_path / "evil.pt", content))
    assert not sentinel.exists()
    assert "acts_on_import" not in sys.modules


@pytest.mark.parametrize(
    ("module", "owner", "name"),
    [
        ("models.yolo", "Detect", "__init__"),
        ("models.yolo", "Detect", "forward.__globals__"),
        ("models.common", "Conv", "forward"),
        ("builtins", "object", "__subclasses__"),
    ],
)
def test_the_one_getattr_that_is_answered(tmp_path: Path, module: str, owner: str, name: str) -> None:
    content = b"\x80\x02cbuiltins\ngetattr\nc" + f"{module}\n{owner}\n".encode() + text(name) + b"\x86R."
    with pytest.raises(UserError, match=r"asks to call builtins\.getattr with arguments"):
        read_pickle(content, tmp_path)
    fine = b"\x80\x02c__builtin__\ngetattr\ncmodels.yolo\nDetect\n" + text("forward") + b"\x86R."
    read_pickle(fine, tmp_path)


def test_a_whole_module_with_an_attack_in_it(tmp_path: Path, command: runs.Command) -> None:
    """Through every door: the class and the verbs."""
    sentinel, path = tmp_path / "ran", tmp_path / "evil.pt"
    state = {"model.0.conv.weight": torch.ones(1, 1, 1, 1), "model.1.dfl.conv.weight": torch.ones(1, 16, 1, 1)}
    with foreign_classes() as make:
        model = network(state, make)
        model.get_submodule("model.0").hook = touch(sentinel)  # type: ignore[assignment]
        torch.save(top(model=model), path)
        with contextlib.suppress(Exception):
            torch.load(path, weights_only=False)
    assert sentinel.exists()
    sentinel.unlink()
    with pytest.raises(UserError, match="nothing in it was executed"):
        YOLORMTL(path)
    out, data = tmp_path / "out.safetensors", labelled_pictures(tmp_path / "data")
    for given in (
        ["predict", f"model={path}", f"source={data / 'images' / 'val'}"],
        ["val", f"model={path}", f"data={data}"],
        ["convert", str(path), str(out)],
        ["convert", str(path), str(out), "strict=false"],
    ):
        runs.refused(command(*given), "nothing in it was executed", "system")
    assert not sentinel.exists()
    assert not out.exists()


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "damaged"),
    "no end": (b"\x80\x02}", "damaged"),
    "empty stack": (b"\x80\x02.", "the stack is empty"),
    "no mark": (b"\x80\x02t.", "no mark"),
    "stack below a mark": (b"\x80\x02K\x01(a.", "the stack is empty"),
    "unknown step": (b"\x80\x02\xff.", "damaged"),
    "protocol 0": (b"\x80\x00N.", "protocol 0"),
    "protocol 9": (b"\x80\x09N.", "protocol 9"),
    "text cut off": (b"\x80\x02X\xff\xff\xff\x7fabc.", "damaged"),
    "text of 2^60 bytes": (b"\x80\x04\x8d" + (2**60).to_bytes(8, "little") + b"a.", "damaged"),
    "bytes of 2^64 - 1": (b"\x80\x04\x8e" + b"\xff" * 8 + b"a.", "damaged"),
    "integer of 4000 bits": (b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".", "more than 64 bits"),
    "integer of negative length": (b"\x80\x02\x8b\xff\xff\xff\xff.", "damaged"),
    "memory of 2^31 entries": (b"\x80\x02Nr\xff\xff\xff\x7f.", "keeps something as number 2147483647"),
    "nothing kept": (b"\x80\x02h\x07.", "damaged"),
    "odd number of items": (b"\x80\x02}(K\x01u.", "keys and values"),
    "items for a number": (b"\x80\x02K\x01K\x02a.", "items for a int"),
    "call of a number": (b"\x80\x02K\x01)R.", "asks to call a int"),
    "call with a number": (b"\x80\x02ctorch\nSize\nK\x01R.", "asks to call a Named"),
    "name that is no text": (b"\x80\x04K\x01K\x02\x93.", "whose name is no text"),
    "object of a number": (b"\x80\x02K\x01)\x81.", "asks for an object of int"),
    "object of a plain type": (b"\x80\x02cbuiltins\nlist\n)\x81.", r"asks for an object of builtins\.list"),
    "attributes of a name": (b"\x80\x02cmodels\nA\n}b.", r"gives attributes to models\.A"),
    "reference to a number": (b"\x80\x02K\x01Q.", "no storage of torch's usual kinds"),
    "registered extension": (b"\x80\x02\x82\x01.", "the step EXT1 1"),
    "reference as a text": (b"\x80\x02P0\n.", "the step PERSID 0"),
    "terminal's escapes": (b"\x80\x02cos\nx\x1b[31m\n.", r"asks for os\.x\?\[31m"),
}


@pytest.mark.parametrize(("content", "told"), BROKEN.values(), ids=list(BROKEN))
def test_broken_pickles(content: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told) as caught:
        read_pickle(content, tmp_path)
    assert str(caught.value).isprintable()


def test_work_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "MOST_STEPS", 5_000)
    long = b"](" + b"K\x01" * 2_000 + b"e"
    for content in (
        b"N0" * 5_000,
        long + b"q\x000" + b"cbuiltins\nset\nh\x00\x85R0" * 9,  # a kept list, handled again and again
        b"}(" + b"K\x01N" * 60 + b"u",  # numbers as keys are dear
    ):
        with pytest.raises(UserError, match="takes more than 5000 steps"):
            read_pickle(b"\x80\x02" + content + b".", tmp_path)


def test_lists_in_one_another_are_no_trouble(tmp_path: Path) -> None:
    found = read_pickle(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", tmp_path)
    assert len(found) == 1
    deep = read_pickle(b"\x80\x02)" + b"\x85" * 100_000 + b".", tmp_path)
    assert len(deep) == 1
    keyed = read_pickle(b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.", tmp_path)
    assert keyed == {}  # hashing it would overflow the stack
