"""Reading a picture from a request: so many bytes, so much time, and not one more."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive

from yolor_mtl.serve.limits import Lease, Limits, Places, RefusedError, busy, stopping
from yolor_mtl.serve.pictures import base_name

_FORM_BYTES = 65_536
"""What a multipart form may have beside the file: boundaries, names, other fields."""


class ClientGoneError(Exception):
    """The client closed the connection; nobody waits for an answer."""


@dataclass(frozen=True)
class Upload:
    """A file that has arrived.

    Attributes:
        file: its bytes.
        name: what the client calls it, without folders; may be empty.
        lease: the bytes that it holds; whoever is done with it closes it.
    """

    file: bytes
    name: str
    lease: Lease


class Uploads:
    """Reads the files of all requests.

    Args:
        limits: how many, how large, how long.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.places = Places(limits.uploads)
        self.held = Places(limits.held_bytes)
        self._clocks: set[asyncio.Timeout] = set()
        self._stopping = False

    def stop(self) -> None:
        """Refuses what is still arriving and all that comes later."""
        self._stopping = True
        for clock in self._clocks:
            clock.reschedule(asyncio.get_running_loop().time())

    async def read(self, headers: Headers, receive: Receive, whole: Callable[[], object]) -> Upload:
        """Reads the file of a request: the field ``file`` of a form, or else the body as it is.

        Args:
            headers: the request's.
            receive: its ASGI channel.
            whole: called when the body has been read to its end.

        Raises:
            RefusedError: 408, 413, 422, 429 or 503.
            ClientGoneError: the connection was closed before the end.
        """
        if self._stopping:
            raise stopping()
        is_form = headers.get("content-type", "").lower().startswith("multipart/form-data")
        most = self.limits.max_bytes + (_FORM_BYTES if is_form else 0)
        if (length := headers.get("content-length", "")).isdecimal() and int(length) > most:
            raise self._too_large()
        with self.places.one(busy("too many files are being sent")):
            lease = Lease(self.held)
            try:
                async with self._clock(), aclosing(_chunks(receive, lease, most, self._too_large, whole)) as chunks:
                    file, name = await (_form_file(headers, chunks) if is_form else _raw_file(chunks))
                if len(file) > self.limits.max_bytes:
                    raise self._too_large()
                return Upload(file, base_name(name), lease)
            except BaseException:
                lease.close()
                raise

    @asynccontextmanager
    async def _clock(self) -> AsyncIterator[None]:
        """The time that a client has for sending."""
        seconds = self.limits.upload_timeout
        try:
            async with asyncio.timeout(seconds) as clock:
                self._clocks.add(clock)
                try:
                    yield
                finally:
                    self._clocks.discard(clock)
        except TimeoutError as error:
            if self._stopping:
                raise stopping() from error
            raise RefusedError(408, "slow", f"the file did not arrive within {seconds:g} s") from error

    def _too_large(self) -> RefusedError:
        return RefusedError(
            413, "too_large", f"the file has more than {self.limits.max_bytes} bytes, which is the limit"
        )


async def _chunks(
    receive: Receive, lease: Lease, most: int, too_large: Callable[[], RefusedError], whole: Callable[[], object]
) -> AsyncGenerator[bytes, None]:
    """The body piece by piece, up to ``most`` bytes, whatever its headers promised."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        if lease.held + len(chunk) > most:
            raise too_large()
        lease.grow(len(chunk))
        more = message.get("more_body", False)
        if not more:
            whole()
        if chunk:
            yield chunk


async def _raw_file(chunks: AsyncGenerator[bytes, None]) -> tuple[bytes, str]:
    parts = [chunk async for chunk in chunks]
    return b"".join(parts), ""


class _InMemory(MultiPartParser):
    """The body is bounded; nothing that a client sends is written to a disk."""

    spool_max_size = sys.maxsize


async def _form_file(headers: Headers, chunks: AsyncGenerator[bytes, None]) -> tuple[bytes, str]:
    parser = _InMemory(headers, chunks, max_files=1, max_fields=8, max_part_size=_FORM_BYTES)
    try:
        form = await parser.parse()
    except (RefusedError, ClientGoneError):
        raise
    except MultiPartException as error:
        raise RefusedError(422, "form", f"the form cannot be read: {error.message}") from error
    # A form that is no form makes the parser raise what its own code happens to stumble on.
    except Exception as error:
        raise RefusedError(422, "form", "the form cannot be read") from error
    field = form.get("file")
    if not isinstance(field, UploadFile):
        await form.close()
        raise RefusedError(422, "form", "the form has no file in its field 'file'")
    file = await field.read()
    await form.close()
    return file, field.filename or ""


async def when_gone(receive: Receive) -> None:
    """Returns when the client has closed the connection; for requests whose body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
