"""What ``source=`` may be: a picture, a folder or a pattern."""

from __future__ import annotations

import glob
from pathlib import Path

from yolor_mtl.records import UserError

ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Files of a folder that are taken for pictures."""


def find_pictures(source: str) -> list[Path]:
    """The pictures of a source, in the order of their names.

    Args:
        source: a file (of any ending), a folder (its pictures, not those of its subfolders), or a glob pattern.

    Raises:
        UserError: there is no such thing, or no picture in it.
    """
    path = Path(source)
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in ENDINGS and entry.is_file())
        if not found:
            raise UserError(f"source={source}: no pictures in this folder; known endings: {', '.join(sorted(ENDINGS))}")
        return found
    if path.exists():
        return [path]
    if glob.has_magic(source):
        # A pattern may be absolute, which Path.glob refuses.
        found = sorted(Path(name) for name in glob.glob(source, recursive=True))  # noqa: PTH207
        if found := [entry for entry in found if entry.is_file()]:
            return found
        raise UserError(f"source={source}: no file matches this pattern")
    raise UserError(f"source={source}: no such file or folder")
