"""Every answer's envelope: headers, counts, and errors of one form."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yolor_mtl.serve.limits import RefusedError
from yolor_mtl.serve.metrics import Metrics
from yolor_mtl.serve.upload import ClientGoneError

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page takes nothing from anywhere else, and runs no script that is not a file of the package."""

_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 64_000_000


class Envelope:
    """Counts requests, adds headers, and turns what nobody foresaw into a plain 500.

    Args:
        app: what it is put around.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), ""

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            await self.app(scope, receive, sent)
        except ClientGoneError:
            status = "gone"
        except Exception:
            logging.getLogger("yolor_mtl.serve").exception("a fault in answering %s", scope["path"])
            if status:
                raise
            await problem(Request(scope, receive), RefusedError(500, "fault", "the server failed"))(
                scope, receive, sent
            )
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(route, status).inc()
            if route == "/predict" and status == "200":
                self.metrics.seconds.observe(time.monotonic() - started)


def problem(request: Request, refusal: RefusedError) -> JSONResponse:
    """A refusal as JSON. If the request's body has not been read, the connection ends after it."""
    headers = {} if refusal.retry_after is None else {"retry-after": str(refusal.retry_after)}
    content = {"error": refusal.code, "message": refusal.message}
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if has_body and not getattr(request.state, "read", False):
        return _Parting(content, refusal.status, headers | {"connection": "close"})
    return JSONResponse(content, refusal.status, headers)


class _Parting(JSONResponse):
    """Says its answer to a client that may still be sending, and hangs up.

    If the connection were closed at once, bytes that arrive then would make the client's system drop the answer before
    it is read. So what comes is thrown away for a moment.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    seen = 0
    while seen < _LINGER_BYTES:
        message = await receive()
        seen += len(message.get("body", b""))
        if not message.get("more_body", False):
            return
