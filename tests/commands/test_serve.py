"""``yolor-mtl serve`` as a process: it starts, answers, and ends as it is told."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import runs
import servers


@contextmanager
def started(trained: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], httpx2.Client]]:
    process = runs.shell(["serve", f"model={trained}", "port=0", "half=false", *more], trained, OMP_NUM_THREADS="1")
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stderr.read()
        with httpx2.Client(base_url=found[0], timeout=60) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


def test_answers_and_prints_its_address(trained: Path) -> None:
    file = servers.encoded(servers.picture())
    with started(trained) as (process, client):
        answer = client.post("/predict", files={"file": ("a.png", file)}).json()
        assert (answer["path"], answer["height"], answer["width"]) == ("a.png", 40, 56)
        assert client.get("/healthz").status_code == 200
        assert "yolor-mtl" in client.get("/").text
        shown = client.get("/info").json()["examples"]
        assert len(shown) == 4
        assert all(client.get(example["url"]).headers["content-type"] == "image/jpeg" for example in shown)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_sigterm_answers_what_has_arrived(trained: Path) -> None:
    """What waits is answered, what is still being sent is told to come later, nothing new is taken."""
    file = servers.encoded(servers.picture(0, 600, 800))
    answers: list[httpx2.Response] = []
    with started(trained, "batch=1", "timeout=120") as (process, client):

        def ask() -> None:
            with httpx2.Client(base_url=client.base_url, timeout=120) as own:
                answers.append(own.post("/predict", content=file, params={"conf": 0.0, "beam": 10}))

        asking = [threading.Thread(target=ask) for _ in range(6)]
        for thread in asking:
            thread.start()
        sending = socket.create_connection((client.base_url.host, client.base_url.port), timeout=60)
        sending.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc")
        while "yolor_mtl_queue_depth 6" not in (text := client.get("/metrics").text) or "uploads 1" not in text:
            assert len(answers) < 6, "too quick for this test"
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        late = sending.recv(65536)
        for thread in asking:
            thread.join()
        assert process.wait(60) == 143
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    assert [answer.status_code for answer in answers] == [200] * 6
    assert late.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 5" in late
    sending.close()


def test_what_is_refused(command: runs.Command, trained: Path) -> None:
    runs.refused(command("serve"), "model= is missing")
    runs.refused(command("serve", f"model={trained}", "port=70000"), "port=70000")
    runs.refused(command("serve", f"model={trained}", "queue=0"), "queue=0")
    runs.refused(command("serve", f"model={trained}", "prot=1"), "did you mean 'port'")
    runs.refused(command("serve", f"model={trained}", "host=192.0.2.1"), "host=192.0.2.1")
    with socket.create_server(("127.0.0.1", 0)) as other:
        runs.refused(command("serve", f"model={trained}", f"port={other.getsockname()[1]}"), "in use", "port=")


def test_without_the_extra(command: runs.Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in sys.modules if name.split(".")[0] == "fastapi" or name.startswith("yolor_mtl.serve.")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    runs.refused(command("serve", f"model={trained}"), "pip install 'yolor-mtl[serve]'")


def test_serving_loads_no_lightning() -> None:
    said = runs.python(
        "import sys, json, yolor_mtl.serve.server, yolor_mtl.serve.app\n"
        "print(json.dumps([name for name in sys.modules if name.split('.')[0] in ('lightning', 'tensorboard')]))"
    )
    assert json.loads(said) == []
