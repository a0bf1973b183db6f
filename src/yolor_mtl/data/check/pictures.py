"""Opening the pictures, in several processes, and comparing them with what is annotated."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image

from yolor_mtl.data.check.findings import Finding, Findings, Shape
from yolor_mtl.data.image import UnreadableImageError, open_upright, read_head
from yolor_mtl.ops.processes import in_processes

How = Literal["whole", "head", "none"]
"""How far pictures are opened: decoded whole, their heads only, or not at all."""

HOW: tuple[How, ...] = ("whole", "head", "none")


class Picture(NamedTuple):
    """A picture that a split lists.

    Attributes:
        path: the file.
        split: the split.
        image_id: its id.
        name: as listed.
        height: as annotated; 0 where nothing is said.
        width: the same.
        source: the file that lists it.
        position: where.
    """

    path: Path
    split: str
    image_id: int
    name: str
    height: int
    width: int
    source: str
    position: int

    def finding(self, check: str, message: str) -> Finding:
        """A finding about it."""
        return Finding(
            check,
            message,
            str(self.path),
            self.split,
            self.image_id,
            image=self.name,
            source=self.source,
            position=self.position,
        )


class Facts(NamedTuple):
    """What opening a picture told.

    Attributes:
        check: what is wrong with the file; empty where it could be read.
        message: why.
        height: of the upright picture.
        width: the same.
        orientation: EXIF's, 1 where it has none.
        format: Pillow's name.
        digest: of the file's bytes; empty unless it was read whole.
    """

    check: str = ""
    message: str = ""
    height: int = 0
    width: int = 0
    orientation: int = 1
    format: str = ""
    digest: bytes = b""


def open_all(paths: Sequence[Path], how: How, workers: int, step: Callable[[int], object]) -> dict[Path, Facts]:
    """Facts about files, each opened once.

    Raises:
        Fault: a process was killed.
    """
    found = in_processes(partial(look, how=how), paths, workers)
    facts: dict[Path, Facts] = {}
    for path, fact in zip(paths, found, strict=True):
        facts[path] = fact
        step(1)
    return facts


def look(path: Path, how: How) -> Facts:
    """Opens one picture."""
    try:
        head = read_head(path)
    except UnreadableImageError as error:
        kinds = {"format": "image-unreadable", "broken": "image-unreadable"}
        return Facts(kinds.get(error.kind, f"image-{error.kind}"), str(error))
    size = (head.height, head.width, head.orientation, head.format)
    if how != "whole":
        return Facts("", "", *size)
    try:
        open_upright(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    except UnreadableImageError as error:
        ended = any(word in str(error).lower() for word in ("truncated", "eof", "not enough image data"))
        return Facts("image-truncated" if ended else "image-damaged", str(error), *size)
    except OSError as error:
        return Facts("image-unreadable", error.strerror or str(error), *size)
    return Facts("", "", *size, digest)


def compare(picture: Picture, facts: Facts, findings: Findings) -> None:
    """Notes what is wrong with a picture's file, or with what is annotated of it."""

    def found(check: str, message: str) -> None:
        shape = Shape(picture.path, (picture.height, picture.width))
        findings.add(picture.finding(check, message), None if facts.check else shape)

    if facts.check:
        found(facts.check, facts.message)
        return
    if mismatch := _mistyped(picture.path, facts.format):
        found("image-type", mismatch)
    if not picture.height or (facts.height, facts.width) == (picture.height, picture.width):
        return
    told = f"the upright picture is {facts.width} x {facts.height}, annotated as {picture.width} x {picture.height}"
    swapped = (facts.width, facts.height) == (picture.height, picture.width)
    if swapped and facts.orientation >= 5:
        found("image-rotated", f"{told}; EXIF orientation {facts.orientation}")
    else:
        found("image-size", f"{told}{', the other way round' if swapped else ''}")


def _mistyped(path: Path, kind: str) -> str:
    """What an ending promises, where the content is something else."""
    ending = path.suffix.lower()
    promised = Image.registered_extensions().get(ending)
    real = "JPEG" if kind == "MPO" else kind
    if not ending or promised == real or (promised == "MPO" and real == "JPEG"):
        return ""
    return f"the content is {kind}, the ending {path.suffix}"
