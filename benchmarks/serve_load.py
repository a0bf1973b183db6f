"""What the server does under many clients at once, good and hostile ones mixed.

    python benchmarks/serve_load.py [model=scenes-nano] [clients=200] [seconds=60] [port=0] [--json]

Starts ``yolor-mtl serve`` and lets each client send one thing after another: pictures of several sizes and formats,
files that are none, a header of 900 megapixels, files beyond the limit without a Content-Length, forms that are none,
wrong parameters, clients that hang up in the middle, clients that send a byte a second. Prints requests by kind and
status, the median and the 95th percentile of the time to an answer (a client that is told to wait waits, and that time
does not count), and the most memory that the server had. Exit code 1 where a status came that its kind must not have,
an answer was not what `predict` says of that picture, or the server died.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from yolor_mtl import YOLORMTL
from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.serve.examples import draw_examples

MAX_BYTES = 4_000_000
ALWAYS = {408, 429, 503}
"""What may be said to anybody under load; the clients of this script may be short of time, too."""


@dataclass
class LoadConfig:
    model: str = "scenes-nano"
    clients: int = 200
    seconds: float = 60.0
    port: int = 0
    timeout: float = 30.0
    seed: int = 0
    json: bool = False


@dataclass(frozen=True)
class Kind:
    """One kind of request: what is sent, how often, and which statuses are right.

    0 is cut off: this client does not read an answer before it has sent everything.
    """

    name: str
    weight: int
    statuses: frozenset[int]
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""
    how: str = "whole"


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG whose header claims 900 megapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (30_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    )


def kinds() -> list[Kind]:
    scenes = [example.jpeg for example in draw_examples()]
    large = io.BytesIO()
    Image.open(io.BytesIO(scenes[0])).resize((3000, 2000)).save(large, "JPEG", quality=80)
    good, bad = frozenset({200, *ALWAYS}), frozenset({422, *ALWAYS})
    return [
        *(Kind(f"scene {number}", 8, good, file) for number, file in enumerate(scenes)),
        Kind("scene, PNG", 4, good, png(np.asarray(Image.open(io.BytesIO(scenes[1]))))),
        Kind("6 megapixels", 2, good, large.getvalue()),
        Kind("one pixel", 2, good, png(np.zeros((1, 1, 3), np.uint8))),
        Kind("truncated", 4, bad, scenes[0][:4000]),
        Kind("nothing", 2, bad),
        Kind("zeros", 3, bad, bytes(100_000)),
        Kind("text", 3, bad, b"no picture " * 1000, {"content-type": "image/jpeg"}),
        Kind("bomb", 4, bad, bomb()),
        Kind("form that is none", 3, bad, b"x" * 5000, {"content-type": "multipart/form-data; boundary=b"}),
        Kind("wrong parameter", 2, bad, scenes[0], query="?conf=7"),
        Kind("too many bytes", 3, frozenset({413, 0, *ALWAYS}), bytes(MAX_BYTES * 2), how="chunks"),
        Kind("hangs up", 3, frozenset({0}), bytes(MAX_BYTES // 2), how="half"),
        Kind("byte a second", 1, frozenset({408, 0, *ALWAYS}), bytes(1000), how="slow"),
    ]


@dataclass
class Seen:
    """What came back."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


async def pieces(kind: Kind) -> AsyncIterator[bytes]:
    """A body without a length; ``half`` breaks off, ``slow`` takes its time."""
    step = 1 if kind.how == "slow" else 65_536
    end = len(kind.body) // 2 if kind.how == "half" else len(kind.body)
    for start in range(0, end, step):
        yield kind.body[start : start + step]
        if kind.how == "slow":
            await asyncio.sleep(1)
    if kind.how == "half":
        raise ConnectionAbortedError


async def ask(client: httpx2.AsyncClient, kind: Kind) -> httpx2.Response | None:
    content: Any = kind.body if kind.how == "whole" else pieces(kind)
    try:
        return await client.post(f"/predict{kind.query}", content=content, headers=kind.headers)
    except (httpx2.TransportError, ConnectionAbortedError):
        return None


def gist(response: httpx2.Response) -> Any:
    """What of an answer does not depend on who else is in its batch."""
    answer = response.json()
    return answer["height"], answer["width"], answer["caption"]["text"], [one["class"] for one in answer["detections"]]


def predicted(model: str, menu: list[Kind]) -> dict[str, Any]:
    """The gist of what ``predict`` answers, by kind."""
    predictor, found = YOLORMTL(model), {}
    for kind in menu:
        if 200 in kind.statuses:
            (result,) = predictor.predict(kind.body)
            boxes = result.boxes
            assert boxes is not None
            found[kind.name] = (*result.orig_shape, result.caption, [result.names[int(index)] for index in boxes.cls])
    return found


async def one_client(
    client: httpx2.AsyncClient, menu: list[Kind], truth: dict[str, Any], end: float, seed: int, seen: Seen
) -> None:
    dice = random.Random(seed)
    weights = [kind.weight for kind in menu]
    while time.monotonic() < end:
        kind = dice.choices(menu, weights)[0]
        started = time.monotonic()
        response = await ask(client, kind)
        status = response.status_code if response is not None else 0
        seen.statuses[kind.name, status] += 1
        if status not in kind.statuses:
            seen.wrong.append(f"{kind.name}: {status} {response.text[:200] if response is not None else ''}")
        if response is not None and status == 200:
            seen.seconds.append(time.monotonic() - started)
            if kind.name in truth and gist(response) != truth[kind.name]:
                seen.wrong.append(f"{kind.name}: another answer than predict gives: {gist(response)}")
        if response is not None and "retry-after" in response.headers:
            await asyncio.sleep(min(3.0, float(response.headers["retry-after"])) * dice.uniform(0.5, 1))


async def load(url: str, config: LoadConfig) -> Seen:
    menu, seen = kinds(), Seen()
    truth = predicted(config.model, menu)
    # One connection pool for all: making a client costs more than asking. None waits for another's connection.
    pool = httpx2.Limits(max_connections=None, max_keepalive_connections=config.clients)
    async with httpx2.AsyncClient(base_url=url, timeout=120, limits=pool) as client:
        end = time.monotonic() + config.seconds
        seeds = (config.seed + number for number in range(config.clients))
        await asyncio.gather(*(one_client(client, menu, truth, end, seed, seen) for seed in seeds))
    return seen


def memory(process: int, what: str = "VmHWM") -> float:
    """Megabytes of a process: the most it had (Linux)."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1000 if found else float("nan")


def report(seen: Seen, peak: float, before: float, code: int, config: LoadConfig) -> dict[str, Any]:
    by_status: Counter[int] = Counter()
    for (_, status), count in seen.statuses.items():
        by_status[status] += count
    return {
        "clients": config.clients,
        "seconds": config.seconds,
        "requests": sum(seen.statuses.values()),
        "statuses": {str(status): count for status, count in sorted(by_status.items())},
        "p50": round(float(np.percentile(seen.seconds, 50)), 3) if seen.seconds else None,
        "p95": round(float(np.percentile(seen.seconds, 95)), 3) if seen.seconds else None,
        "peak_mb": round(peak),
        "before_mb": round(before),
        "exit_code": code,
        "wrong": seen.wrong[:20],
    }


def show(found: dict[str, Any], seen: Seen) -> None:
    console = Console()
    table = Table("kind", "status", "requests", title="answers by kind; 0: cut off", title_justify="left")
    for (name, status), count in sorted(seen.statuses.items()):
        table.add_row(name, str(status), str(count))
    console.print(table)
    console.print_json(data=found)


def main() -> int:
    config = fill(LoadConfig, parse_assignments(sys.argv[1:]))
    command = ["serve", f"model={config.model}", f"port={config.port}", f"max_bytes={MAX_BYTES}", "upload_timeout=5"]
    command.append(f"timeout={config.timeout}")
    process = subprocess.Popen([sys.executable, "-m", "yolor_mtl", *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = re.search(r"http://\S+", process.stdout.readline())
    if address is None:
        return 1
    try:
        before = memory(process.pid)
        seen = asyncio.run(load(address[0], config))
        died = process.poll() is not None
        peak = float("nan") if died else memory(process.pid)
    finally:
        process.terminate()
        code = process.wait(120)
    found = report(seen, peak, before, code, config)
    if config.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        show(found, seen)
    return 1 if seen.wrong or died or code != 143 else 0


if __name__ == "__main__":
    sys.exit(main())
