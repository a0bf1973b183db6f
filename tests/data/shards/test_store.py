"""Shards that are fetched: once, whole, into little room; and what happens when that does not work."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import shelf
from drawn import write_set

from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.image import UnreadableImageError
from yolor_mtl.data.loader import checked_image
from yolor_mtl.data.shards import store
from yolor_mtl.data.shards.listing import NAMES, PLACE, PLACES
from yolor_mtl.records import UserError

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
        # Another process, which only gets labels, reads from what is there.
        again = pickle.loads(pickle.dumps(data.annotations(0)))
        assert checked_image(again).shape == checked_image(data.annotations(0)).shape
        assert len(asked) == PICTURES


def test_little_room(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shards used longest ago make room, and are fetched again where they are asked for."""
    monkeypatch.setattr(store, "ROOM", 2)
    size = max(path.stat().st_size for path in (packed / "shards" / "train").glob("*.tar"))
    cache = tmp_path / "cache"
    with shelf.served(packed / "shards") as (url, asked):
        path = shelf.described(packed, url, cache, cache_gb=2.5 * size / 1e9)
        data = open_coco(path, ["train"], cache=False)
        for index in (0, 1, 2, 3, 4, 5, 5, 4):
            checked_image(data.annotations(index))
            assert len(list(cache.glob("*/*.tar"))) <= 2
        assert len(asked) == PICTURES
        checked_image(data.annotations(0))
        assert len(asked) == PICTURES + 1


def test_a_server_that_fails_for_a_moment(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "WAITS", (0, 0, None))
    with shelf.served(packed / "shards") as (url, asked):
        data = open_coco(shelf.described(packed, url, tmp_path / "cache"), ["train"], cache=False)
        asked.failing = 2
        checked_image(data.annotations(0))
        asked.failing = 3
        with pytest.raises(UnreadableImageError, match=r"its shard http://.*\.tar cannot be fetched: .*503"):
            checked_image(data.annotations(1))
    assert len(list((tmp_path / "cache").glob("*/*.tar"))) == 1


def test_another_shard_than_listed(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "WAITS", (None,))
    for path in (packed / "shards" / "train").glob("*.tar"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with shelf.served(packed / "shards") as (url, _):
        data = open_coco(shelf.described(packed, url, tmp_path / "cache"), ["train"], cache=False)
        with pytest.raises(UnreadableImageError, match="not the shard that was listed"):
            checked_image(data.annotations(0))
    assert not list((tmp_path / "cache").glob("*/*.tar"))


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
        ({"url": "http://x", "cache_gb": 0.000001}, "no room"),
        ({"url": "http://x", "cach": "y"}, "cache"),
    ],
)
def test_refused(packed: Path, tmp_path: Path, keys: dict[str, object], told: str) -> None:
    rest = {key: value for key, value in keys.items() if key != "url"}
    path = shelf.described(packed, str(keys["url"]), tmp_path / "cache", **rest)
    with pytest.raises(UserError, match=told):
        open_coco(path, ["train"], cache=False)


@pytest.mark.parametrize("what", ["no JSON", "another format", "no places", "too few", "outside", "a shard elsewhere"])
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
    with pytest.raises(UserError, match=r"write the shards again"):
        open_coco(packed, ["train"], cache=False)
