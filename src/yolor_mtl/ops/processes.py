"""Processes that work for this one: pools, and what all of them do about signals and a parent that is gone."""

from __future__ import annotations

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


def processes(asked: int) -> int:
    """Number of processes; 0 asks for one for each core that this process may use."""
    return asked or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))


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
    """Ctrl-C is left to the parent; SIGTERM, which it sends where one of the others is lost, is obeyed at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _watch_the_parent()


def live_and_die_with_the_parent(worker: int) -> None:
    """A terminal and a scheduler signal the whole group; a loading process goes on until its parent ends it or is gone.

    The parent asks by a flag, which one that waits for a disk or a server does not see, and then by SIGTERM: so the
    first may be the scheduler's, and the next one ends it. A parent that was killed cannot ask, and a process that
    waits until its batch is taken would wait for ever.
    """
    told = 0

    def once_more(number: int, frame: object) -> None:
        nonlocal told
        told += 1
        if told > 1:
            os._exit(128 + number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, once_more)
    _watch_the_parent()


def _watch_the_parent() -> None:
    threading.Thread(target=_end_with_the_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_the_parent(first: int) -> None:
    parent = multiprocessing.parent_process()
    # Both questions: a parent that was gone before the first was asked, and one whose end of a pipe others hold open.
    while os.getppid() == first and (parent is None or parent.is_alive()):
        time.sleep(ORPHAN_SECONDS)
    os._exit(1)
