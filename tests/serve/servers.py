"""A server in a thread of this process, on a port of its own, and files to send it: shared by the tests of serving."""

from __future__ import annotations

import io
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import numpy as np
from PIL import Image

from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.serve.app import create_app
from yolor_mtl.serve.examples import Drawn
from yolor_mtl.serve.limits import Limits
from yolor_mtl.serve.server import Server, listen
from yolor_mtl.serve.service import Service


@dataclass
class Running:
    """A server that takes requests.

    Attributes:
        port: where, on 127.0.0.1.
        app: its application.
        server: it.
    """

    port: int
    app: Any
    server: Server
    client: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    @property
    def service(self) -> Service:
        return self.app.state.service

    def predict(self, body: bytes, **query: Any) -> httpx2.Response:
        """Sends raw bytes."""
        return self.client.post("/predict", content=body, params=query)

    def connection(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def number(self, name: str) -> float:
        """A metric without labels."""
        lines = dict(line.rsplit(" ", 1) for line in self.client.get("/metrics").text.splitlines() if line[0] != "#")
        return float(lines[name])


@contextmanager
def serving(predictor: Predictor, examples: tuple[Drawn, ...] = (), **limits: Any) -> Iterator[Running]:
    """Serves while it lasts; at the end, all threads have ended and nothing is held."""
    ready = threading.Event()
    with listen("127.0.0.1", 0) as listener:
        app = create_app(predictor, Limits(**limits), examples)
        server = Server(app, ready.set)
        thread = threading.Thread(target=server.serve_on, args=(listener,))
        thread.start()
        try:
            assert ready.wait(60)
            running = Running(listener.getsockname()[1], app, server)
            yield running
            running.client.close()
        finally:
            server.should_exit = True
            thread.join(60)
        assert not thread.is_alive()
        service = running.service
        assert (service.queue.taken, service.uploads.held.taken, service.pixels.taken) == (0, 0, 0)


def encoded(pixels: np.ndarray, kind: str = "PNG", **how: Any) -> bytes:
    """A file of (H, W, 3) uint8."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **how)
    return buffer.getvalue()


def picture(seed: int = 0, height: int = 40, width: int = 56) -> np.ndarray:
    """Blurred noise, (height, width, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def huge(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG of 900 megapixels in a kilobyte: its header is whole, its pixels are not there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    data = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def many_scans(scans: int, side: int = 64) -> bytes:
    """A progressive JPEG whose last scan stands there ``scans`` times more."""
    file = encoded(picture(height=side, width=side), "JPEG", progressive=True, quality=60)
    start = file.rindex(b"\xff\xda")
    return file[:start] + file[start:-2] * (scans + 1) + file[-2:]


HOSTILE = {
    "empty": b"",
    "zeros": bytes(4096),
    "text": b"just text, no picture",
    "html": b"<!doctype html><script>alert(1)</script>",
    "truncated": encoded(picture(), "JPEG")[:300],
    "cut header": encoded(picture())[:20],
    "bomb": huge(),
    "scans": many_scans(500),
    "zip": b"PK\x03\x04" + bytes(100),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nquit\n",
}
"""Files that are no pictures or claim to be very large, by what they are."""
