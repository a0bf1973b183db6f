from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_builder import caption, image, instances, split, thing

from yolor_mtl.data import array_cache, coco_classes, coco_index
from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.records import UserError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/yolor_mtl"


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the annotation files that were parsed since."""
    names: list[str] = []
    for module in (coco_index, coco_classes):
        real = module.read_json

        def counted(path: Path, kind: Any, real: Any = real) -> Any:
            names.append(path.name)
            return real(path, kind)

        monkeypatch.setattr(module, "read_json", counted)
    return names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    content = instances([image(1), image(2)], [thing(1, 2), thing(2, 1, segmentation=[])])
    captions = {"images": [image(1)], "annotations": [caption(1, "Eins.")]}
    return split(tmp_path / "set", "train", instances=content, captions=captions)


def all_labels(dataset: CocoDataset) -> list[Any]:
    return [dataset.annotations(k) for k in range(len(dataset))]


def test_a_second_start_parses_nothing_and_says_the_same(cache: Path, root: Path, parsed: list[str]) -> None:
    first = open_coco(root, ["train"])
    assert set(parsed) == {"instances_train.json", "captions_train.json"}
    parsed.clear()
    second = open_coco(root, ["train"])
    assert parsed == []
    plain = open_coco(root, ["train"], cache=False)
    assert all_labels(first) == all_labels(second) == all_labels(plain)
    assert first.counts == second.counts == plain.counts
    assert first.space == second.space == plain.space
    assert not [path for path in cache.iterdir() if path.name.startswith(".")]


def test_without_cache_nothing_is_written(cache: Path, root: Path) -> None:
    open_coco(root, ["train"], cache=False)
    assert not cache.exists()


def test_a_changed_file_is_read_again_and_replaces_its_entry(cache: Path, root: Path, parsed: list[str]) -> None:
    open_coco(root, ["train"])
    entries = sorted(path.name for path in cache.iterdir())
    path = root / "annotations/captions_train.json"
    stat = path.stat()
    path.write_text(path.read_text().replace("Eins", "Zwei"))  # as long as before
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    parsed.clear()
    assert list(open_coco(root, ["train"]).captions()) == ["Zwei."]
    assert "captions_train.json" in parsed
    assert sorted(path.name for path in cache.iterdir()) == entries


def test_a_touched_file_is_not_read_again(cache: Path, root: Path, parsed: list[str]) -> None:
    open_coco(root, ["train"])
    os.utime(root / "annotations/instances_train.json", (1, 1))
    parsed.clear()
    open_coco(root, ["train"])
    assert parsed == []


def test_a_new_file_of_the_split_counts(cache: Path, root: Path) -> None:
    path = root / "annotations/captions_train.json"
    text = path.read_text()
    path.unlink()
    assert open_coco(root, ["train"]).counts["captions"] == 0
    path.write_text(text)
    assert open_coco(root, ["train"]).counts["captions"] == 1


def test_a_moved_folder_keeps_its_labels_and_gets_new_paths(cache: Path, root: Path, tmp_path: Path) -> None:
    open_coco(root, ["train"])
    moved = root.rename(tmp_path / "moved")
    assert open_coco(moved, ["train"]).annotations(0).path == moved / "images/train/000001.jpg"


def test_another_version_of_the_reader_reads_again(
    cache: Path, root: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_coco(root, ["train"])
    parsed.clear()
    monkeypatch.setattr(coco_index, "READER_VERSION", "next")
    open_coco(root, ["train"])
    assert parsed


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "garbage", "header", "length"])
def test_damaged_entries_are_rebuilt(cache: Path, root: Path, damage: str) -> None:
    expected = all_labels(open_coco(root, ["train"]))
    for path in cache.iterdir():
        raw = bytearray(path.read_bytes())
        if damage == "flip":
            raw[-70] ^= 1
        if damage == "header":
            raw[20:40] = b"\xff" * 20
        if damage == "length":
            raw[8:16] = b"\xff" * 8
        changed = {"cut": raw[:-100], "empty": b"", "garbage": os.urandom(len(raw))}.get(damage, raw)
        path.write_bytes(bytes(changed))
    assert all_labels(open_coco(root, ["train"])) == expected
    assert all_labels(open_coco(root, ["train"])) == expected


def test_a_cache_folder_that_cannot_be_made_is_no_error(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(open_coco(root, ["train"])) == 2


def test_a_full_disk_leaves_no_half_file(cache: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert len(open_coco(root, ["train"])) == 2
    assert list(cache.iterdir()) == []


def test_the_home_folder_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert array_cache.cache_folder() == tmp_path / ".cache/yolor_mtl"


def test_arrays_come_back_mapped_and_read_only(tmp_path: Path) -> None:
    arrays = {
        "numbers": np.arange(5, dtype=np.int64),
        "none": np.zeros((0, 4)),
        "table": np.arange(12, dtype=np.float32).reshape(3, 4),
        "bytes": np.frombuffer(b"abc", np.uint8),
    }
    array_cache.store(tmp_path / "x", "key", arrays)
    found = array_cache.load(tmp_path / "x", "key")
    assert found is not None
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
        assert not found[name].flags.writeable
    assert array_cache.load(tmp_path / "x", "other") is None


def test_parts_do_not_run_together() -> None:
    assert array_cache.digest_of(["ab", "c"]) != array_cache.digest_of(["a", "bc"])


def test_a_pickled_data_set_maps_the_same_file(cache: Path, root: Path) -> None:
    dataset = open_coco(root, ["train"])
    copy = pickle.loads(pickle.dumps(dataset))
    assert all_labels(copy) == all_labels(dataset)
    plain = open_coco(root, ["train"], cache=False)
    assert all_labels(pickle.loads(pickle.dumps(plain))) == all_labels(dataset)
    text = pickle.dumps(dataset)
    assert b"Eins" not in text
    for path in cache.glob("index-*"):
        path.unlink()
    with pytest.raises(UserError, match="start again"):
        pickle.loads(text)


# A process of its own: in a fork of the test session every object that any test ever made would be counted with it.
EPOCHS = """
import gc, multiprocessing, sys
from pathlib import Path
from yolor_mtl.data.coco import open_coco
from yolor_mtl.ops.processes import live_and_die_with_the_parent

def written_kib():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))

def epochs(dataset):
    live_and_die_with_the_parent(0)
    sizes = [written_kib()]
    for _ in range(3):
        for index in range(len(dataset)):
            dataset.annotations(index)
        gc.collect()
        sizes.append(written_kib())
    print(*sizes)

dataset = open_coco(Path(sys.argv[1]), ["train"], cache=sys.argv[2] == "True")
workers = [multiprocessing.get_context("fork").Process(target=epochs, args=(dataset,)) for _ in range(int(sys.argv[3]))]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads Linux's account of memory")
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    ("number", "workers", "allowed", "later"),
    [(5000, 1, 4096, 0), pytest.param(120_000, 4, 24_576, 8192, marks=pytest.mark.torture)],
)
def test_case_05_workers_do_not_grow(
    tmp_path: Path, cache: Path, cached: bool, number: int, workers: int, allowed: int, later: int
) -> None:
    """Kept as Python objects, 20,000 would copy some 10 MiB and 480,000 some 240. What paths are made of enters the
    interpreter's own table of strings, which is made anew now and then: twice 8 MiB."""
    things = [thing(k, k % number, segmentation=[[k, 1, 2, 3, 4.5, k]]) for k in range(number * 4)]
    root = split(tmp_path / "set", "train", instances=instances([image(k) for k in range(number)], things))
    command = [sys.executable, "-c", EPOCHS, str(root), str(cached), str(workers)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) == workers
    for line in told:
        start, first, _, last = map(int, line.split())
        assert last - start < allowed, told
        assert last <= max(first * 1.05, first + later), told
