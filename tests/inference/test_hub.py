"""Weights from the Hub, whose answers a server of our own gives here."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from yolor_mtl.inference.hub import download_weights
from yolor_mtl.records import UserError

pytest.importorskip("huggingface_hub", reason="the Hub needs its library: pip install 'yolor-mtl[hub]'")

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(trained: Path) -> Iterator[str]:
    """The address of a Hub with one repository, ``me/tiny``, of one file."""
    data = (trained / "best.safetensors").read_bytes()

    class Answers(http.server.BaseHTTPRequestHandler):
        def _answer(self, body: bool) -> None:
            repo, _, rest = self.path.lstrip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            error = (
                "RepoNotFound" if repo != "me/tiny" else "RevisionNotFound" if revision not in ("main", COMMIT) else ""
            )
            error = error or ("EntryNotFound" if name != "model.safetensors" else "")
            self.send_response(404 if error else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(0 if error else len(data)))
            self.send_header("X-Error-Code" if error else "ETag", error or f'"{sha256(data).hexdigest()}"')
            self.end_headers()
            if body and not error:
                self.wfile.write(data)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(hub: str, home: Path, words: str) -> str:
    """What a fresh process says; the library reads its addresses when it is imported."""
    code = (
        "from yolor_mtl import YOLORMTL\n"
        "from yolor_mtl.records import UserError\n"
        "try:\n"
        f"    print(YOLORMTL.from_pretrained({words}, device='cpu').names)\n"
        "except UserError as error:\n"
        "    print('refused:', error)\n"
    )
    place = {"HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **place},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


def test_a_repository(hub: str, tmp_path: Path) -> None:
    assert "0: 'person'" in ask(hub, tmp_path, "'me/tiny'")
    assert "0: 'person'" in ask(hub, tmp_path, f"'me/tiny', revision='{COMMIT}'")
    # Another time nothing is downloaded: there is no Hub any more.
    assert "0: 'person'" in ask("http://127.0.0.1:9", tmp_path, "'me/tiny'")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("'me/absent'", "no such repository"),
        ("'me/tiny', revision='v9'", "no revision 'v9'"),
        ("'me/tiny', filename='other.safetensors'", "there is no other.safetensors"),
    ],
)
def test_refused_by_the_hub(hub: str, tmp_path: Path, words: str, reason: str) -> None:
    said = ask(hub, tmp_path, words)
    assert said.startswith("refused:")
    assert reason in said


def test_no_hub(tmp_path: Path) -> None:
    assert "cannot be reached" in ask("http://127.0.0.1:9", tmp_path, "'me/tiny'")


def test_refused_here() -> None:
    with pytest.raises(UserError, match="no name of a repository"):
        download_weights("a/b/c")
    with pytest.raises(UserError, match=r"only \.safetensors"):
        download_weights("me/tiny", "model.bin")
