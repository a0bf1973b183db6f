"""Parsers of what comes from outside, each as a function of bytes: they may refuse with a message of ours, and nothing
else may happen."""

from __future__ import annotations

import asyncio
import contextlib
import io
import struct
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from starlette.datastructures import Headers

from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.data.coco_index import build_arrays
from yolor_mtl.data.image import UnreadableImageError, read_image
from yolor_mtl.data.yolo_txt import _object, _parse
from yolor_mtl.models.weights import FORMAT, WITHOUT_DIGEST, read_weights
from yolor_mtl.ops.masks import segmentation_to_rle
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.serve.limits import RefusedError
from yolor_mtl.serve.upload import _form_file
from yolor_mtl.tasks.captioning.tokenizer import CaptionTokenizer
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
        pictures,
        forms,
    )
}
"""By name."""
