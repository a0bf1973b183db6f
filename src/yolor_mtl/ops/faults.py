"""What the machine does to a run, in words: no memory, no room on the disk, a process that was ended."""

from __future__ import annotations

import errno
import re
import traceback

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A file cannot grow: the disk, the user's share of it, or the greatest size of a file."""

MEMORY_WORDS = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
"""How torch's allocators and CUDA's libraries say that there is no memory; by words, as not all have a type for it."""

_FETCHING = {"torch.utils.data.dataloader", "multiprocessing.resource_sharer"}
"""Modules in which an error was, where a batch could not be fetched from the process that had loaded it."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, the GPU's or the machine's, was too small."""
    told = isinstance(error, RuntimeError) and any(word in str(error) for word in MEMORY_WORDS)
    return told or isinstance(error, MemoryError)


def worker_lost(error: BaseException) -> bool:
    """Whether an error says that a process that loads pictures was ended from outside."""
    if isinstance(error, RuntimeError) and re.match(r"DataLoader worker \(pid|Pin memory thread exited", str(error)):
        return True
    # What it was about to hand over is fetched from it through a socket, which nobody answers any more. Depending on
    # how far the two had come this is a connection refused, reset or ended, or a message without what it should carry.
    return {frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)} >= _FETCHING


def system_fault(error: BaseException) -> str | None:
    """What happened and what helps, for faults of the machine; ``None`` for all others, and for files that are merely
    not there or not allowed."""
    if isinstance(error, OSError) and error.errno in (*NO_ROOM, errno.EIO):
        remedy = "look after the disk" if error.errno == errno.EIO else "make room there"
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}; {remedy}"
    if out_of_memory(error):
        return "out of memory; a smaller batch= or imgsz= needs less"
    if worker_lost(error):
        return (
            "a process that loads pictures was ended from outside, most often by the system, for want of memory; "
            "a smaller workers= needs less"
        )
    return None
