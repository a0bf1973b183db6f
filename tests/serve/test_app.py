"""What is around ``/predict``: health, metrics, headers, the description of it all."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
import servers
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance


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
    assert {parameter["name"] for parameter in predict["parameters"]} == {
        "conf",
        "iou",
        "max_det",
        "beam",
        "attention",
    }
    assert described["paths"].keys() == {"/predict", "/healthz", "/metrics", "/info"}


OPERATIONS = ("GET /healthz", "GET /info", "GET /metrics", "POST /predict")


@pytest.mark.parametrize("label", OPERATIONS)
def test_schemathesis(running: servers.Running, label: str) -> None:
    """Whatever is sent along the description or against it, what comes back is as described, and never a 500."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{running.port}/openapi.json")
    found = {operation.ok().label: operation.ok() for operation in schema.get_all_operations()}
    assert sorted(found) == sorted(OPERATIONS)
    picture = servers.encoded(servers.picture(0, 8, 8))

    @given(found[label].as_strategy())
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    def check(case: Any) -> None:
        # That any bytes would be a picture is not said, only that they are bytes...
        case.call_and_validate(excluded_checks=[positive_data_acceptance])
        if label == "POST /predict" and case.meta.generation.mode.is_positive:
            # ... so what is one is put in their place; the check of wrong data takes it for none of its own.
            case.body = {"file": picture} if case.media_type == "multipart/form-data" else picture
            assert case.call_and_validate(excluded_checks=[negative_data_rejection]).status_code == 200

    check()
