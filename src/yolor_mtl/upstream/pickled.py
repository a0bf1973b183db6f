"""What a pickle says, as inert records: nothing is imported, called, or given a method of somebody's class.

There is no unpickler here. The standard library's ``pickletools`` tells the opcodes apart, and a machine acts on the
few that ``torch.save`` writes. A name stays a name; a call is answered from a table of our own functions, or refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping, Sized
from pathlib import Path
from typing import Any

from yolor_mtl.records import UserError
from yolor_mtl.upstream.archive import shown
from yolor_mtl.upstream.calls import CALLS, STANDARD, named, storage, texts
from yolor_mtl.upstream.inert import Inert, Named, OddError, Opaque, TensorRecord

MOST_STEPS = 2_000_000
"""The released networks take 70 to 250 thousand, thrice as many with averaged weights and optimiser."""

NUMBER_KEY = 100
"""Steps that a number counts for as a key of a dict: numbers can be chosen such that a dict becomes slow with them."""

LARGEST = 2**63
"""One more than the largest integer; torch counts with 64 bits."""


def read_pickle(content: bytes, path: Path) -> Any:
    """Lists, dicts, numbers, texts and the records above.

    Args:
        content: the pickle, protocol 2 or newer.
        path: the file it is from, for messages.

    Raises:
        UserError: it is damaged, or asks for what no network's weights need; the message names what was asked for.
    """
    try:
        return _Machine().run(content)
    except OddError as error:
        raise UserError(f"{path} is refused, and nothing in it was executed: {error}") from error
    except (ValueError, OverflowError, IndexError) as error:
        raise UserError(f"{path}: its pickle is damaged ({shown(str(error), 200)}); download it anew") from error


class _Machine:
    """Stack, marks and memo of the pickle language."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: list[Any] = []
        self._work = 0

    def run(self, content: bytes) -> Any:
        """What the pickle leaves on the stack."""
        for opcode, argument, _ in pickletools.genops(content):
            self._charge(1)
            if (act := _ACTIONS.get(opcode.name)) is None:
                asked = f" {shown(str(argument))}" if isinstance(argument, str | int) else ""
                raise OddError(f"its pickle has the step {opcode.name}{asked}, which torch.save never writes")
            act(self, argument)
        return self._pop()

    def _charge(self, work: int) -> None:
        """Counts steps, and items that one step handles: a kept long list could be asked for again and again."""
        self._work += work
        if self._work > MOST_STEPS:
            raise OddError(f"its pickle takes more than {MOST_STEPS} steps")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise ValueError("the stack is empty")
        return self._stack.pop()

    def _top(self) -> Any:
        value = self._pop()
        self._stack.append(value)
        return value

    def _since_mark(self) -> list[Any]:
        if not self._marks:
            raise ValueError("no mark")
        place = self._marks.pop()
        values = self._stack[place:]
        del self._stack[place:]
        return values

    def mark(self, _: Any) -> None:
        """MARK."""
        self._marks.append(len(self._stack))

    def protocol(self, number: int) -> None:
        """PROTO."""
        if not 2 <= number <= 5:
            raise OddError(f"its pickle has protocol {number}; torch.save writes 2 or newer")

    def text(self, value: str) -> None:
        """A text; half of a surrogate pair, which no file could be written with, becomes a question mark."""
        self._push(value.encode("utf-8", "replace").decode("utf-8"))

    def integer(self, value: int) -> None:
        """An integer."""
        if not -LARGEST <= value < LARGEST:
            raise OddError("it holds an integer of more than 64 bits")
        self._push(value)

    def put(self, number: int | None) -> None:
        """BINPUT and MEMOIZE. Every pickler counts from 0."""
        place = len(self._memo) if number is None else number
        if place > len(self._memo):
            raise OddError(f"its pickle keeps something as number {place} after {len(self._memo)} others")
        self._memo[place : place + 1] = [self._top()]

    def get(self, number: int) -> None:
        """BINGET."""
        self._push(self._memo[number])

    def tuple_of(self, length: int) -> None:
        """TUPLE1 to TUPLE3."""
        values = [self._pop() for _ in range(length)]
        self._push(tuple(reversed(values)))

    def append(self, values: list[Any]) -> None:
        """APPEND and APPENDS."""
        self._extend(list, values)

    def add(self, values: list[Any]) -> None:
        """ADDITEMS."""
        self._extend(set, values)

    def _extend(self, kind: type[list[Any]] | type[set[Any]], values: list[Any]) -> None:
        target = self._top()
        if isinstance(target, list) and kind is list:
            target.extend(values)
        elif isinstance(target, set) and kind is set:
            target.update(texts(values))
        elif not isinstance(target, Inert):  # a list of somebody's own class is of no use
            raise ValueError(f"items for a {type(target).__name__}")

    def set_items(self, values: list[Any]) -> None:
        """SETITEM and SETITEMS."""
        target = self._top()
        if len(values) % 2 or not isinstance(target, dict | Inert):
            raise ValueError(f"{len(values)} keys and values for a {type(target).__name__}")
        if isinstance(target, dict):
            self._fill(target, values)

    def _fill(self, target: dict[Any, Any], values: list[Any]) -> None:
        """Keeps what has a text or a number as its key; nothing else is of use, and hashing it may never end."""
        for key, value in zip(values[::2], values[1::2], strict=True):
            if isinstance(key, int):
                self._charge(NUMBER_KEY)
            if isinstance(key, str | int):
                target[key] = value

    def global_(self, argument: str) -> None:
        """GLOBAL: module and name with a blank between."""
        module, _, name = argument.partition(" ")
        self._push(named(module, name))

    def stack_global(self, _: Any) -> None:
        """STACK_GLOBAL."""
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise OddError("it asks for something whose name is no text")
        self._push(named(module, name))

    def reduce(self, _: Any) -> None:
        """REDUCE: a call, answered by :data:`CALLS`."""
        args, function = self._pop(), self._pop()
        if not isinstance(function, Named) or not isinstance(args, tuple):
            raise OddError(f"it asks to call a {type(function).__name__}")
        if (answer := CALLS.get(function.path)) is None:
            raise OddError(f"it asks to call {function}, which no network's weights need")
        self._charge(sum(len(value) for value in args if isinstance(value, Sized)))
        found = answer(*args) if len(args) <= 16 else None
        if found is None:
            raise OddError(f"it asks to call {function} with arguments that no network's weights need")
        self._push(found)

    def new(self, _: Any, extra: int = 1) -> None:
        """NEWOBJ and NEWOBJ_EX: an object; the arguments of its making are dropped."""
        for _number in range(extra):
            self._pop()
        kind = self._pop()
        if not isinstance(kind, Named) or kind.path in STANDARD:
            raise OddError(f"it asks for an object of {kind if isinstance(kind, Named) else type(kind).__name__}")
        self._push(Inert(kind))

    def build(self, _: Any) -> None:
        """BUILD: the attributes of an object."""
        state, target = self._pop(), self._top()
        if isinstance(target, Inert):
            for part in state[:2] if isinstance(state, tuple) else (state,):
                if isinstance(part, dict):
                    self._charge(len(part))
                    target.state.update({key: value for key, value in part.items() if isinstance(key, str)})
        elif not isinstance(target, dict | Opaque | TensorRecord):
            raise OddError(f"it gives attributes to {target if isinstance(target, Named) else type(target).__name__}")

    def refer(self, _: Any) -> None:
        """BINPERSID: a storage."""
        self._push(storage(self._pop()))


_Action = Callable[[_Machine, Any], object]

_ACTIONS: Mapping[str, _Action] = {
    "PROTO": _Machine.protocol,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "MARK": _Machine.mark,
    "POP": lambda machine, _: machine._pop(),
    "POP_MARK": lambda machine, _: machine._since_mark(),
    "NONE": lambda machine, _: machine._push(None),
    "NEWTRUE": lambda machine, _: machine._push(True),
    "NEWFALSE": lambda machine, _: machine._push(False),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "LONG4"), _Machine.integer),
    **dict.fromkeys(("BINFLOAT", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), _Machine._push),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _Machine.text),
    "EMPTY_LIST": lambda machine, _: machine._push([]),
    "EMPTY_DICT": lambda machine, _: machine._push({}),
    "EMPTY_TUPLE": lambda machine, _: machine._push(()),
    "EMPTY_SET": lambda machine, _: machine._push(set()),
    "LIST": lambda machine, _: machine._push(machine._since_mark()),
    "TUPLE": lambda machine, _: machine._push(tuple(machine._since_mark())),
    "FROZENSET": lambda machine, _: machine._push(texts(machine._since_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.append([machine._pop()]),
    "APPENDS": lambda machine, _: machine.append(machine._since_mark()),
    "ADDITEMS": lambda machine, _: machine.add(machine._since_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine._pop(), machine._pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine._since_mark()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new,
    "NEWOBJ_EX": lambda machine, _: machine.new(None, 2),
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.refer,
}
"""Every opcode that is acted on."""
