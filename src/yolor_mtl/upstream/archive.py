"""The zip file in which ``torch.save`` writes: one pickle, and the bytes of each storage beside it."""

from __future__ import annotations

import io
import stat
import struct
import sys
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Self

from yolor_mtl.records import UserError

MOST_MEMBERS = 50_000
"""A released network has up to 2,500 tensors, twice with averaged weights, thrice more with an optimiser."""

LONGEST_DIRECTORY = 8 * 1024 * 1024
"""Bytes of the table of contents, which is read whole; a member takes about 100."""

LONGEST_PICKLE = 16 * 1024 * 1024
"""Bytes; those of the released networks take one or two million."""

_BEFORE_ZIP = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    struct.error,
)


class Archive:
    """A checkpoint's members, read by name and never unpacked; a context manager.

    ``torch.save`` compresses nothing, so nothing that is read can be larger than the file.

    Args:
        path: the ``.pt`` file.

    Attributes:
        path: the file.
        pickle: bytes of its pickle.

    Raises:
        UserError: no such file, another format, damaged, or not what ``torch.save`` writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _check_beginning(path)
        self._file = _Bounded(io.FileIO(path))
        try:
            self._zip = self._open()
            self._members = self._listed()
            self._root = self._find_root()
            self.pickle = self._read(f"{self._root}data.pkl", LONGEST_PICKLE)
            self._check_byte_order()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def storage(self, key: str, size: int) -> bytearray:
        """Bytes of a storage.

        Args:
            key: its number, as the pickle names it.
            size: bytes that the pickle says it has.

        Raises:
            UserError: there is no such storage, it has another size, or it is damaged.
        """
        name = f"{self._root}data/{key}"
        member = self._members.get(name)
        if member is None:
            raise UserError(
                f"{self.path}: the storage {shown(key)} that its pickle names is not in it; download it anew"
            )
        if member.file_size != size:
            raise UserError(
                f"{self.path}: storage {shown(key)} has {member.file_size} bytes where its pickle says {size}; "
                "the file is damaged or forged"
            )
        return bytearray(self._read(name, size))

    def _open(self) -> zipfile.ZipFile:
        try:
            opened = zipfile.ZipFile(self._file)
        except _DAMAGE as error:
            raise self._damaged(error) from error
        self._file.longest = None
        return opened

    def _listed(self) -> dict[str, zipfile.ZipInfo]:
        """Members by name, none of which ``torch.save`` could not have written."""
        members = self._zip.infolist()
        if len(members) > MOST_MEMBERS:
            raise UserError(f"{self.path}: {len(members)} members; a checkpoint has {MOST_MEMBERS} at most")
        for member in members:
            self._check(member)
        whole = self.path.stat().st_size
        if sum(member.file_size for member in members) > whole:
            raise UserError(f"{self.path}: its members claim to be larger than the file ({whole} bytes); it is forged")
        named = {member.filename: member for member in members}
        if len(named) != len(members):
            raise UserError(f"{self.path}: two members have the same name; it is damaged or forged")
        return named

    def _check(self, member: zipfile.ZipInfo) -> None:
        name, parts = shown(member.filename), member.filename.replace("\\", "/").split("/")
        if member.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise UserError(f"{self.path}: the member {name} points out of the archive; it is forged")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UserError(f"{self.path}: the member {name} is a link; it is forged")
        if member.flag_bits & 0x1:
            raise UserError(f"{self.path}: the member {name} is encrypted; torch.save never does that")
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise UserError(
                f"{self.path}: the member {name} is compressed, {member.file_size} bytes from {member.compress_size}; "
                "torch.save compresses nothing, take the file as it was published"
            )

    def _find_root(self) -> str:
        """The folder inside the archive, with its slash."""
        found = [name for name in self._members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(found) != 1:
            raise UserError(
                f"{self.path} is a zip file, but no checkpoint: it has {len(found)} pickles (*/data.pkl), not 1"
            )
        root = found[0].removesuffix("data.pkl")
        if f"{root}constants.pkl" in self._members:
            raise UserError(f"{self.path} is a TorchScript program; a checkpoint that torch.save wrote is needed")
        return root

    def _check_byte_order(self) -> None:
        name = f"{self._root}byteorder"
        order = self._read(name, 16) if name in self._members else b"little"
        if order != sys.byteorder.encode():
            raise UserError(
                f"{self.path}: its numbers are {shown(order.decode('latin-1'))}-endian, this machine's are not"
            )

    def _read(self, name: str, limit: int) -> bytes:
        member = self._members[name]
        if member.file_size > limit:
            raise UserError(f"{self.path}: {shown(name)} has {member.file_size} bytes, more than {limit}; it is forged")
        try:
            content = self._zip.read(member)
        except _DAMAGE as error:
            raise self._damaged(error) from error
        if len(content) != member.file_size:
            raise self._damaged(f"{shown(name)} is cut off")
        return content

    def _damaged(self, reason: object) -> UserError:
        return UserError(f"{self.path} is not a whole checkpoint: {shown(str(reason), 200)}; download it anew")


class _Bounded(io.BufferedReader):
    """A file that refuses long reads until ``longest`` is ``None``: ``zipfile`` reads a table of contents whole."""

    longest: int | None = LONGEST_DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file.

        Raises:
            BadZipFile: more than ``longest`` bytes at once are asked for.
        """
        if self.longest is not None and size is not None and size > self.longest:
            raise zipfile.BadZipFile(f"its table of contents has {size} bytes, more than {self.longest}")
        return super().read(size)


def _beginning(path: Path) -> bytes:
    """The first bytes of a regular file."""
    try:
        if not path.exists():
            raise UserError(f"no checkpoint {path}")
        if not path.is_file():  # a pipe would be waited for
            raise UserError(f"{path} is no file; a checkpoint (.pt) is needed")
        with path.open("rb") as file:
            return file.read(64)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _check_beginning(path: Path) -> None:
    """Refuses, by their first bytes, what people have instead of a checkpoint."""
    start = _beginning(path)
    if start.startswith(b"PK"):
        return
    kinds = {
        _BEFORE_ZIP: "is in the format that torch wrote before 1.6; load it where you trust it and torch.save it anew",
        b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; fetch it with git lfs pull",
        b"<": "is a page, not a checkpoint; download the file itself",
        b"\x80": "is a bare pickle, not a zip file that torch.save wrote (1.6 or newer)",
        b"": "is not a zip file that torch.save wrote (1.6 or newer)",
    }
    reason = next(reason for beginning, reason in kinds.items() if start.startswith(beginning)) if start else "is empty"
    raise UserError(f"{path} {reason}")


def shown(text: str, longest: int = 100) -> str:
    """Somebody else's text for a message: no control characters, not long."""
    cut = text if len(text) <= longest else f"{text[:longest]}..."
    return "".join(mark if mark.isprintable() else "?" for mark in cut)
