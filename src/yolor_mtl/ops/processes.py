"""Processes that work for this one: pools, and what all of them do about signals and a parent that is gone."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from yolor_mtl.records import Fault

_CHUNK = 16
"""Jobs that a process takes at once."""

ORPHAN_SECONDS = 1.0
"""How often a loading process looks whether its parent is still there."""

T = TypeVar("T")
R = TypeVar("R")


def endings() -> tuple[signal.Signals, ...]:
    """Signals of a scheduler and of a terminal that is closed; ``nohup`` has the latter ignored, and so it stays."""
    hang_up = getattr(signal, "SIGHUP", None)
    return (signal.SIGTERM, *((hang_up,) if hang_up and signal.getsignal(hang_up) != signal.SIG_IGN else ()))


def processes(asked: int) -> int:
    """Number of processes; 0 asks for one for each core that this process may use."""
    return asked or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))


def return_free_memory() -> None:
    """Returns to the system what the C library keeps for later; nothing where it cannot be told to.

    For before processes are started by a fork: they share the parent's memory until one of both writes there, so that
    whatever the parent uses anew afterwards exists twice, the free memory of earlier training steps included.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None  # glibc's
    if trim is not None:
        trim(0)


def in_processes(work: Callable[[T], R], jobs: Sequence[T], workers: int) -> Iterator[R]:
    """Answers in the order of the jobs.

    Raises:
        Fault: a process was killed, which is what happens where memory ends.
    """
    workers = min(workers, -(-len(jobs) // _CHUNK))
    if workers <= 1:
        yield from map(work, jobs)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context(), _die_with_the_parent)
    try:
        yield from pool.map(work, jobs, chunksize=_CHUNK)
    except BrokenProcessPool as error:
        raise Fault("one of the processes was killed, perhaps for want of memory; try workers=1") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _die_with_the_parent() -> None:
    """The terminal's signals are left to the parent; SIGTERM, by which it ends the others of a lost one, is obeyed."""
    _leave_the_terminal_to_the_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _watch_the_parent()


def live_and_die_with_the_parent(worker: int) -> None:
    """A terminal and a scheduler signal the whole group; a loading process goes on until its parent ends it or is gone.

    The parent asks by a flag, which one that waits for a disk or a server does not see, and then by SIGTERM; where it
    ends with an error it asks by SIGTERM alone, and waits. So what counts is who sent it. A parent that was killed
    cannot ask, and a process that waits until its batch is taken would wait for ever.

    What it has inherited is shared with the parent until somebody writes there, which Python's search for garbage does:
    to all of it, a hundred megabytes for each process. So that search leaves it out.
    """
    gc.freeze()
    _leave_the_terminal_to_the_parent()
    if hasattr(signal, "sigwaitinfo"):  # not on macOS, where the scheduler's ends the process too
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_where_the_parent_asks, daemon=True).start()
    _watch_the_parent()


def _end_where_the_parent_asks() -> None:
    # Not the system's parent, which may be a server that forks for it.
    started_by = multiprocessing.parent_process()
    parent = os.getppid() if started_by is None else started_by.pid
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass  # a terminal's or a scheduler's, to all of them
    os._exit(0)


def _leave_the_terminal_to_the_parent() -> None:
    for number in {signal.SIGINT, *endings()} - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)


def _watch_the_parent() -> None:
    threading.Thread(target=_end_with_the_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_the_parent(first: int) -> None:
    parent = multiprocessing.parent_process()
    # Both questions: a parent that was gone before the first was asked, and one whose end of a pipe others hold open.
    while os.getppid() == first and (parent is None or parent.is_alive()):
        time.sleep(ORPHAN_SECONDS)
    os._exit(1)
