"""What is around ``/predict``: health, metrics, headers, the description of it all."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
import servers
from hypothesis import HealthCheck, settings


def test_health_and_what_runs_here(running: servers.Running, trained: Any) -> None:
    assert running.client.get("/healthz").json() == {"status": "ok"}
    about = running.client.get("/info").json()
    assert about["tasks"] == [task.name for task in running.service.predictor.model.tasks]
    assert about["max_bytes"] == 2_000_000
    assert "person" in about["classes"]
    assert str(trained) not in running.client.get("/info").text


def test_metrics(predictor: Any) -> None:
    file = servers.encoded(servers.picture())
    with servers.serving(predictor) as running:
        for body in (file, file, b"no picture"):
            running.predict(body)
        running.client.get("/nowhere")
        assert running.number('yolor_mtl_requests_total{route="/predict",status="200"}') == 2
        assert running.number('yolor_mtl_requests_total{route="/predict",status="422"}') == 1
        assert running.number('yolor_mtl_requests_total{route="other",status="404"}') == 1
        assert running.number("yolor_mtl_predict_seconds_count") == 2
        assert running.number('yolor_mtl_predict_seconds_bucket{le="+Inf"}') == 2
        assert running.number("yolor_mtl_predict_seconds_sum") > 0
        assert running.number("yolor_mtl_batch_size_count") == 2
        assert running.number("yolor_mtl_queue_depth") == 0
        assert running.number("yolor_mtl_decoded_pixels") == 0
        assert running.number("process_resident_memory_bytes") > 1e6
        assert running.client.get("/metrics").headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/healthz", "/nowhere", "/openapi.json"])
def test_headers(running: servers.Running, path: str) -> None:
    headers = running.client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_other_errors_have_the_same_form(running: servers.Running) -> None:
    for response, status in (
        (running.client.get("/nowhere"), 404),
        (running.client.get("/predict"), 405),
        (running.client.get("/static/../app.py"), 404),
        (running.client.get("/static/%2e%2e/app.py"), 404),
        (running.client.get("/examples/7.jpg"), 404),
        (running.client.get("/examples/x.jpg"), 422),
        (running.client.post("/nowhere", content=b"x" * 100_000), 404),
    ):
        assert response.status_code == status
        assert response.json().keys() == {"error", "message"}
    assert running.client.get("/predict").headers["allow"] == "POST"


def test_the_description_says_what_there_is(running: servers.Running) -> None:
    described = running.client.get("/openapi.json").json()
    predict = described["paths"]["/predict"]["post"]
    assert predict["responses"].keys() == {"200", "408", "413", "422", "429", "500", "503"}
    assert predict["requestBody"]["content"].keys() == {
        "multipart/form-data",
        "image/jpeg",
        "image/png",
        "application/octet-stream",
    }
    assert {parameter["name"] for parameter in predict["parameters"]} == {"conf", "iou", "max_det", "beam"}
    assert described["paths"].keys() == {"/predict", "/healthz", "/metrics", "/info"}


@pytest.fixture(scope="session")
def description(running: servers.Running) -> Any:
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{running.port}/openapi.json")


described = schemathesis.pytest.from_fixture("description")


@described.parametrize()
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
def test_schemathesis(case: Any) -> None:
    """Whatever is sent along the description or against it, what comes back is as described, and never a 500."""
    case.call_and_validate()
