"""Faults of the machine in words."""

from __future__ import annotations

import errno
import multiprocessing.connection
import os
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import runs
import torch

from yolor_mtl.ops.faults import out_of_memory, system_fault, worker_lost
from yolor_mtl.ops.files import write_atomic

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79 GiB")
CUBLAS = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
WORKER = RuntimeError("DataLoader worker (pid 4711) is killed by signal: Killed. ")
EXITED = RuntimeError("DataLoader worker (pid(s) 4711, 4712) exited unexpectedly")
PINNING = RuntimeError("Pin memory thread exited unexpectedly")


def the_cpu_s() -> RuntimeError:
    """What torch says where the machine has no memory."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize("error", [CUDA, CUBLAS, MemoryError(), the_cpu_s()], ids=["cuda", "cublas", "python", "cpu"])
def test_out_of_memory(error: Exception) -> None:
    assert out_of_memory(error)
    assert "batch=" in (system_fault(error) or "")


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), ValueError("out of memory"), OSError(12, "x")])
def test_other_errors_are_not(error: Exception) -> None:
    assert not out_of_memory(error)
    assert system_fault(error) is None


@pytest.mark.parametrize("error", [WORKER, EXITED, PINNING])
def test_a_process_that_was_ended(error: Exception) -> None:
    assert worker_lost(error)
    assert "workers=" in (system_fault(error) or "")


class Noise(torch.utils.data.Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.rand(8)


def _gone() -> Connection:
    """To a process that is no more."""
    here, there = socket.socketpair()
    there.close()
    return Connection(here.detach())


def _ended_while_it_answered(answer: bytes) -> Connection:
    here, there = socket.socketpair()

    def serve() -> None:
        there.recv(1)
        there.send(answer)
        there.close()

    threading.Thread(target=serve, daemon=True).start()
    return Connection(here.detach())


@pytest.mark.parametrize(
    ("name", "connect"),
    [
        ("SocketClient", lambda address: _gone()),
        ("Client", lambda address, authkey: _gone()),
        ("Client", lambda address, authkey: _ended_while_it_answered(b"")),
        ("Client", lambda address, authkey: _ended_while_it_answered(b"x")),
    ],
    ids=["before its name", "before the request", "before the answer", "in the answer"],
)
def test_a_process_that_was_ended_while_a_batch_was_fetched_from_it(
    name: str, connect: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the two had come to when it was killed."""
    others = set(multiprocessing.active_children())
    batches = iter(torch.utils.data.DataLoader(Noise(), num_workers=1))
    monkeypatch.setattr(multiprocessing.connection, name, connect)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        next(batches)
    assert worker_lost(caught.value)
    assert "workers=" in (system_fault(caught.value) or "")
    for process in set(multiprocessing.active_children()) - others:
        process.terminate()
        process.join()


@pytest.mark.parametrize("error", [EOFError(), BrokenPipeError(32, "pipe"), FileNotFoundError(2, "gone")])
def test_a_loading_process_s_own_error_is_no_lost_process(error: Exception) -> None:
    class Broken(Noise):
        def __getitem__(self, index: int) -> torch.Tensor:
            raise error

    for workers in (0, 1):
        with pytest.raises(type(error)) as caught:
            next(iter(torch.utils.data.DataLoader(Broken(), num_workers=workers)))
        assert not worker_lost(caught.value)


def test_a_process_that_cannot_be_started_is_no_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)
    with pytest.raises(BlockingIOError) as caught:
        iter(torch.utils.data.DataLoader(Noise(), num_workers=1))
    assert not worker_lost(caught.value)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "make room"), (errno.EDQUOT, "make room"), (errno.EFBIG, "make room"), (errno.EIO, "look after")],
)
def test_disks_by_name(tmp_path: Path, number: int, remedy: str) -> None:
    def fail(temporary: Path) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(OSError, match=r"state\.ckpt") as caught:
        write_atomic(tmp_path / "state.ckpt", fail)
    told = system_fault(caught.value) or ""
    assert told.startswith(f"{tmp_path / 'state.ckpt'}: {os.strerror(number)}; {remedy}")


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT, errno.EROFS])
def test_what_is_merely_not_there_or_not_allowed(number: int) -> None:
    assert system_fault(OSError(number, os.strerror(number), "x")) is None


def test_commands_tell_it_without_a_trace(
    command: runs.Command, trained: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise CUDA

    monkeypatch.setattr("yolor_mtl.inference.predictor.Predictor.predict_batch", fail)
    said = command("val", f"model={trained}", f"data={scenes}", "split=val", f"out={tmp_path / 'v'}", "workers=0")
    assert said.code == 3
    assert "stopped: out of memory" in said.err
    assert "Traceback" not in said.out + said.err
