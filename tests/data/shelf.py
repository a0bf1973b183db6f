"""A packed copy of a small data set, and a server that hands its shards out."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from yolor_mtl.data.locate import find_layout
from yolor_mtl.data.shards.write import write_shards


def pack(source: Path, out: Path, size: int = 1) -> Path:
    """Shards of as many bytes; one picture each by default."""
    write_shards(find_layout(source), out, size)
    return out


class Asked(list[str]):
    """The paths that were asked for, and how many answers are yet to fail."""

    failing = 0


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Asked]]:
    """The address that a folder is served at."""
    asked = Asked()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if asked.failing:
                asked.failing -= 1
                self.send_error(503)
                return
            super().do_GET()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def described(packed: Path, url: str, cache: Path, **keys: Any) -> Path:
    """A YAML file that says where the shards of a packed data set are fetched from."""
    path = packed.parent / f"{packed.name}.yaml"
    splits = {split.name: split.name for split in (packed / "shards").iterdir()}
    content = {"path": str(packed), **splits, "shards": {"url": url, "cache": str(cache), **keys}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path
