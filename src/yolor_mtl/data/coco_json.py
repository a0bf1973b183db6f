"""COCO's JSON files as typed records; what is wrong with a file is said with its path, its place and a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, TypeVar

import msgspec

from yolor_mtl.records import UserError

Id = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
T = TypeVar("T")

_PLAIN_NAME = re.compile(r"\w[\w. -]*(?:/\w[\w. -]*)*")


class JsonImage(msgspec.Struct, gc=False):
    """An entry of ``images``."""

    id: Id
    file_name: str
    width: Pixels
    height: Pixels


class JsonCategory(msgspec.Struct, gc=False):
    """An entry of ``categories`` of an instances or stuff file."""

    id: Id
    name: str
    supercategory: str | None = None


class JsonPanopticCategory(msgspec.Struct, gc=False):
    """An entry of ``categories`` of a panoptic file."""

    id: Id
    name: str
    isthing: int | bool
    supercategory: str | None = None


class JsonObject(msgspec.Struct, gc=False):
    """An entry of ``annotations`` of an instances file; ``segmentation`` stays JSON text."""

    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int | bool = 0
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class JsonCaption(msgspec.Struct, gc=False):
    """An entry of ``annotations`` of a captions file."""

    image_id: Id
    caption: str


class JsonSegment(msgspec.Struct, gc=False):
    """An entry of ``segments_info``."""

    id: Annotated[int, msgspec.Meta(ge=1, lt=2**24)]
    category_id: Id
    iscrowd: int | bool = 0
    area: int = 0


class JsonPanoptic(msgspec.Struct):
    """An entry of ``annotations`` of a panoptic file."""

    image_id: Id
    file_name: str
    segments_info: list[JsonSegment]


class JsonRle(msgspec.Struct, gc=False):
    """A run-length coded mask, compressed (text) or not (numbers)."""

    size: tuple[int, int]
    counts: str | list[Annotated[int, msgspec.Meta(ge=0)]]


JsonSegmentation = list[list[float]] | JsonRle | None


class InstancesFile(msgspec.Struct):
    """An instances file; entries stay JSON text until their turn, which keeps memory low and errors precise."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[JsonCategory]


class CaptionsFile(msgspec.Struct):
    """A captions file."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]


class PanopticFile(msgspec.Struct):
    """A panoptic file."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[JsonPanopticCategory]


class StuffFile(msgspec.Struct):
    """A stuff file, without its annotations: the pixel maps hold the labels."""

    images: list[msgspec.Raw]
    categories: list[JsonCategory]


class CategoryUse(msgspec.Struct, gc=False):
    """The category of an annotation, and nothing else of it."""

    category_id: Id


class ClassesFile(msgspec.Struct):
    """Only the class list of an instances or stuff file."""

    categories: list[JsonCategory]


class UsedClassesFile(msgspec.Struct):
    """The class list of an instances file, and which of its classes occur."""

    categories: list[JsonCategory]
    annotations: list[CategoryUse]


class PanopticClassesFile(msgspec.Struct):
    """Only the class list of a panoptic file."""

    categories: list[JsonPanopticCategory]


def read_json(path: Path, kind: type[T]) -> T:
    """Reads a whole file.

    Raises:
        UserError: the file cannot be read, is no JSON, or lacks what ``kind`` asks for.
    """
    return decode_json(path, read_bytes(path), kind)


def read_bytes(path: Path) -> bytes:
    """What an annotation file holds, without a byte order mark.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def decode_json(path: Path, raw: bytes, kind: type[T]) -> T:
    """What the bytes of a file say.

    Raises:
        UserError: they are no JSON, or lack what ``kind`` asks for.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {error}; is this a COCO annotation file?") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: {_where_broken(raw, str(error))}") from error


def entries(path: Path, key: str, raw: list[msgspec.Raw], kind: type[T]) -> Iterator[T]:
    """The entries of a list, decoded one by one.

    Raises:
        UserError: an entry is not of that kind; it is named by position and, where it has one, by id.
    """
    decode = msgspec.json.Decoder(kind).decode
    for position, text in enumerate(raw):
        try:
            yield decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: {key}[{position}]{ids_in(text)}: {error}; correct or remove it") from error


def ids_in(text: msgspec.Raw) -> str:
    """The ids in a broken entry, as far as they can be read: `` (id 3, image_id 5)``."""
    try:
        entry = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    named = [f"{key} {bytes(entry[key])[:40].decode('utf-8', 'replace')}" for key in ("id", "image_id") if key in entry]
    return f" ({', '.join(named)})" if named else ""


def safe_name(path: Path, image_id: int, name: str) -> str:
    """``name`` as it stands, once it is known to stay inside its folder.

    Raises:
        UserError: an absolute path, or one that climbs out.
    """
    if _PLAIN_NAME.fullmatch(name):  # Nearly all of them, at a tenth of the time.
        return name
    depth = 0
    for part in re.split(r"[/\\]", name):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            break
    absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or PureWindowsPath(name).drive
    if absolute or depth < 1 or "\0" in name:
        raise UserError(
            f"{path}: image {image_id}: file_name {name!r} leaves the folder of the images; "
            "write it relative to that folder"
        )
    return name


def _where_broken(raw: bytes, message: str) -> str:
    remedy = "get or export the file again"
    if found := re.search(r"\(byte (\d+)\)", message):
        place = int(found.group(1))
        line = raw.count(b"\n", 0, place) + 1
        excerpt = raw[max(place - 20, 0) : place + 20].decode("utf-8", "replace")
        return f"not valid JSON at byte {place} (line {line}), near {excerpt!r}; {remedy}"
    if "truncated" in message:
        return f"JSON ends in the middle, at byte {len(raw)}; {remedy}"
    return f"not valid JSON: {message}; {remedy}"
