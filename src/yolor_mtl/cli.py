"""``yolor-mtl``: verbs, ``key=value``, exit codes."""

from __future__ import annotations

import inspect
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from typing import Any

from rich.console import Console

from yolor_mtl.config import nearest
from yolor_mtl.ops.console import Output, UnreadError
from yolor_mtl.ops.faults import system_fault
from yolor_mtl.ops.processes import endings
from yolor_mtl.records import Fault, UserError

HELP = frozenset({"help", "--help", "-h"})
DONE, SOME_FAILED, REFUSED, FAULT, INTERRUPTED, UNREAD = 0, 1, 2, 3, 130, 141


@dataclass(frozen=True)
class Verb:
    """One verb. Its module is imported when it is chosen: predicting never loads Lightning.

    Attributes:
        module: under ``yolor_mtl.commands``.
        run: name of the function there, from words and console to an exit code.
        schema: module and name of the dataclass of its keys, whose docstring explains them.
        example: a command that works.
        about: what it does, where that is not the first line of the dataclass.
    """

    module: str
    run: str
    schema: tuple[str, str]
    example: str
    about: str = ""

    def function(self) -> Callable[[Sequence[str], Console], int]:
        """The function."""
        found: Callable[[Sequence[str], Console], int] = getattr(
            import_module(f"yolor_mtl.commands.{self.module}"), self.run
        )
        return found

    def keys(self) -> type[Any]:
        """The dataclass."""
        found: type[Any] = getattr(import_module(f"yolor_mtl.{self.schema[0]}"), self.schema[1])
        return found


TRAINING = ("training.config", "TrainConfig")

VERBS: Mapping[str, Verb] = {
    "demo": Verb(
        "train",
        "demo",
        TRAINING,
        "yolor-mtl demo minutes=8",
        "Draws scenes, trains nano on them from nothing, scores it and writes a report. Its keys are those of train.",
    ),
    "train": Verb("train", "train", TRAINING, "yolor-mtl train model=nano data=path/to/coco epochs=50"),
    "val": Verb("val", "val", ("commands.val", "ValConfig"), "yolor-mtl val model=runs/demo data=scenes split=val"),
    "predict": Verb(
        "predict", "predict", ("commands.predict", "PredictConfig"), "yolor-mtl predict model=runs/demo source=photos/"
    ),
    "export": Verb(
        "export",
        "export",
        ("commands.export", "ExportConfig"),
        "yolor-mtl export model=runs/demo format=openvino out=runs/demo-openvino",
    ),
    "serve": Verb("serve", "serve", ("commands.serve", "ServeConfig"), "yolor-mtl serve model=runs/demo port=8000"),
    "diagnose": Verb(
        "diagnose",
        "diagnose",
        ("commands.diagnose", "DiagnoseConfig"),
        "yolor-mtl diagnose model=runs/demo data=scenes images=200",
    ),
    "convert": Verb(
        "convert",
        "convert",
        ("commands.convert", "ConvertConfig"),
        "yolor-mtl convert gelan-c-pan.pt gelan-c-pan.safetensors",
    ),
    "models": Verb("models", "models", ("commands.models", "ModelsConfig"), "yolor-mtl models --json"),
    "data scenes": Verb(
        "data", "scenes", ("commands.data", "ScenesConfig"), "yolor-mtl data scenes OUT --train 2000 --val 200"
    ),
    "data stats": Verb("data", "stats", ("commands.data", "StatsConfig"), "yolor-mtl data stats path/to/coco"),
    "data convert": Verb(
        "data_convert",
        "convert",
        ("commands.data_convert", "DataConvertConfig"),
        "yolor-mtl data convert path/to/coco OUT format=shards",
    ),
    "data check": Verb("data", "check", ("commands.data", "CheckConfig"), "yolor-mtl data check path/to/coco out=OUT"),
}
"""The verbs by name."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code says how it went.

    0 done, 1 done but some inputs failed, 2 refused, 3 stopped by a fault; 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP; 141
    whoever read the output is gone.
    """
    given = list(sys.argv[1:] if words is None else words)
    console, errors = Output(), Output(stderr=True)
    try:
        with _ending_on_signals():
            return _dispatch(given, console)
    except UserError as error:
        errors.print(f"[red]error:[/red] {_plain(str(error))}", soft_wrap=True, highlight=False)
        return REFUSED
    except KeyboardInterrupt:
        errors.print("interrupted")
        return INTERRUPTED
    except UnreadError:
        return UNREAD
    except Fault as error:
        errors.print(f"[red]stopped:[/red] {_plain(str(error))}", soft_wrap=True, highlight=False)
        return FAULT
    except Exception as error:
        if told := system_fault(error):
            errors.print(f"[red]stopped:[/red] {_plain(told)}", soft_wrap=True, highlight=False)
            return FAULT
        if isinstance(error, OSError):
            errors.print(f"[red]error:[/red] {_plain(_system_error(error))}", soft_wrap=True, highlight=False)
            return REFUSED
        # Nothing that a user did should end here: the trace is for whoever mends it.
        errors.print_exception()
        errors.print("[red]this is a fault of yolor-mtl itself; please report the lines above[/red]")
        return FAULT


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind as Ctrl-C does: what was begun is closed, processes that were started end too.

    ``train`` and ``serve``, which go on for a moment, have handlers of their own.
    """

    def stop(number: int, frame: object) -> None:
        for each in before:  # a shell's and the system's come one after the other
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main one may be interrupted
        return
    before = {number: signal.signal(number, stop) for number in endings()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _dispatch(words: list[str], console: Console) -> int:
    if not words or words[0] in HELP:
        return _overview(console, VERBS)
    if words[0] in ("version", "--version", "-V"):
        from yolor_mtl import __version__

        console.print(__version__, highlight=False)
        return DONE
    asked = " ".join(words[:2])
    name = asked if asked in VERBS else words[0]
    if name not in VERBS:
        inside = [verb for verb in VERBS if verb.startswith(f"{name} ")]
        if inside and words[1:] and words[1] in HELP:
            return _overview(console, inside)
        shown, known = (asked, inside) if inside else (name, list(VERBS))
        raise UserError(f"unknown verb {shown!r}{nearest(shown, known)}; there are: {', '.join(known)}")
    rest = words[len(name.split()) :]
    if HELP & set(rest):
        return _explain(name, VERBS[name], console)
    return VERBS[name].function()(rest, console)


def _overview(console: Console, names: Iterable[str]) -> int:
    """What the package is, and these verbs."""
    console.print("[bold]yolor-mtl[/bold]: boxes, masks, maps and a caption in one forward pass\n")
    for name in names:
        console.print(f"  [bold]{name:12s}[/bold] {VERBS[name].example}", highlight=False)
    console.print("\nyolor-mtl VERB --help lists its keys. key=value and --key value both work.")
    return DONE


def _explain(name: str, verb: Verb, console: Console) -> int:
    """The keys of a verb, from its dataclass."""
    schema = verb.keys()
    text = inspect.getdoc(schema) or ""
    about = verb.about or " ".join(text.partition("\n\nAttributes:")[0].split()).replace("``", "")
    console.print(f"[bold]yolor-mtl {name}[/bold]  {about}\n  {verb.example}\n", highlight=False)
    notes = attribute_notes(text)
    for entry in fields(schema):
        default = getattr(schema(), entry.name)
        if is_dataclass(default):
            for inner in fields(default):
                note = attribute_notes(inspect.getdoc(type(default)) or "").get(inner.name, "")
                _key_line(console, f"{entry.name}.{inner.name}", getattr(default, inner.name), note)
        else:
            _key_line(console, entry.name, default, notes.get(entry.name, ""))
    return DONE


def _key_line(console: Console, key: str, default: object, note: str) -> None:
    shown = "" if default in ("", None, [], {}) else f"={default}"
    console.print(f"  [bold]{key}[/bold]{shown}  [dim]{note}[/dim]", highlight=False, soft_wrap=True)


def attribute_notes(text: str) -> dict[str, str]:
    """Names and notes of a docstring's ``Attributes:``."""
    _, _, attributes = text.partition("Attributes:\n")
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", attributes, flags=re.MULTILINE)
    return {name: " ".join(note.split()).replace("``", "") for name, note in entries}


def _plain(message: str) -> str:
    """A message without the traceback that a loading process puts around it, and without the terminal's markup."""
    if message.startswith("Caught "):
        message = re.split(r"^yolor_mtl\.[\w.]*Error: ", message, flags=re.MULTILINE)[-1].strip()
    return message.replace("[", "\\[")


def _system_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
