"""Shards that are fetched: once, whole, into little room; and what happens when that does not work."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import shelf
from drawn import write_set

from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.image import UnreadableImageError
from yolor_mtl.data.loader import checked_image
from yolor_mtl.data.semantic_maps import panoptic_map
from yolor_mtl.data.shards import fetched, place
from yolor_mtl.data.shards.listing import NAMES, PLACE, PLACES
from yolor_mtl.records import PackedError, UserError

PICTURES = 6


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return shelf.pack(write_set(tmp_path / "loose", ["bmpc"] * PICTURES), tmp_path / "packed")


def _read(data: CocoDataset) -> list[bytes]:
    return [checked_image(data.annotations(index)).numpy().tobytes() for index in range(len(data))]


def test_fetched_once(packed: Path, tmp_path: Path) -> None:
    with shelf.served(packed / "shards") as (url, asked):
        data = open_coco(shelf.described(packed, url, tmp_path / "cache"), ["train"], cache=False)
        assert not asked
        assert _read(data) == _read(open_coco(packed, ["train"], cache=False))
        assert sorted(asked) == [f"/train/{number:06}.tar" for number in range(PICTURES)]
        # Another process, which only gets labels, reads from what is there, with one store for all of them.
        again, other = (pickle.loads(pickle.dumps(data.annotations(index))) for index in (0, 1))
        assert again.packed is other.packed
        assert checked_image(again).shape == checked_image(data.annotations(0)).shape
        assert len(asked) == PICTURES


def test_little_room(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shards used longest ago make room, and are fetched again where they are asked for."""
    monkeypatch.setattr(place, "ROOM", 2)
    size = max(path.stat().st_size for path in (packed / "shards" / "train").glob("*.tar"))
    cache = tmp_path / "cache"
    with shelf.served(packed / "shards") as (url, asked):
        path = shelf.described(packed, url, cache, cache_gb=2.5 * size / 1e9)
        data = open_coco(path, ["train"], cache=False)
        for index in (0, 1, 2, 3, 4, 5, 5, 4):
            checked_image(data.annotations(index))
            assert len(list(cache.glob("[!.]*.tar"))) <= 2
        assert len(asked) == PICTURES
        checked_image(data.annotations(0))
        assert len(asked) == PICTURES + 1


def test_a_server_that_fails_for_a_moment(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched, "WAITS", (0, 0, None))
    with shelf.served(packed / "shards") as (url, asked):
        data = open_coco(shelf.described(packed, url, tmp_path / "cache"), ["train"], cache=False)
        asked.failing = 2
        checked_image(data.annotations(0))
        asked.failing = 3
        told = r"its shard http://.*\.tar cannot be fetched: .*503"
        with pytest.raises(UnreadableImageError, match=told):
            checked_image(data.annotations(1))
        # Nobody waits for it again; after a while it is asked for anew.
        number = len(asked)
        with pytest.raises(UnreadableImageError, match=told):
            checked_image(data.annotations(1))
        assert len(asked) == number
        monkeypatch.setattr(fetched, "PARDON", 0)
        checked_image(data.annotations(1))
    assert len(list((tmp_path / "cache").glob("[!.]*.tar"))) == 2


def test_a_large_shard_comes_in_one_stream(tmp_path: Path) -> None:
    """The server has no pieces to give; several pieces of the reader's are one shard."""
    root = write_set(tmp_path / "loose", ["bc"] * 2)
    for path in (root / "images" / "train").iterdir():
        # Behind the picture's end, where no reader looks.
        path.write_bytes(path.read_bytes() + bytes(6 << 20))
    packed = shelf.pack(root, tmp_path / "packed", size=10**9)
    with shelf.served(packed / "shards") as (url, asked):
        data = open_coco(shelf.described(packed, url, tmp_path / "cache"), ["train"], cache=False)
        assert _read(data) == _read(open_coco(root, ["train"], cache=False))
        assert asked == ["/train/000000.tar"]


def test_packed_anew_under_the_same_address(tmp_path: Path) -> None:
    """What the cache holds of the first data is not taken for the second's."""
    first, second = (write_set(tmp_path / name, [kind] * 2) for name, kind in (("a", "bmpc"), ("b", "ep")))
    served = tmp_path / "served"
    for name, root in (("one", first), ("two", second)):
        packed = shelf.pack(root, tmp_path / name)
        shutil.rmtree(served, ignore_errors=True)
        shutil.copytree(packed / "shards", served)
        with shelf.served(served) as (url, asked):
            data = open_coco(shelf.described(packed, url, tmp_path / "cache"), ["train"], cache=False)
            assert _read(data) == _read(open_coco(root, ["train"], cache=False))
            assert len(asked) == 2


def test_the_disk_is_full_of_old_shards(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the limit, but with no room on the disk: old shards make room."""
    cache = tmp_path / "cache"

    def usage(folder: Path) -> shutil._ntuple_diskusage:
        return shutil._ntuple_diskusage(10**9, 0, 0 if list(cache.glob("[!.]*.tar")) else 10**9)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with shelf.served(packed / "shards") as (url, asked):
        data = open_coco(shelf.described(packed, url, cache), ["train"], cache=False)
        for index in range(3):
            checked_image(data.annotations(index))
            assert len(list(cache.glob("[!.]*.tar"))) == 1
        assert len(asked) == 3


def test_a_label_map_whose_shard_is_gone(packed: Path) -> None:
    """Told as what it is, not as a broken map."""
    data = open_coco(packed, ["train"], cache=False)
    for path in (packed / "shards" / "train").glob("*.tar"):
        path.unlink()
    with pytest.raises(PackedError, match=r"its shard .*\.tar is missing"):
        panoptic_map(data.annotations(0))


def test_another_shard_than_listed(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched, "WAITS", (None,))
    for path in (packed / "shards" / "train").glob("*.tar"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with shelf.served(packed / "shards") as (url, _):
        data = open_coco(shelf.described(packed, url, tmp_path / "cache"), ["train"], cache=False)
        with pytest.raises(UnreadableImageError, match="not the shard that was listed"):
            checked_image(data.annotations(0))
    assert not list((tmp_path / "cache").glob("[!.]*.tar"))


@pytest.mark.parametrize("what", ["missing", "cut off"])
def test_a_broken_shard_beside_its_listing(packed: Path, what: str) -> None:
    data = open_coco(packed, ["train"], cache=False)
    for path in (packed / "shards" / "train").glob("*.tar"):
        path.unlink() if what == "missing" else path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(UnreadableImageError, match=r"its shard .*\.tar (is missing|has \d+ bytes instead of)"):
        checked_image(data.annotations(0))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"url": "pipe:cat"}, "fetched from http"),
        ({"url": "simplecache::http://x"}, "fetched from http"),
        ({"url": ""}, "url is missing"),
        ({"url": "http://x/?key=y"}, "without a password"),
        ({"url": "http://me:secret@x"}, "without a password"),
        ({"url": "s3://bucket"}, "s3fs"),
        ({"url": "http://x", "cache_gb": 0.000001}, "no room"),
        ({"url": "http://x", "cach": "y"}, "cache"),
    ],
)
def test_refused(packed: Path, tmp_path: Path, keys: dict[str, object], told: str) -> None:
    rest = {key: value for key, value in keys.items() if key != "url"}
    path = shelf.described(packed, str(keys["url"]), tmp_path / "cache", **rest)
    with pytest.raises(UserError, match=told):
        open_coco(path, ["train"], cache=False)


@pytest.mark.parametrize(
    "what", ["no JSON", "another format", "no places", "too few", "outside", "a shard elsewhere", "a digest elsewhere"]
)
def test_a_broken_listing(packed: Path, what: str) -> None:
    folder = packed / "shards" / "train"
    names, places = folder / NAMES, folder / PLACES
    found = np.fromfile(places, dtype=PLACE)
    match what:
        case "no JSON":
            names.write_text("{")
        case "another format":
            names.write_text(names.read_text().replace("shards/1", "shards/9"))
        case "no places":
            places.write_bytes(b"x")
        case "too few":
            found[:-1].tofile(places)
        case "outside":
            found["start"][0] = 10**12
            found.tofile(places)
        case "a shard elsewhere":
            names.write_text(names.read_text().replace("000000.tar", "../000000.tar"))
        case "a digest elsewhere":
            names.write_text(re.sub('"digest": "....', '"digest": "../x', names.read_text()))
    with pytest.raises(UserError, match=r"write the shards again"):
        open_coco(packed, ["train"], cache=False)
