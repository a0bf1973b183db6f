"""The application behind a socket: signals, slow connections, the end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from yolor_mtl.ops.processes import endings
from yolor_mtl.records import UserError
from yolor_mtl.serve.service import Service

_PATIENCE = 15.0
"""Seconds for the head of a request to arrive, and for a client that does not read its answer to go on."""

_BACKLOG = 2048


class GuardedProtocol(H11Protocol):
    """uvicorn's protocol, which hangs up on clients that send a request's head too slowly or stop reading."""

    _head: asyncio.TimerHandle | None = None
    _write: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Bytes came; if they are no whole head yet, the clock runs on."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()
        else:
            self._head = self._stopped(self._head)

    def pause_writing(self) -> None:
        """More is to be sent than the client takes."""
        super().pause_writing()
        if self._write is None:
            self._write = self.loop.call_later(_PATIENCE, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._write = self._stopped(self._write)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        self._head, self._write = self._stopped(self._head), self._stopped(self._write)

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(_PATIENCE, self.transport.abort)

    @staticmethod
    def _stopped(clock: asyncio.TimerHandle | None) -> None:
        if clock is not None:
            clock.cancel()


class Server(uvicorn.Server):
    """Runs an application until a signal ends it.

    Args:
        app: from :func:`create_app`.
        ready: called once, when requests are taken.
    """

    def __init__(self, app: FastAPI, ready: Callable[[], object]) -> None:
        self._service: Service = app.state.service
        super().__init__(
            uvicorn.Config(
                app,
                http=GuardedProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                # Clients that talk nonsense would fill a log; metrics count them.
                log_level="error",
                access_log=False,
                server_header=False,
                # What is behind a proxy is nobody's business here; no header of a client is believed.
                proxy_headers=False,
                timeout_graceful_shutdown=int(self._service.limits.timeout) + 5,
            )
        )
        logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
        self._ready = ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self.stopped_by = 0

    def serve_on(self, listener: socket.socket) -> int:
        """Serves until SIGINT, SIGTERM or SIGHUP; what has arrived by then is answered.

        Returns:
            The exit code that says so: 130, 143, 129, or 0 where no signal was the reason.
        """
        self.run([listener])
        return 128 + self.stopped_by if self.stopped_by else 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to take requests."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the service stops taking pictures at once, the connections end with their answers."""
        super().handle_exit(sig, frame)
        self.stopped_by = self.stopped_by or sig
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._service.stop)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signal is not raised again afterwards: the exit code tells it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, *endings())
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; they wait until the server answers.

    Raises:
        UserError: the address is not this machine's, or something else listens there.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"port={port} must lie in 0..65535; 0 takes a free one")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UserError(f"host={host} port={port}: {error.strerror or error}; choose another host= or port=") from error
