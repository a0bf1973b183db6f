"""Processes that work for another one: their answers, and that none stays when one of them or the parent is killed."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from yolor_mtl.ops.processes import endings, in_processes, live_and_die_with_the_parent, return_free_memory
from yolor_mtl.records import Fault


def square(number: int) -> int:
    return number * number


FREED = """
from pathlib import Path
from yolor_mtl.ops.processes import return_free_memory

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

pieces = [b"x" * 60_000 for _ in range(2_000)]  # each too small for a mapping of its own
last = b"x" * 60_000  # what stands behind them keeps the C library from shortening its heap
del pieces
before = held()
return_free_memory()
print(before - held())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_free_memory_is_returned() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this C library cannot be told to")
    run = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert int(run.stdout) > 80_000  # kB; the pieces have 117,000


def test_a_c_library_that_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    return_free_memory()


@pytest.mark.parametrize("workers", [1, 3])
def test_answers_come_in_the_order_of_the_jobs(workers: int) -> None:
    assert list(in_processes(square, range(100), workers)) == [number * number for number in range(100)]
    assert list(in_processes(square, [], workers)) == []


def one_dies(number: int) -> int:
    """Of the first process; the other one goes on decoding for a minute, if nobody ends it."""
    if number == 0:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        sum(range(10_000))
    return number


def test_a_process_that_is_killed_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have inherited this process's own handler of the signal by which they are ended."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    others = set(multiprocessing.active_children())
    before, begun = signal.signal(signal.SIGTERM, stop), time.monotonic()
    try:
        with pytest.raises(Fault, match="was killed, perhaps for want of memory; try workers=1"):
            list(in_processes(one_dies, range(32), 2))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - begun < 50
    assert set(multiprocessing.active_children()) <= others


POOL = """
import time
from yolor_mtl.ops.processes import in_processes

print("working", flush=True)
list(in_processes(time.sleep, [600.0] * 64, 2))
"""


def nothing_outlives(code: str) -> None:
    """Kills a program a moment after its first line; the output of its processes is its own, and ends with the last."""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "working\n"
    time.sleep(2)
    parent.kill()
    assert parent.communicate(timeout=60)[0] == ""


def test_a_pool_does_not_outlive_a_killed_parent() -> None:
    nothing_outlives(POOL)


def test_a_loading_process_ends_when_its_parent_asks_and_for_nobody_else() -> None:
    """A terminal and a scheduler signal all of them; the parent decides how long it still needs batches."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()

    def wait() -> None:
        live_and_die_with_the_parent(0)
        ready.set()
        time.sleep(60)

    process = context.Process(target=wait)
    process.start()
    assert ready.wait(30)
    for number in ("INT", "HUP", "TERM", "TERM"):
        subprocess.run(["kill", f"-{number}", str(process.pid)], check=True)
    process.join(0.5)
    assert process.is_alive()
    process.terminate()
    process.join(30)
    assert process.exitcode == 0


FAILING = """
import sys
from torch.utils.data import DataLoader
from yolor_mtl.ops.processes import live_and_die_with_the_parent

kept = iter(DataLoader(list(range(9)), num_workers=1, worker_init_fn=live_and_die_with_the_parent))
next(kept)
sys.exit(3)
"""


def test_a_program_that_ends_with_an_error_does_not_wait_for_its_loading_processes() -> None:
    """What was in their hands when it ended may hold them until the very end."""
    assert subprocess.run([sys.executable, "-c", FAILING], timeout=60).returncode == 3


def test_signals_that_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", {signal.SIGHUP: signal.SIG_DFL}.get)
    assert endings() == (signal.SIGTERM, signal.SIGHUP)
    monkeypatch.setattr(signal, "getsignal", {signal.SIGHUP: signal.SIG_IGN}.get)
    assert endings() == (signal.SIGTERM,)  # as under nohup


ORPHANED = """
import os, sys, time
from torch.utils.data import DataLoader
from yolor_mtl.ops.processes import live_and_die_with_the_parent

large = [bytes(1 << 20)] * 4  # more than a pipe holds
batches = iter(DataLoader(large, num_workers=1, collate_fn=list, worker_init_fn=live_and_die_with_the_parent))
print("working", flush=True)
time.sleep(600)
"""


def test_a_loading_process_does_not_outlive_a_killed_parent() -> None:
    """It waits for its batch to be taken, and torch's own look at the parent comes before that."""
    nothing_outlives(ORPHANED)
