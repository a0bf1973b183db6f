"""Parsers of what comes from outside, each as a function of bytes: they may refuse with a message of ours, and nothing
else may happen."""

from __future__ import annotations

import asyncio
import contextlib
import io
import struct
import tempfile
import zipfile
from collections.abc import AsyncGenerator, Callable, Mapping, MutableMapping
from contextlib import aclosing
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from fastapi import FastAPI
from pycocotools import mask as coco_mask
from starlette.datastructures import Headers
from starlette.requests import Request

from yolor_mtl.config import fill, parse_assignments, read_yaml
from yolor_mtl.data.coco_index import build_arrays
from yolor_mtl.data.image import UnreadableImageError, read_image
from yolor_mtl.data.locate import find_layout
from yolor_mtl.data.semantic_maps import read_map
from yolor_mtl.data.yolo_txt import _object, _parse
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.models.weights import FORMAT, WITHOUT_DIGEST, read_weights
from yolor_mtl.ops.masks import segmentation_to_rle
from yolor_mtl.records import Annotations, LabelSpace, UserError
from yolor_mtl.serve.app import create_app
from yolor_mtl.serve.limits import RefusedError
from yolor_mtl.serve.upload import _form_file
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.captioning.tokenizer import CaptionTokenizer
from yolor_mtl.training.checkpoint import flaw
from yolor_mtl.training.config import TrainConfig
from yolor_mtl.upstream.pickled import read_pickle
from yolor_mtl.upstream.reader import read_checkpoint

Target = Callable[[bytes], object]


def _file(data: bytes, suffix: str, read: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"a{suffix}"
        path.write_bytes(data)
        with contextlib.suppress(UserError):
            read(path)


def instances(data: bytes) -> None:
    """An instances file; every segmentation that is let through is one that pycocotools can decode."""
    _file(data, ".json", lambda path: build_arrays({"instances": path}))


def captions(data: bytes) -> None:
    """A captions file."""
    _file(data, ".json", lambda path: build_arrays({"captions": path}))


def panoptic(data: bytes) -> None:
    """A panoptic file."""
    _file(data, ".json", lambda path: build_arrays({"panoptic": path}))


def rle(data: bytes) -> None:
    """A compressed RLE of some size: refused, or every pixel is set or clear."""
    if len(data) < 2:
        return
    height, width = data[0] + 1, data[1] + 1
    try:
        encoded = segmentation_to_rle({"size": [height, width], "counts": data[2:]}, height, width)
    except ValueError:
        return
    mask = np.asarray(coco_mask.decode(encoded))
    assert mask.shape == (height, width)
    assert mask.max(initial=0) <= 1


def polygons(data: bytes) -> None:
    """A polygon of any numbers."""
    values = list(struct.unpack(f"<{len(data) // 4}f", data[: len(data) // 4 * 4]))
    half = len(values) // 4 * 2
    parts = [[value if np.isfinite(value) else 0.0 for value in part] for part in (values[:half], values[half:])]
    try:
        segmentation_to_rle(parts, 30, 40)
    except ValueError:
        return


def text_labels(data: bytes) -> None:
    """Lines of YOLO's text layout."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        return
    for line in lines:
        if not line.split():
            continue
        try:
            category, values = _parse(line.split(), {0: "cat", 1: "dog"})
        except ValueError:
            continue
        made = _object(1, 1, category, values, 30, 40)
        assert np.isfinite(made.bbox).all()


def pickles(data: bytes) -> None:
    """A pickle inside a checkpoint."""
    with contextlib.suppress(UserError):
        read_pickle(data, Path("a.pt"))


def checkpoints(data: bytes) -> None:
    """A whole ``.pt``."""

    def read(path: Path) -> None:
        read_checkpoint(path)

    _file(data, ".pt", read)


def weights(data: bytes) -> None:
    """A safetensors file: what the metadata says is read, too."""

    def read(path: Path) -> None:
        _, metadata = read_weights(path)
        assert metadata["format"] in (FORMAT, WITHOUT_DIGEST)
        LabelSpace.from_json(metadata.get("label_space", ""))

    _file(data, ".safetensors", read)


def vocabularies(data: bytes) -> None:
    """A vocabulary, and what it makes of a text."""
    try:
        tokenizer = CaptionTokenizer.from_json(data.decode())
        tokenizer.decode(tokenizer.encode("a dog on the grass", 12))
    except (UserError, UnicodeDecodeError):
        pass


def words(data: bytes) -> None:
    """Words of a command line."""
    with contextlib.suppress(UserError, UnicodeDecodeError):
        fill(TrainConfig, parse_assignments(data.decode().split("\n")))


def configs(data: bytes) -> None:
    """A training's YAML file."""
    _file(data, ".yaml", lambda path: fill(TrainConfig, read_yaml(path)))


def data_files(data: bytes) -> None:
    """A data set's YAML file, beside a folder of pictures with text labels."""
    if set(data) & set(b"/~\\") or b".." in data:
        return  # names of other places on this machine

    def read(path: Path) -> None:
        for kind in ("images", "labels"):
            (path.parent / kind).mkdir()
        (path.parent / "images" / "a.jpg").touch()
        layout = find_layout(path)
        assert layout.splits

    _file(data, ".yaml", read)


def label_maps(data: bytes) -> None:
    """A PNG of labels, of 12 x 9 pixels if it is let through."""
    image = Annotations(1, Path("a.jpg"), 9, 12)

    def read(path: Path) -> None:
        assert read_map(path, image, ("RGB", "RGBA", "L", "P")).shape[:2] == (9, 12)

    _file(data, ".png", read)


def states(data: bytes) -> None:
    """A training's state: whole or not, and why. What is no archive is taken for what one holds, checksums and all."""

    def read(path: Path) -> None:
        assert flaw(path) != ""

    _file(data if data.startswith(b"PK") else _archive(data), ".ckpt", read)


def _archive(pickled: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (("data.pkl", pickled), ("byteorder", b"little"), ("version", b"3\n")):
            archive.writestr(f"a/{name}", content)
        archive.writestr("a/data/0", bytes(8))
    return buffer.getvalue()


class _Answering:
    """In the place of the server's service: what it would be asked for."""

    asked: DecodeOptions | None = None

    async def answer(self, request: Request, options: DecodeOptions) -> bytes:
        self.asked = options
        return b"{}"


@cache
def _app() -> tuple[FastAPI, _Answering]:
    app, service = create_app(cast("Predictor", None)), _Answering()
    app.state.service = service
    return app, service


def queries(data: bytes) -> None:
    """The query of a request: refused with 422, or in range."""
    app, service = _app()
    told: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        told.append(message.get("status", 0))

    path: dict[str, Any] = {"method": "POST", "path": "/predict", "raw_path": b"/predict", "root_path": ""}
    told_by = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "headers": []}
    asyncio.run(app({**path, **told_by, "query_string": data}, receive, send))
    assert told[0] in (200, 422)
    if told[0] == 200:
        assert service.asked is not None
        assert 0 <= service.asked.conf <= 1
        assert 1 <= service.asked.beam <= 10


def pictures(data: bytes) -> None:
    """A picture's bytes."""
    try:
        image = read_image(io.BytesIO(data))
    except UnreadableImageError:
        return
    assert image.ndim == 3
    assert image.shape[0] == 3


def forms(data: bytes) -> None:
    """A request's form, the content type on its first line, as it comes from the network in pieces."""
    told, _, body = data.partition(b"\n")
    size = max(1, len(body) // 3)

    async def chunks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    async def read() -> tuple[bytes, str]:
        async with aclosing(chunks()) as stream:
            return await _form_file(Headers({"content-type": told.decode("latin-1")}), stream)

    with contextlib.suppress(RefusedError):
        file, name = asyncio.run(read())
        assert len(file) <= len(body)
        assert isinstance(name, str)


TARGETS: Mapping[str, Target] = {
    target.__name__: target
    for target in (
        instances,
        captions,
        panoptic,
        rle,
        polygons,
        text_labels,
        pickles,
        checkpoints,
        weights,
        vocabularies,
        words,
        configs,
        data_files,
        label_maps,
        states,
        queries,
        pictures,
        forms,
    )
}
"""By name."""
