"""A tiny model behind a server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import servers

from yolor_mtl import YOLORMTL
from yolor_mtl.build import load_model
from yolor_mtl.inference.predictor import Predictor


@pytest.fixture(scope="session")
def predictor(trained: Path) -> Predictor:
    return Predictor(load_model(trained / "best.safetensors"), "cpu", "false")


@pytest.fixture(scope="session")
def model(trained: Path) -> YOLORMTL:
    """The same weights, without a server."""
    return YOLORMTL(trained, device="cpu", half=False)


@pytest.fixture(scope="session")
def running(predictor: Predictor) -> Iterator[servers.Running]:
    with servers.serving(predictor, upload_timeout=5, max_bytes=2_000_000, max_pixels=4_000_000) as found:
        yield found
