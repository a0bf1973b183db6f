"""Tiny trainings and the command line, as users start them: shared by the tests of training, inference and commands."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from yolor_mtl import cli
from yolor_mtl.training.config import train_config
from yolor_mtl.training.history import Row, read_rows
from yolor_mtl.training.trainer import TrainResult, train

PARTS: Mapping[str, Any] = {"trunk": {"width": 0.05}, "captioning": {"width": 32, "feed_forward": 64}}
"""Changes to ``nano`` that make it quick."""

KEYS: Mapping[str, Any] = {"imgsz": 64, "batch": 4, "epochs": 2, "workers": 0, "device": "cpu", "half": "false"}
"""Keys of a training of seconds."""

MAIN = "import sys; from yolor_mtl.cli import main; sys.exit(main())"
"""What the installed script does."""


def words(*more: str, **keys: Any) -> list[str]:
    """``key=value`` words of a tiny training; ``keys`` come on top of :data:`KEYS`, ``more`` as they stand."""
    parts = [f"{task}.{key}={value}" for task, changes in PARTS.items() for key, value in changes.items()]
    return [*(f"{key}={value}" for key, value in {**KEYS, "plots": 1, **keys}.items()), *parts, *more]


def run_training(root: Path, out: Path | None = None, **keys: Any) -> TrainResult:
    """A tiny training without the command's evaluation and report."""
    place = {} if out is None else {"out": str(out)}
    config = train_config({"data": str(root), **KEYS, **place, **keys}, {} if keys.get("resume") else PARTS)
    return train(config, root, Console(quiet=True))


def rows(run: Path, without: Sequence[str] = ("seconds",)) -> list[Row]:
    """``metrics.csv`` without what differs between two equal runs."""
    return [{key: value for key, value in row.items() if key not in without} for row in read_rows(run / "metrics.csv")]


@dataclass(frozen=True)
class Said:
    """What a command said: its exit code and its two streams."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The whole of stdout as JSON."""
        return json.loads(self.out)


Command = Callable[..., Said]
"""``command("val", "model=x")`` in this process; see the fixture of the same name."""


def in_process(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs commands through :func:`cli.main`."""

    def run(*given: str) -> Said:
        capsys.readouterr()
        code = cli.main(given)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


def refused(said: Said, *parts: str) -> None:
    """Exit code 2, one message on stderr with all ``parts``, no traceback."""
    message = " ".join(said.err.split())
    assert said.code == 2, message
    assert message.startswith("error:")
    assert "Traceback" not in said.out + said.err
    for part in parts:
        assert part in message


def shell(given: Sequence[str], folder: Path, **more: str) -> subprocess.Popen[str]:
    """A command as a process of its own, in a process group of its own, as a terminal starts it."""
    # What a shell starts in the background ignores Ctrl-C, what nohup starts SIGHUP; so do those they start.
    listening = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    )
    return subprocess.Popen(
        [sys.executable, "-c", listening + MAIN, *given],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def limited(size: int, *given: str) -> subprocess.CompletedProcess[str]:
    """A command whose files cannot grow beyond ``size`` bytes: to it that is a full disk, in the middle of a file."""
    limits = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2); "
    called = [sys.executable, "-c", limits + MAIN, str(size), *given]
    return subprocess.run(called, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=False)


def locked(folder: Path) -> Path:
    """A place in the folder in which nothing can be written."""
    place = folder / "locked"
    if os.geteuid() == 0:
        place.write_text("a file")  # root may write everywhere but where there is no folder
    else:
        place.mkdir(mode=0o500)
    return place


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to whoever asks for any."""
    rng = random.SystemRandom()  # other test processes have the same seed
    while True:
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port := rng.randrange(15_000, 32_000)))
            except OSError:
                continue
            return port
