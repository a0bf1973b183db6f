"""Data sets in YOLO's text layout: a YAML file, pictures, and for each picture a text file with a line an object.

A split is read as the instances file in COCO's format that would say the same, so that nothing behind the reader
knows of a second format. The format is the published one: ``class x-center y-center width height`` for a box and
``class x1 y1 x2 y2 x3 y3 ...`` for a polygon, all but the class in shares of the upright picture's width and height.
"""

from __future__ import annotations

import functools
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from yolor_mtl.data.array_cache import digest_of
from yolor_mtl.data.coco_json import InstancesFile, JsonCategory, JsonImage, JsonObject
from yolor_mtl.data.image import UnreadableImageError, read_head
from yolor_mtl.records import Category, UserError

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""Endings of pictures, in small letters."""

KEYS = ("train", "val", "test")
"""Keys of a YAML file that name splits."""

TOLERANCE = 0.01
"""How far, in shares of the picture, a value may lie outside 0..1: such values are clipped, others refused."""

_IDS_A_SPLIT = 10**9
_LINE = "expected class x-center y-center width height, or class and three or more points x y"

Refuse = Callable[[str, str, str], None]
"""Called with a kind of fault, the file and a message; may raise, or note it and let the reader go on."""

_Stats = Mapping[str, tuple[int, int]]


class LabelFault(ValueError):  # noqa: N818 (what is wrong with a line; not every one is refused)
    """A line of a label file that cannot be used.

    Attributes:
        kind: ``line-broken``, ``category-unknown``, ``box-not-finite``, ``box-inverted`` or ``box-outside``.
    """

    def __init__(self, message: str, kind: str = "line-broken") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class YoloSplit:
    """Where a split's pictures are, and what the numbers of classes mean.

    Attributes:
        file: the YAML file.
        key: its key for this split, one of :data:`KEYS`.
        root: the folder that the YAML file's entries are relative to.
        places: folders with pictures, at any depth, and text files that list pictures.
        classes: number of a class -> its name.
    """

    file: Path
    key: str
    root: Path
    places: tuple[Path, ...]
    classes: Mapping[int, str]

    @property
    def images(self) -> Path:
        """The folder that names of pictures are relative to; with a list, which may name any place, the whole disk."""
        if all(place.is_dir() for place in self.places):
            return Path(os.path.commonpath(self.places))
        return Path(self.root.anchor)


@dataclass(frozen=True)
class Listing:
    """The pictures of a split in their order, without having opened one.

    Attributes:
        split: the split.
        images: path of each picture.
        names: the same, relative to the folder of the split's pictures.
        labels: path of its label file, ``None`` where there is none.
        key: digest of names, sizes and times of change of all these files, and of the classes.
        strays: label files without a picture.
    """

    split: YoloSplit
    images: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[str | None, ...]
    key: str
    strays: tuple[str, ...] = ()


def find_places(root: Path, entry: object) -> tuple[Path, ...] | None:
    """The folders and lists that an entry of a YAML file names; ``None`` where one of them is not there.

    An entry that begins with ``../`` and leads nowhere is tried without it: some tools write it so.

    Args:
        root: the folder that entries are relative to.
        entry: a folder, a text file that lists pictures, or a list of both.
    """
    asked = entry if isinstance(entry, list) else [entry]
    texts = [text for text in asked if isinstance(text, str) and text]
    if not texts or len(texts) < len(asked):
        return None
    # Not resolved: behind a link the folder images, which leads to the labels, may have another name.
    tries = [[Path(_plain(root / each)) for each in (text, text.removeprefix("../"))] for text in texts]
    found = [next((place for place in places if _is_place(place)), None) for places in tries]
    return tuple(place for place in found if place is not None) if all(found) else None


def find_split(file: Path, key: str, entry: object, root: Path, classes: Mapping[int, str]) -> YoloSplit:
    """The split that an entry of a YAML file names.

    Raises:
        UserError: the entry names no folder and no list.
    """
    places = find_places(root, entry)
    if places is None:
        raise UserError(
            f"{file}: {key}: {entry!r} is no folder of pictures, no .txt file that lists pictures and no list of such "
            f"in {root}; correct it, or path:"
        )
    return YoloSplit(file, key, root, places, classes)


def read_classes(file: Path, names: Mapping[int, str], count: object) -> dict[int, str]:
    """Number of each class -> its name.

    Args:
        file: the YAML file, for messages.
        names: its ``names``; empty where it has none.
        count: its ``nc``; alone, it stands for classes named ``class_0``, ``class_1``, ...

    Raises:
        UserError: neither is there, they disagree, or the names are not one for each class.
    """
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        raise UserError(f"{file}: nc: expected the number of classes, got {count!r}; correct or remove it")
    if not names:
        if count is None:
            raise UserError(f"{file}: names: missing; list the names of the classes in the order of their numbers")
        return {number: f"class_{number}" for number in range(count)}
    if count is not None and count != len(names):
        raise UserError(f"{file}: nc: {count}, but names: has {len(names)}; correct one of them or remove nc")
    if min(names) < 0:
        raise UserError(f"{file}: names: class {min(names)}; classes are counted from 0")
    seen: set[str] = set()
    for name in names.values():
        if name in seen:
            raise UserError(f"{file}: names: {name!r} is there twice; give every class its own name")
        seen.add(name)
    return dict(sorted(names.items()))


def categories(classes: Mapping[int, str]) -> tuple[Category, ...]:
    """The classes as COCO has them; ids are the numbers plus one."""
    return tuple(Category(number + 1, name) for number, name in classes.items())


def _raise(kind: str, file: str, message: str) -> None:
    raise UserError(f"{file}: {message}")


def list_images(split: YoloSplit, refuse: Refuse = _raise) -> Listing:
    """Finds the pictures of a split and the label file of each; label files without a picture are counted in a warning.

    A label file has its picture's name and lies where the last folder ``images`` of the path is ``labels``, or beside
    the picture where there is no such folder. Pictures come in the order of their names, or of their list.

    Args:
        split: the split.
        refuse: told of ``label-shared`` and ``image-missing``; raises by default. What it lets pass is left out.

    Raises:
        UserError: no pictures or not one label file, two pictures for one label file, or a list that cannot be used.
    """
    scan = functools.cache(_scan)
    base = str(split.images)
    images: dict[str, str] = {}  # Label file, there or not -> picture.
    names: list[str] = []
    labels: list[str | None] = []
    digests: list[str] = [str(split.classes)]
    for folder, name in _images(split, scan, refuse):
        image, label = f"{folder}{os.sep}{name}", label_path(folder, name)
        label_folder, _, label_name = label.rpartition(os.sep)
        if other := images.get(label):
            said = "is there twice; list it once" if other == image else f"and {other} share {label}; rename one"
            refuse("label-shared", str(split.file), f"{split.key}: {image} {said}")
            continue
        images[label] = image
        told = scan(label_folder).get(label_name)
        names.append(image.removeprefix(base).lstrip(os.sep))
        labels.append(label if told else None)
        digests.append(f"{names[-1]} {scan(folder)[name]} {told}")
    if not images:
        raise UserError(f"{split.file}: {split.key}: no pictures in {_places(split)}; put them there or correct it")
    if not any(labels):
        raise UserError(
            f"{split.file}: {split.key}: not one of the {len(images)} pictures in {_places(split)} has a label file, "
            f"such as {next(iter(images))}; put the labels there (an empty file says that there is no object)"
        )
    strays: list[str] = []
    if all(place.is_dir() for place in split.places):  # A list may name some pictures of a folder.
        strays = _strays(images, scan)
    if strays:
        warnings.warn(
            f"{split.file}: {split.key}: label files without a picture, left out: {len(strays)}, such as {strays[0]}",
            stacklevel=2,
        )
    return Listing(split, tuple(images.values()), tuple(names), tuple(labels), digest_of(digests), tuple(strays))


def first_id(split: YoloSplit) -> int:
    """The id of the split's first picture, and of its first object."""
    return KEYS.index(split.key) * _IDS_A_SPLIT + 1


def read_instances(listing: Listing) -> InstancesFile:
    """What an instances file would say about these pictures.

    Ids of pictures and objects are counted from 1 in the order of the pictures; those of val and test begin one and
    two thousand million later, so that splits can be scored together. A picture that cannot be opened has 1 x 1
    pixels here, and whoever reads it says why it cannot be read.

    Raises:
        UserError: a label file cannot be used.
    """
    first = first_id(listing.split)
    images: list[msgspec.Raw] = []
    objects: list[msgspec.Raw] = []
    encode = msgspec.json.Encoder().encode
    found = zip(listing.images, listing.names, listing.labels, strict=True)
    for number, (image, name, label) in enumerate(found, first):
        height, width = _upright_size(Path(image))
        images.append(msgspec.Raw(encode(JsonImage(number, name, width, height))))
        for category, values in _read_labels(label, listing.split.classes) if label else ():
            entry = _object(first + len(objects), number, category + 1, values, height, width)
            objects.append(msgspec.Raw(encode(entry)))
    listed = [JsonCategory(category.id, category.name) for category in categories(listing.split.classes)]
    return InstancesFile(images, objects, listed)


def _is_place(path: Path) -> bool:
    return path.is_dir() or (path.suffix == ".txt" and path.is_file())


def _places(split: YoloSplit) -> str:
    return ", ".join(map(str, split.places))


def label_path(folder: str, name: str) -> str:
    """Where the label file of a picture lies, there or not."""
    return f"{_label_folder(folder)}{os.sep}{name.rpartition('.')[0]}.txt"


def _label_folder(folder: str) -> str:
    before, found, after = f"{folder}{os.sep}".rpartition(f"{os.sep}images{os.sep}")
    return f"{before}{os.sep}labels{os.sep}{after}".rstrip(os.sep) if found else folder


def _scan(folder: str) -> _Stats:
    """Size and time of change of the files in a folder, by name; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {
                entry.name: (entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries if entry.is_file()
            }
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> UserError:
    return UserError(f"{error.filename}: cannot be read: {error.strerror or error}")


def _plain(path: Path) -> str:
    """Absolute and without ``..``; links stay as they are."""
    return os.path.normpath(path.absolute())


def _images(split: YoloSplit, scan: Callable[[str], _Stats], refuse: Refuse) -> Iterator[tuple[str, str]]:
    """Folder and name of each picture."""
    for place in split.places:
        yield from _walk(place, scan) if place.is_dir() else _listed(place, split.root, scan, refuse)


def _walk(place: Path, scan: Callable[[str], _Stats]) -> Iterator[tuple[str, str]]:
    def refuse(error: OSError) -> None:
        raise _unreadable(error) from error

    for folder, folders, _ in os.walk(place, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(scan(folder)):
            # Hidden files beside pictures, such as ._a.jpg, are what some file systems note about them.
            if not name.startswith(".") and f".{name.rpartition('.')[2]}".lower() in PICTURES:
                yield folder, name


def _listed(place: Path, root: Path, scan: Callable[[str], _Stats], refuse: Refuse) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_read_text(place).splitlines(), 1):
        if not (line := line.strip()):
            continue
        for base in (place.parent, root):
            folder, _, name = _plain(base / line).rpartition(os.sep)
            if name in scan(folder):
                yield folder, name
                break
        else:
            remedy = f"write it relative to {place.parent}, or remove it"
            refuse("image-missing", str(place), f"line {number}: no such picture: {line}; {remedy}")


def _strays(images: Mapping[str, str], scan: Callable[[str], _Stats]) -> list[str]:
    """Label files without a picture, sorted."""
    return sorted(
        path
        for folder in {label.rpartition(os.sep)[0] for label in images}
        for name in scan(folder)
        # Some tools leave a list of the classes beside the labels.
        if name.endswith(".txt") and not name.startswith(".") and name != "classes.txt"
        if (path := f"{folder}{os.sep}{name}") not in images
    )


def _upright_size(path: Path) -> tuple[int, int]:
    """Height and width of the upright picture from the head of its file; 1 x 1 where it cannot be opened."""
    try:
        head = read_head(path)
    except UnreadableImageError:
        return 1, 1
    return head.height, head.width


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _unreadable(error) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no text: {error}; write it again") from error


def _read_labels(label: str, classes: Mapping[int, str]) -> Iterator[tuple[int, list[float]]]:
    """Class and values in 0..1 of each line."""
    for number, found in read_lines(label, classes):
        if isinstance(found, LabelFault):
            raise UserError(f"{label}: line {number}: {found}") from found
        yield found


def read_lines(label: str, classes: Mapping[int, str]) -> Iterator[tuple[int, tuple[int, list[float]] | LabelFault]]:
    """Number of each line, and its class and values in 0..1, or what is wrong with it.

    Raises:
        UserError: the file cannot be read as text.
    """
    for number, line in enumerate(_read_text(Path(label)).splitlines(), 1):
        if words := line.split():
            try:
                yield number, _parse(words, classes)
            except LabelFault as error:
                yield number, error


def _parse(words: Sequence[str], classes: Mapping[int, str]) -> tuple[int, list[float]]:
    """Class and values of a line.

    Raises:
        LabelFault: what is wrong with it, and the remedy.
    """
    try:
        first, *values = map(float, words)
    except ValueError as error:
        raise LabelFault(f"{error}; {_LINE}") from error
    if not all(map(math.isfinite, (first, *values))):
        raise LabelFault("a value is not finite; correct or remove the line", "box-not-finite")
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise LabelFault(f"{len(words)} values; {_LINE}")
    if first not in classes:
        known = f"{min(classes)} to {max(classes)}"
        told = f"class {words[0]} is not in names, which has {known}; add it to names or correct the line"
        raise LabelFault(told, "category-unknown")
    low, high = min(values), max(values)
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        wrong = low if low < -TOLERANCE else high
        inverted = len(values) == 4 and min(values[2:]) < -TOLERANCE
        told = f"{wrong:g} is outside 0..1; write shares of the picture's width and height, not pixels"
        raise LabelFault(told, "box-inverted" if inverted else "box-outside")
    if low < 0 or high > 1:
        values = [min(max(value, 0.0), 1.0) for value in values]
    return int(first), values


def _object(number: int, image: int, category: int, values: Sequence[float], height: int, width: int) -> JsonObject:
    """An entry of ``annotations``, in pixels."""
    if len(values) == 4:
        x, y, w, h = values
        box = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
        return JsonObject(number, image, category, box)
    # A thousandth of a pixel is finer than any outline; all digits would make the index three times as large.
    points = (np.asarray(values).reshape(-1, 2) * (width, height)).round(3)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    xs, ys = points.T
    around = xs[:-1] @ ys[1:] - ys[:-1] @ xs[1:] + xs[-1] * ys[0] - ys[-1] * xs[0]
    area = abs(float(around)) / 2
    outline = msgspec.Raw(msgspec.json.encode([points.ravel().tolist()]))
    return JsonObject(number, image, category, (left, top, right - left, bottom - top), area, 0, outline)
