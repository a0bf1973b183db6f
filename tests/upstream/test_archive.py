"""The zip file around a checkpoint: what is no checkpoint, or more than one, is refused by name."""

from __future__ import annotations

import copy
import os
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import dumps, storage_of, tensor_of, write_archive

from yolor_mtl.records import UserError
from yolor_mtl.upstream import archive
from yolor_mtl.upstream.reader import read_checkpoint

CONTENT = dumps({"a": tensor_of(storage_of(4), (4,), (1,))})
NUMBERS = bytes(16)


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    path = write_archive(tmp_path / "a.pt", CONTENT, {"0": NUMBERS})
    assert read_checkpoint(path).state["a"].tolist() == [0, 0, 0, 0]
    return path


def refused(path: Path, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()
    assert str(path) in str(caught.value)


def with_member(path: Path, name: str, content: bytes = b"x", mode: int = 0) -> None:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(member, content)


@pytest.mark.parametrize(
    "name", ["../evil", "archive/../../evil", "/etc/evil", "\\evil", "archive\\..\\..\\evil", "C:/evil", "C:\\evil"]
)
def test_paths_out_of_the_archive(healthy: Path, name: str) -> None:
    with_member(healthy, name)
    refused(healthy, "points out of the archive; it is forged")
    assert [path.name for path in healthy.parent.iterdir()] == ["a.pt"]


def test_links(healthy: Path) -> None:
    with_member(healthy, "archive/data/1", b"/etc/passwd", stat.S_IFLNK | 0o777)
    refused(healthy, "archive/data/1 is a link")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["archive/data.pkl", "archive/data/0"])
def test_two_members_of_one_name(healthy: Path, name: str) -> None:
    with_member(healthy, name)
    refused(healthy, "two members have the same name")


def test_two_pickles(healthy: Path) -> None:
    with_member(healthy, "other/data.pkl")
    refused(healthy, "it has 2 pickles")


def test_a_bomb(tmp_path: Path) -> None:
    """30 MB in 30 kB."""
    path = write_archive(
        tmp_path / "a.pt", CONTENT, {"0": bytes(30_000_000)}, compression=zipfile.ZIP_DEFLATED, compresslevel=9
    )
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    refused(path, "is compressed")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_bomb_of_members_that_share_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", CONTENT)
        file.writestr("archive/data/0", bytes(100_000))
        for number in range(1, 100):
            twin = copy.copy(file.getinfo("archive/data/0"))
            twin.filename = twin.orig_filename = f"archive/data/{number}"
            file.filelist.append(twin)
    refused(path, "claim to be larger than the file")


def test_a_size_that_is_not_there(healthy: Path) -> None:
    """The table of contents says that a stored member has 1 TB."""
    content = bytearray(healthy.read_bytes())
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(b"archive/data/0"))
    content[place + 20 : place + 28] = struct.pack("<II", 2**32 - 2, 2**32 - 2)
    healthy.write_bytes(content)
    refused(healthy, "claim to be larger than the file")


def test_wrong_sums(healthy: Path) -> None:
    content = healthy.read_bytes()
    healthy.write_bytes(content.replace(NUMBERS, b"\1" * 16, 1))
    refused(healthy, "not a whole checkpoint: .*CRC")


def test_encrypted(healthy: Path) -> None:
    content = bytearray(healthy.read_bytes())
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(b"archive/data/0"))
    content[place + 8] |= 1
    healthy.write_bytes(content)
    refused(healthy, "is encrypted")


def test_long_tables_of_contents(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    refused(healthy, "4 members; a checkpoint has 3 at most")
    monkeypatch.setattr(archive._Bounded, "longest", 100)
    refused(healthy, "its table of contents has [0-9]+ bytes, more than 100")


def test_a_long_pickle(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LONGEST_PICKLE", 10)
    refused(healthy, "data.pkl has [0-9]+ bytes, more than 10")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_cut_off(healthy: Path, share: float) -> None:
    content = healthy.read_bytes()
    healthy.write_bytes(content[: int(share * len(content))])
    refused(healthy, "is not a whole checkpoint: .*; download it anew")


def test_bytes_before_and_after(healthy: Path) -> None:
    content = healthy.read_bytes()
    healthy.write_bytes(content + b"\0" * 70_000)
    refused(healthy, "not a whole checkpoint")
    healthy.write_bytes(b"#!/bin/sh\n" + content)
    refused(healthy, "is not a zip file that torch.save wrote")


def test_the_other_byte_order(tmp_path: Path) -> None:
    for other in (b"big", b"\x1b[31m\n"):
        with zipfile.ZipFile(tmp_path / "b.pt", "w") as file:
            file.writestr("archive/data.pkl", CONTENT)
            file.writestr("archive/byteorder", other)
        refused(tmp_path / "b.pt", "this machine's are not")


def _program(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", CONTENT)
        file.writestr("archive/constants.pkl", b"")


def _before_1_6(path: Path) -> None:
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=False)


OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda path: None, "no checkpoint "),
    "a folder": (Path.mkdir, "is no file"),
    "a pipe": (os.mkfifo, "is no file"),
    "nothing in it": (Path.touch, "is empty"),
    "legacy": (_before_1_6, "format that torch wrote before 1.6"),
    "a bare pickle": (lambda path: path.write_bytes(CONTENT), "is a bare pickle"),
    "a page": (lambda path: path.write_text("<!DOCTYPE html>"), "is a page, not a checkpoint"),
    "a pointer": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "anything": (lambda path: path.write_text("anything"), "is not a zip file"),
    "another zip": (lambda path: with_member(path, "a.jpg"), "0 pickles"),
    "a program": (_program, "is a TorchScript program"),
}


@pytest.mark.parametrize(("make", "told"), OTHERS.values(), ids=list(OTHERS))
def test_what_people_have_instead(tmp_path: Path, make: Callable[[Path], object], told: str) -> None:
    make(tmp_path / "a.pt")
    refused(tmp_path / "a.pt", told)


def test_a_name_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint|cannot read"):
        read_checkpoint(Path("a\0b.pt"))
    with pytest.raises(UserError, match="cannot read"):
        read_checkpoint(tmp_path / ("a" * 300 + ".pt"))
