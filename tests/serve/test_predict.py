"""``POST /predict``: the same answers as ``predict``'s, whatever way a picture comes in and whoever else asks."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import servers
from PIL import Image

from yolor_mtl import YOLORMTL, Result
from yolor_mtl.tasks.base import DecodeOptions

ALL: dict[str, Any] = {"conf": 0.0, "max_det": 5}


def unpacked(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def check_equal(answer: dict[str, Any], result: Result, close: float = 0.0) -> None:
    """An answer over HTTP says what a result says; numbers may differ by ``close``."""
    record = result.to_json()
    assert answer.keys() == record.keys()
    for key in ("schema", "height", "width"):
        assert answer[key] == record[key]
    assert answer["caption"]["text"] == record["caption"]["text"]
    assert answer["caption"]["score"] == pytest.approx(record["caption"]["score"], abs=close)
    assert len(answer["detections"]) == len(record["detections"])
    for said, expected in zip(answer["detections"], record["detections"], strict=True):
        assert said["class"] == expected["class"]
        assert said["score"] == pytest.approx(expected["score"], abs=close)
        assert said["xyxy"] == pytest.approx(expected["xyxy"], abs=100 * close)
    semantic = unpacked(answer["semantic"]["png"])
    assert (semantic != np.asarray(result.semantic)).mean() <= close
    red, green, blue = unpacked(answer["panoptic"]["png"]).astype(int).transpose(2, 0, 1)
    assert (red + 256 * green + 65536 * blue != np.asarray(result.panoptic["map"])).mean() <= close
    if not close:
        assert answer["detections"] == record["detections"]
        assert answer["panoptic"]["segments"] == record["panoptic"]["segments"]
        assert answer["semantic"]["classes"] == record["semantic"]["classes"]


def sent_raw(running: servers.Running, file: bytes) -> httpx2.Response:
    return running.predict(file, **ALL)


def sent_as_form(running: servers.Running, file: bytes) -> httpx2.Response:
    return running.client.post("/predict", files={"file": ("../photos/a b.png", file, "text/plain")}, params=ALL)


def sent_in_pieces(running: servers.Running, file: bytes) -> httpx2.Response:
    pieces = (file[start : start + 100] for start in range(0, len(file), 100))
    return running.client.post("/predict", content=pieces, params=ALL)


def sent_as_curl_does(running: servers.Running, file: bytes) -> httpx2.Response:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    return running.client.post("/predict", content=file, params=ALL, headers=kind)


@pytest.mark.parametrize("send", [sent_raw, sent_as_form, sent_in_pieces, sent_as_curl_does])
def test_the_same_as_predict(running: servers.Running, model: YOLORMTL, send: Any) -> None:
    file = servers.encoded(servers.picture(1))
    response = send(running, file)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert answer["path"] == ("a b.png" if send is sent_as_form else "")
    check_equal(answer | {"path": ""}, model.predict(file, **ALL)[0])


def test_a_photograph_on_its_side(running: servers.Running, model: YOLORMTL) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = servers.encoded(servers.picture(2, 40, 64), "JPEG", exif=exif, quality=95)
    answer = running.predict(file, **ALL).json()
    assert (answer["height"], answer["width"]) == (64, 40)
    check_equal(answer, model.predict(file, **ALL)[0])


def test_thresholds_reach_the_model(running: servers.Running, model: YOLORMTL) -> None:
    file = servers.encoded(servers.picture(3))
    for query in ({"conf": 0.0, "max_det": 3}, {"conf": 0.0, "max_det": 40, "iou": 0.1}, {"beam": 3}, {"conf": 1.0}):
        check_equal(running.predict(file, **query).json(), model.predict(file, **query)[0])


def test_batches_give_everyone_their_own(predictor: Any, model: YOLORMTL) -> None:
    """Pictures of several sizes and thresholds at once; each client gets the answer to its picture."""
    cases = []
    for number in range(24):
        file = servers.encoded(servers.picture(number, 30 + number, 80 - number))
        cases.append((file, {"conf": 0.0, "max_det": 2 + number % 2}))
    with servers.serving(predictor, wait_ms=200, batch=6) as running, ThreadPoolExecutor(len(cases)) as clients:
        answers = list(clients.map(lambda case: running.predict(case[0], **case[1]).json(), cases))
        sizes = running.number("yolor_mtl_batch_size_sum") / running.number("yolor_mtl_batch_size_count")
    assert sizes > 1.5
    for (file, query), answer in zip(cases, answers, strict=True):
        assert len(answer["detections"]) == query["max_det"]
        # A convolution of six pictures at once rounds otherwise than of one.
        check_equal(answer, model.predict(file, **query)[0], close=1e-3)


def test_one_that_breaks_the_model_harms_no_other(
    predictor: Any, running: servers.Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = running.service.predictor.predict

    def fragile(pictures: list[Any], options: DecodeOptions, batch: int) -> Any:
        if any(picture.shape[1] == 13 for picture in pictures):
            raise RuntimeError("secret/path/of/weights")
        return real(pictures, options, batch)

    monkeypatch.setattr(predictor, "predict", fragile)
    files = [servers.encoded(servers.picture(0, height, 20)) for height in (12, 13, 14, 15)]
    with servers.serving(predictor, wait_ms=300) as server, ThreadPoolExecutor(4) as clients:
        responses = list(clients.map(server.predict, files))
    assert [response.status_code for response in responses] == [200, 500, 200, 200]
    assert responses[1].json() == {"error": "fault", "message": "the server failed"}


def test_a_model_of_fewer_tasks(trained: Path) -> None:
    from yolor_mtl.build import load_model
    from yolor_mtl.inference.predictor import Predictor

    few = Predictor(load_model(trained / "best.safetensors", ["semantic"]), "cpu", "false")
    with servers.serving(few) as running:
        assert running.client.get("/info").json()["tasks"] == ["semantic"]
        answer = running.predict(servers.encoded(servers.picture())).json()
    assert answer.keys() == {"schema", "path", "height", "width", "semantic"}
