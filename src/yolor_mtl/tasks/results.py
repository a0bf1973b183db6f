"""Reading result files in COCO's formats, our own or anyone's."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import msgspec
import numpy as np

from yolor_mtl.data.coco import read_map
from yolor_mtl.data.coco_json import Id
from yolor_mtl.records import Annotations, Category, Prediction, UserError
from yolor_mtl.tasks.base import Answers

_REMEDY = "correct it or write the results again"
_PLACE = re.compile(r"(?s)(.*) - at `\$\[(\d+)\]\.?(.*)`")
"""How msgspec says what is wrong, and where: the fault, the number of the entry, the place in it."""

Score = Annotated[float, msgspec.Meta(ge=-1e30, le=1e30)]
"""How sure an answer is: any number that is one, for only the order matters for AP."""


class Entry(msgspec.Struct):
    """What every entry of a result file has. Tasks add their own fields; further ones of a file are left out."""

    image_id: Id


E = TypeVar("E", bound=Entry)


class ResultFile(Generic[E]):
    """The entries of a result file; an entry is named by its number in the file, from 0.

    Attributes:
        path: the file.
        entries: in the file's order.
    """

    def __init__(self, path: Path, entries: Sequence[E]) -> None:
        self.path, self.entries = path, entries
        self._numbers: dict[int, list[int]] = {}
        for number, entry in enumerate(entries):
            self._numbers.setdefault(entry.image_id, []).append(number)

    def of(self, image_id: int) -> Sequence[int]:
        """Numbers of an image's entries, in the file's order."""
        return self._numbers.get(image_id, ())

    def fault(self, number: int, what: str) -> UserError:
        """The refusal of an entry."""
        return UserError(f"{self.path}: entry {number}: {what}; {_REMEDY}")

    def check_single(self) -> None:
        """Checks that no image is answered twice.

        Raises:
            UserError: one is; names the image and both entries.
        """
        for image_id, numbers in self._numbers.items():
            if len(numbers) > 1:
                raise self.fault(numbers[1], f"image_id {image_id} has an answer already, entry {numbers[0]}")

    def check_images(self, known: Collection[int]) -> None:
        """Checks that all entries are about images of the data, as pycocotools does.

        Args:
            known: the ids of all images of the evaluated splits.

        Raises:
            UserError: some are not; names the first one and how many there are.
        """
        strange = [number for image_id, numbers in self._numbers.items() if image_id not in known for number in numbers]
        if strange:
            first = min(strange)
            raise UserError(
                f"{self.path}: entry {first}: image_id {self.entries[first].image_id} is no image of the data's split "
                f"({len(strange)} of {len(self.entries)} entries are about images that it does not have); "
                "give split= that was answered, or the folder of this split's results"
            )

    def class_index(self, number: int, category_id: int, places: dict[int, int]) -> int:
        """Class index of a ``category_id`` in an entry; ``places`` as :func:`class_places` makes them.

        Raises:
            UserError: the data set has no such category.
        """
        place = places.get(category_id)
        if place is None:
            known = ", ".join(map(str, list(places)[:8]))
            raise self.fault(number, f"category_id {category_id} is not one of the data's ({known}, ...)")
        return place


def class_places(classes: Sequence[Category]) -> dict[int, int]:
    """The data's category ids to class indices."""
    return {category.id: place for place, category in enumerate(classes)}


@dataclass(frozen=True)
class FileAnswers:
    """The answers in a result file; an image that it does not list has none of its entries.

    Attributes:
        file: the file.
        answer: what it says about an image.
    """

    file: ResultFile[Any]
    answer: Answers

    def __call__(self, annotations: Annotations) -> Prediction:
        """What the file says about an image."""
        return self.answer(annotations)

    def check_images(self, known: Collection[int]) -> None:
        """See :meth:`ResultFile.check_images`; worth asking before the first answer."""
        self.file.check_images(known)


def read_results(path: Path, kind: type[list[E]], inside: str | None = None) -> ResultFile[E] | None:
    """A result file.

    Args:
        path: the file.
        kind: the list of entries that it must be.
        inside: key of the list, where the file is an object.

    Returns:
        ``None`` where there is no such file.

    Raises:
        UserError: it is not such a file; the message names the entry by its number.
    """
    if not path.is_file():
        return None
    try:
        raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        return ResultFile(path, msgspec.json.decode(_list_in(raw, inside), type=kind))
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {_misfit(str(error), inside)}; {_REMEDY}") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}{_broken(raw, str(error), inside)}; {_REMEDY}") from error


def _list_in(raw: bytes, inside: str | None) -> bytes | msgspec.Raw:
    """JSON text of the list: the whole text, or what stands under the key where it is an object."""
    if inside is None or not raw.lstrip().startswith(b"{"):
        return raw
    return msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).get(inside, b"{}")


def _misfit(said: str, inside: str | None) -> str:
    """Words for what msgspec says of JSON that is no such list."""
    found = _PLACE.fullmatch(said)
    if found is None:
        return f"a list of results is needed{f' under {inside!r}' if inside else ''}"
    what, number, place = found.groups()
    if missing := re.search(r"missing required field `(\w+)`", what):
        return f"entry {number} has no {missing[1]!r}{f' in {place}' if place else ''}"
    return f"entry {number}: {place}: {what}" if place else f"entry {number} has no 'image_id', for it is no object"


def _broken(raw: bytes, said: str, inside: str | None) -> str:
    """Words for text that is no JSON: where, by the line; or which entry has numbers that only Python's JSON has."""
    try:
        content = json.loads(raw.decode())
    except RecursionError:
        return ": nested too deeply for a list of results"
    except ValueError as error:
        return f" is not JSON: {error}"
    entries = content.get(inside) if isinstance(content, dict) else content
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        try:
            json.dumps(entry, allow_nan=False)
        except ValueError:
            return f": entry {number}: NaN or Infinity, which is no number in JSON"
    return f" is not JSON: {said}"


def predicted_map(path: Path, annotations: Annotations, modes: Sequence[str]) -> np.ndarray:
    """Pixels of a PNG that answers an image; see :func:`read_map`.

    Raises:
        UserError: it is missing, broken, of another mode or another size.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing, the predicted map of image {annotations.image_id}; write it there")
    # The answer is a file of its own, wherever the image comes from.
    return read_map(path, replace(annotations, packed=None), modes)
