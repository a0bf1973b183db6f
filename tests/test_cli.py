"""Verbs, help, and exit codes."""

import errno
from pathlib import Path

import pytest
import runs

from yolor_mtl import __version__, cli
from yolor_mtl.ops.console import UnreadError
from yolor_mtl.records import Fault, UserError


@pytest.mark.parametrize("given", [[], ["help"], ["--help"], ["-h"]])
def test_overview(command: runs.Command, given: list[str]) -> None:
    said = command(*given)
    assert said.code == 0
    assert all(verb in said.out for verb in cli.VERBS)


@pytest.mark.parametrize("given", ["version", "--version", "-V"])
def test_version(command: runs.Command, given: str) -> None:
    assert command(given).out.strip() == __version__


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_key_of_every_verb_is_explained(command: runs.Command, verb: str) -> None:
    said = command(*verb.split(), "--help")
    assert said.code == 0
    assert cli.VERBS[verb].example in said.out
    keys = [line for line in said.out.splitlines()[3:] if line.strip()]
    assert keys
    for line in keys:
        assert len(line.split()) > 1, f"{line} says nothing"


def test_help_says_what_a_verb_does(command: runs.Command) -> None:
    assert "from nothing" in command("demo", "--help").out.splitlines()[0]
    assert "Parts of the network are keys too: trunk.width=0.5" in " ".join(command("train", "--help").out.split())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("[bold] is kept"), 2),
        (KeyboardInterrupt(), 130),
        (UnreadError(), 141),
        (OSError(errno.ENOSPC, "No space left on device", "x.ckpt"), 3),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2),
        (Fault("the loss a/b is nan"), 3),
    ],
)
def test_exit_codes(command: runs.Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    def fail(words: list[str], console: object) -> int:
        raise error

    monkeypatch.setattr(cli, "_dispatch", fail)
    said = command("predict")
    assert said.code == code
    assert "Traceback" not in said.err
    if isinstance(error, UserError):
        assert said.err == "error: [bold] is kept\n"


@pytest.mark.parametrize(("given", "code"), [("--help", 141), ("nothing", 2)])
def test_nobody_reads(tmp_path: Path, given: str, code: int) -> None:
    """As after ``2>&1 | head``, which has gone: what is printed in vain says so, what was refused is refused."""
    process = runs.shell([given], tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) == code


def test_a_message_from_a_loading_process_loses_its_traceback() -> None:
    text = "Caught UserError in DataLoader worker process 0.\nTraceback ...\nyolor_mtl.records.UserError: a.png: gone\n"
    assert cli._plain(text) == "a.png: gone"


def test_attribute_notes() -> None:
    text = "A.\n\nAttributes:\n    a: one\n        two.\n    b: ``three``.\n"
    assert cli.attribute_notes(text) == {"a": "one two.", "b": "three."}


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_of_a_group_of_verbs(command: runs.Command, word: str) -> None:
    said = command("data", word)
    assert said.code == 0
    for verb in ("data scenes", "data stats", "data check"):
        assert cli.VERBS[verb].example in said.out
    assert "yolor-mtl train" not in said.out
