"""Reading result files in COCO's formats, our own or anyone's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolor_mtl.records import Category, UserError

Entry = dict[str, Any]


def read_entries(path: Path, keys: Sequence[str], inside: str | None = None) -> list[Entry] | None:
    """A result file's entries.

    Args:
        path: the file.
        keys: what every entry must have.
        inside: key of the list, where the file is an object.

    Returns:
        ``None`` where there is no such file.

    Raises:
        UserError: it is not such a file; the message names the entry.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    entries = content.get(inside) if inside and isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise UserError(f"{path}: a list of results is needed{f' under {inside!r}' if inside else ''}")
    for number, entry in enumerate(entries):
        missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise UserError(f"{path}: entry {number} has no {missing[0]!r}")
    return entries


def by_image(entries: Sequence[Entry]) -> dict[int, list[Entry]]:
    """Entries by their image's id."""
    found: dict[int, list[Entry]] = {}
    for entry in entries:
        found.setdefault(int(entry["image_id"]), []).append(entry)
    return found


def class_index(path: Path, entry: Entry, classes: Sequence[Category]) -> int:
    """Class index of an entry's ``category_id``.

    Raises:
        UserError: the data set has no such category.
    """
    for index, category in enumerate(classes):
        if category.id == entry["category_id"]:
            return index
    known = ", ".join(str(category.id) for category in classes[:8])
    raise UserError(f"{path}: category_id {entry['category_id']} is not one of the data's ({known}, ...)")
