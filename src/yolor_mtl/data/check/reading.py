"""Reading an annotation file to its end, whatever is wrong in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec

from yolor_mtl.data.check.findings import Finding, Findings, Shape
from yolor_mtl.data.coco_json import decode_json, ids_in, read_bytes
from yolor_mtl.records import UserError

T = TypeVar("T")

_CONSTANTS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b')
_NUMBERS = re.compile(rb'"-?(?:NaN|Infinity)"')


class LooseFile(msgspec.Struct):
    """An annotation file, all of whose entries are still JSON text."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw] = []


class LooseStuffFile(msgspec.Struct):
    """A stuff file: the pixel maps hold the labels."""

    images: list[msgspec.Raw]
    categories: list[msgspec.Raw]


class LooseClassedFile(msgspec.Struct):
    """An instances or panoptic file."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]


LOOSE: dict[str, type[Any]] = {
    "instances": LooseClassedFile,
    "panoptic": LooseClassedFile,
    "captions": LooseFile,
    "stuff": LooseStuffFile,
}
"""Kind of file -> what it must have."""


class ListedImage(msgspec.Struct, frozen=True, gc=False):
    """An image as a file lists it.

    Attributes:
        name: its file, relative to the folder of pictures.
        height: pixels as annotated; 0 where the file does not say.
        width: the same.
        position: in the file's list.
        safe: whether the name stays inside the folder.
    """

    name: str
    height: int
    width: int
    position: int
    safe: bool = True


@dataclass
class Source:
    """One annotation file of one split, and where its findings go.

    Attributes:
        path: the file.
        kind: instances, panoptic, captions or stuff.
        split: name of the split.
        pictures: folder of the split's pictures.
        findings: where findings go.
        images: image id -> what this file says of it.
        categories: category id -> name.
    """

    has_ids: ClassVar[bool] = True
    """Whether its objects have ids of their own."""

    path: Path
    kind: str
    split: str
    pictures: Path
    findings: Findings
    images: dict[int, ListedImage] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)

    def found(
        self,
        check: str,
        message: str,
        key: str = "",
        position: int = -1,
        *,
        image_id: int | None = None,
        annotation_id: int | None = None,
        file: str = "",
        shape: Shape | None = None,
    ) -> None:
        """Notes a finding about an entry of this file, or about ``file`` that belongs to the entry."""
        listed = self.images.get(image_id) if image_id is not None else None
        where, place, parent = self.place_of(key, position, image_id, file)
        finding = Finding(
            check,
            message,
            where,
            self.split,
            image_id,
            annotation_id if self.has_ids else None,
            place,
            listed.name if listed else "",
            parent,
            position,
        )
        self.findings.add(finding, shape)

    def place_of(self, key: str, position: int, image_id: int | None, file: str) -> tuple[str, str, str]:
        """The file that a finding is in, where in it, and the file of labels that leads there if it is another one."""
        place = f"{key}[{position}]" if position >= 0 and not file else ""
        return file or str(self.path), place, str(self.path) if file else ""

    def shape(self, image_id: int, **drawn: Any) -> Shape | None:
        """What to draw over a picture of this file."""
        listed = self.images.get(image_id)
        if listed is None or not listed.safe:
            return None
        return Shape(self.pictures / listed.name, (listed.height, listed.width), **drawn)

    def read(self) -> Any:
        """The file's lists by the kind's record; ``None`` where it cannot be read, which is noted."""
        try:
            return decode_loose(self.path, LOOSE[self.kind])
        except UserError as error:
            self.found("file-unreadable", str(error).removeprefix(f"{self.path}: "))
            return None

    def entries(self, key: str, raw: list[msgspec.Raw], kind: type[T]) -> Iterator[tuple[int, T]]:
        """Position and entry of those that are of that kind; the others are noted."""
        decode = msgspec.json.Decoder(kind).decode
        for position, text in enumerate(raw):
            try:
                entry = decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._broken(key, position, text, str(error))
            else:
                yield position, entry

    def _broken(self, key: str, position: int, text: msgspec.Raw, message: str) -> None:
        ids = _ids(text)
        check = "entry-broken"
        if "$.bbox" in message and not_finite(bytes(text), message):
            check, message = "box-not-finite", f"{_value(text, 'bbox')} is no box of four finite numbers"
        elif "$.caption" in message:
            check, message = "caption-type", f"{_value(text, 'caption')} is not text"
        else:
            message = f"{message}{ids_in(text)}"
        self.found(check, message, key, position, image_id=ids.get("image_id"), annotation_id=ids.get("id"))


def decode_loose(path: Path, kind: type[T]) -> T:
    """A file, also where it holds NaN or Infinity, which JSON does not have: they become texts of that name.

    Raises:
        UserError: it cannot be read, is no JSON, or lacks what ``kind`` asks for.
    """
    raw = read_bytes(path)
    try:
        return decode_json(path, raw, kind)
    except UserError:
        if b"NaN" not in raw and b"Infinity" not in raw:
            raise
        return decode_json(path, _CONSTANTS.sub(_quoted, raw), kind)


def _quoted(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else b'"' + found[0] + b'"'


def not_finite(text: bytes, message: str) -> bool:
    """Whether an entry was refused for a number that is none or is out of range."""
    return "out of range" in message or ("got `str`" in message and bool(_NUMBERS.search(text)))


def _ids(text: msgspec.Raw) -> dict[str, int]:
    """The ids in a broken entry, as far as they are numbers."""
    try:
        entry = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    ids = {}
    for key in ("id", "image_id"):
        try:
            ids[key] = msgspec.json.decode(entry[key], type=int)
        except (KeyError, msgspec.DecodeError):
            continue
    return ids


def _value(text: msgspec.Raw, key: str) -> str:
    """What an entry says under a key, as far as it is short."""
    value = bytes(msgspec.json.decode(text, type=dict[str, msgspec.Raw])[key]).decode("utf-8", "replace")
    return value if len(value) <= 80 else f"{value[:80]}..."
