"""What the server says no to, and that it says so cleanly."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import servers

from yolor_mtl.records import UserError
from yolor_mtl.serve import server as server_module
from yolor_mtl.serve.limits import Budget, Limits
from yolor_mtl.serve.pictures import jpeg_scans


def said(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of what comes until the server hangs up or the body is whole."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
        head, gap, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        if gap and len(body) == int(headers["content-length"]):
            return int(lines[0].split()[1]), headers, json.loads(body)
    raise AssertionError(f"cut off: {data!r}")


def head(length: int | None, more: str = "") -> bytes:
    how = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return f"POST /predict HTTP/1.1\r\nhost: x\r\n{how}\r\n{more}\r\n".encode()


@pytest.mark.parametrize("kind", servers.HOSTILE)
@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
def test_hostile_files(running: servers.Running, kind: str, form: bool) -> None:
    file = servers.HOSTILE[kind]
    if form:
        response = running.client.post("/predict", files={"file": ("x.jpg", file, "image/jpeg")})
    else:
        response = running.predict(file)
    assert response.status_code == 422
    body = response.json()
    assert body.keys() == {"error", "message"}
    assert body["error"] == ("too_many_pixels" if kind == "bomb" else "unreadable")
    assert "BytesIO" not in body["message"]
    assert "/" not in body["message"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"no boundary in it"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n\r\n--b--\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
        ),
        ("multipart/form-data; boundary=b", b'--b\r\ncontent-disposition: form-data; name="a"; filename="f"\r\n\r\n'),
        ("multipart/form-data; boundary=\xff; charset=nonsense".encode("latin-1"), b"\xff" * 99),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"a: b\r\n" * 500 + b"\r\n--b--"),
    ],
)
def test_forms_that_are_none(running: servers.Running, kind: Any, body: bytes) -> None:
    response = running.client.post("/predict", content=body, headers={"content-type": kind})
    assert (response.status_code, response.json()["error"]) == (422, "form")


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ({"conf": 1.5}, "conf: "),
        ({"conf": "nan"}, "conf: "),
        ({"iou": "x"}, "iou: "),
        ({"max_det": 0}, "max_det: "),
        ({"max_det": 10**9}, "max_det: "),
        ({"beam": 11}, "beam: "),
        ({"beem": 3}, "did you mean 'beam'"),
    ],
)
def test_wrong_parameters(running: servers.Running, query: Any, part: str) -> None:
    response = running.predict(servers.encoded(servers.picture()), **query)
    assert (response.status_code, response.json()["error"]) == (422, "query")
    assert part in response.json()["message"]


def test_too_many_bytes_said_at_once(running: servers.Running) -> None:
    """By its Content-Length: no byte of the body is needed, and none is asked for."""
    with running.connection() as connection:
        connection.sendall(head(10**12, "expect: 100-continue\r\n"))
        status, headers, body = said(connection)
    assert (status, body["error"], headers["connection"]) == (413, "too_large", "close")
    assert "2000000" in body["message"]


def test_too_many_bytes_without_content_length(running: servers.Running) -> None:
    """The server stops reading a little above the limit; a client that goes on is cut off."""
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    sent = 0
    with running.connection() as connection:
        connection.sendall(head(None))
        try:
            while sent < 300_000_000:
                connection.sendall(chunk)
                sent += 65536
        except OSError:
            pass
    assert 2_000_000 < sent < 150_000_000
    response = running.client.post("/predict", content=iter([bytes(1_000_000)] * 3))
    assert (response.status_code, response.json()["error"]) == (413, "too_large")


def test_a_file_in_a_form_at_the_limit(running: servers.Running) -> None:
    for size, status in ((2_000_000, 422), (2_000_001, 413), (2_100_000, 413)):
        assert running.client.post("/predict", files={"file": bytes(size)}).status_code == status


def test_too_many_pixels(running: servers.Running) -> None:
    response = running.predict(servers.huge(2001, 2000))
    assert (response.status_code, response.json()["error"]) == (422, "too_many_pixels")
    assert "2001 x 2000" in response.json()["message"]
    assert running.predict(servers.huge(2000, 2000)).json()["error"] == "unreadable"


def test_slow_to_send(predictor: Any) -> None:
    with servers.serving(predictor, upload_timeout=0.3) as running:
        with running.connection() as connection:
            connection.sendall(head(1000) + b"abc")
            status, headers, body = said(connection)
        assert (status, body["error"], headers["connection"]) == (408, "slow", "close")
        assert running.number('yolor_mtl_requests_total{route="/predict",status="408"}') == 1


def test_slow_to_send_a_head(running: servers.Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_PATIENCE", 0.3)
    with running.connection() as silent, running.connection() as slow:
        slow.sendall(b"POST /predict HTTP/1.1\r\nhost:")
        assert silent.recv(1) == b""
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            trickle(slow)


def trickle(connection: socket.socket) -> None:
    """A blank now and then."""
    for _ in range(100):
        connection.sendall(b" ")
        time.sleep(0.05)


def test_gone_before_the_end(running: servers.Running) -> None:
    with running.connection() as connection:
        connection.sendall(head(1000) + b"abc")
    wait_for(lambda: running.number('yolor_mtl_requests_total{route="/predict",status="gone"}') >= 1)
    wait_for(lambda: running.number("yolor_mtl_uploads") == 0)


def wait_for(true: Any) -> None:
    """Until it is so."""
    for _ in range(400):
        try:
            if true():
                return
        except KeyError:
            pass
        time.sleep(0.05)
    raise AssertionError("it never came true")


class Held:
    """A model that answers when it is told to."""

    def __init__(self, predictor: Any, patch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        real = predictor.predict

        def predict(*given: Any) -> Any:
            assert self.go.wait(60)
            return real(*given)

        self._patch, self._predictor, self._predict = patch, predictor, predict

    def hold(self) -> None:
        """From now on."""
        self._patch.setattr(self._predictor, "predict", self._predict)


@pytest.fixture
def held(predictor: Any, monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(predictor, monkeypatch)


def test_more_than_the_queue_holds(predictor: Any, held: Held) -> None:
    file = servers.encoded(servers.picture())
    with servers.serving(predictor, queue=3, batch=1) as running, ThreadPoolExecutor(3) as clients:
        held.hold()
        waiting = [clients.submit(running.predict, file) for _ in range(3)]
        wait_for(lambda: running.number("yolor_mtl_queue_depth") == 3)
        late = running.predict(file)
        held.go.set()
        assert [entry.result().status_code for entry in waiting] == [200] * 3
        assert running.predict(file).status_code == 200
    assert (late.status_code, late.json()["error"]) == (429, "busy")
    assert int(late.headers["retry-after"]) >= 1


def test_more_than_may_send_at_once(predictor: Any) -> None:
    file = servers.encoded(servers.picture())
    with servers.serving(predictor, uploads=2) as running, running.connection() as one, running.connection() as two:
        for connection in (one, two):
            connection.sendall(head(len(file)) + file[:10])
        wait_for(lambda: running.number("yolor_mtl_uploads") == 2)
        late = running.predict(file)
        assert (late.status_code, late.headers["retry-after"]) == (429, "1")
        for connection in (one, two):
            connection.sendall(file[10:])
            assert said(connection)[0] == 200


def test_more_bytes_than_may_be_held(predictor: Any) -> None:
    """Sixteen times the greatest file, over all that are being sent."""
    with servers.serving(predictor, max_bytes=1000, uploads=64) as running:
        connections = [running.connection() for _ in range(20)]
        for connection in connections:
            connection.sendall(head(1000) + bytes(900))
        time.sleep(0.5)
        refused = [said(connection) for connection in select.select(connections, [], [], 30)[0]]
        wait_for(lambda: running.number("yolor_mtl_held_bytes") <= 16_000)
        assert {status for status, _, _ in refused} <= {429}
        assert 1 <= len(refused) <= 4
        for connection in connections:
            connection.close()
        wait_for(lambda: running.number("yolor_mtl_held_bytes") == 0)


def test_no_answer_in_time(predictor: Any, held: Held) -> None:
    file = servers.encoded(servers.picture())
    with servers.serving(predictor, timeout=0.5, batch=1) as running:
        held.hold()
        with ThreadPoolExecutor(3) as clients:
            responses = list(clients.map(running.predict, [file] * 3))
        assert [(entry.status_code, entry.json()["error"]) for entry in responses] == [(503, "timeout")] * 3
        assert all(int(entry.headers["retry-after"]) >= 1 for entry in responses)
        # What nobody waits for is held until its thread lets go of it, and then not answered.
        assert running.number("yolor_mtl_queue_depth") >= 1
        batches = running.number("yolor_mtl_batch_size_count")
        held.go.set()
        wait_for(lambda: running.number("yolor_mtl_queue_depth") == 0)
        assert running.number("yolor_mtl_batch_size_count") == batches + 1


def test_nobody_waits_any_more(predictor: Any, held: Held) -> None:
    """A client that hangs up while its picture waits costs no forward pass."""
    file = servers.encoded(servers.picture())
    with servers.serving(predictor, batch=1) as running:
        held.hold()
        first, second = running.connection(), running.connection()
        for number, connection in enumerate((first, second), start=1):
            connection.sendall(head(len(file)) + file)
            wait_for(lambda number=number: running.number("yolor_mtl_queue_depth") == number)
        time.sleep(0.2)
        second.close()
        wait_for(lambda: running.number('yolor_mtl_requests_total{route="/predict",status="gone"}') == 1)
        before = running.number("yolor_mtl_batch_size_count")
        held.go.set()
        assert said(first)[0] == 200
        wait_for(lambda: running.number("yolor_mtl_queue_depth") == 0)
        assert running.number("yolor_mtl_batch_size_count") == before + 1
        first.close()


def test_scans_are_those_of_the_first_picture() -> None:
    plain = servers.encoded(servers.picture(), "JPEG")
    assert jpeg_scans(plain, 99) == 1
    # A phone's moving picture: a film behind the photograph, with bytes that look like scans.
    assert jpeg_scans(plain + b"\xff\xda" * 500, 99) == 1
    assert jpeg_scans(servers.many_scans(30), 99) in range(31, 50)
    assert jpeg_scans(servers.many_scans(300), 65) == 65
    comment = b"\xff\xfe" + (402).to_bytes(2, "big") + b"\xff\xda" * 200
    assert jpeg_scans(plain[:2] + comment + plain[2:], 99) == 1
    assert jpeg_scans(b"\xff\xd8" + b"\xff\xda\x00\x00" * 9, 99) == 9


def test_a_budget_is_fair_and_survives_those_who_leave() -> None:
    async def story() -> list[str]:
        budget, order = Budget(10), []

        async def taker(name: str, amount: int) -> None:
            await budget.take(amount)
            order.append(name)

        await budget.take(8)
        tasks = [asyncio.create_task(taker(name, amount)) for name, amount in (("large", 9), ("gone", 9), ("small", 1))]
        await asyncio.sleep(0)
        assert order == []
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["small"]
        budget.give(8)
        budget.give(1)
        assert budget.taken == 0
        await asyncio.wait_for(budget.take(10), 1)
        return order

    assert asyncio.run(story()) == ["small"]


@pytest.mark.parametrize(
    ("key", "value"), [("batch", 0), ("max_bytes", 0), ("timeout", 0), ("wait_ms", -1), ("queue", -5)]
)
def test_limits_that_mean_nothing(key: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{key}="):
        Limits(**{key: value})
