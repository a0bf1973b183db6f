"""What the machine does to ``predict``: it says why it ends, keeps what it has, and goes on from there."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from PIL import Image

from yolor_mtl.inference.video import FilmWriter, film

PICTURES = ("a", "b", "c", "d")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four small pictures; the third one's answer is the only large one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in PICTURES:
        size = (400, 400) if name == "c" else (40, 40)
        Image.effect_noise(size, 90).convert("RGB").save(folder / f"{name}.png")
    return folder


def keys(trained: Path, source: Path, out: Path, *more: str) -> list[str]:
    return ["predict", f"model={trained}", f"source={source}", f"out={out}", "device=cpu", "batch=1", *more]


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]


def stems(out: Path) -> list[str]:
    return [Path(line["path"]).stem for line in lines(out)]


def check_stopped(said: subprocess.CompletedProcess[str], file: Path) -> None:
    assert said.returncode == 3, said.stderr
    assert f"stopped: {file}: File too large; make room there" in said.stderr
    assert "Traceback" not in said.stdout + said.stderr


def test_a_full_disk(command: runs.Command, trained: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = keys(trained, pictures, out, "tasks=[detection,captioning]")
    said = runs.limited(20_000, *given)
    check_stopped(said, out / "c.jpg")
    assert "2 pictures have their lines" in said.stderr
    assert "with resume=true the same command goes on" in said.stderr
    assert stems(out) == ["a", "b"]
    assert sorted(path.name for path in out.iterdir()) == ["a.jpg", "b.jpg", "predictions.jsonl"]
    assert command(*given, "resume=true").code == 0
    assert stems(out) == list(PICTURES)


def test_no_room_for_a_line(command: runs.Command, trained: Path, tmp_path: Path) -> None:
    """The line that is cut off where the disk ends is written once more."""
    (folder := tmp_path / "pictures").mkdir()
    for name in PICTURES:
        Image.effect_noise((16, 16), 90).convert("RGB").save(folder / f"{name}.png")
    given, out = ["tasks=[captioning]", "attention=true"], tmp_path / "out"
    assert command(*keys(trained, folder, tmp_path / "alone", *given)).code == 0
    whole = (tmp_path / "alone" / "predictions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    said = runs.limited(len("".join(whole[:2])) + 10, *keys(trained, folder, out, *given))
    check_stopped(said, out / "predictions.jsonl")
    assert (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:2] == whole[:2]
    assert command(*keys(trained, folder, out, *given, "resume=true")).code == 0
    assert (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True) == whole


def _film(path: Path, frames: int, size: tuple[int, int] = (128, 96)) -> Path:
    rng = np.random.default_rng(0)
    writer = FilmWriter(path, 10)
    for _ in range(frames):
        writer.add(Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8)))
    writer.close()
    return path


def test_a_disk_that_a_film_fills(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="films need PyAV: pip install 'yolor-mtl[video]'")
    # Encoders hold some fifty frames back before they write the first one.
    path, out = _film(tmp_path / "film.mp4", frames=240), tmp_path / "out"
    said = runs.limited(60_000, *keys(trained, path, out, "tasks=[captioning]"))
    check_stopped(said, out / "film.mp4")
    assert "frames have their lines in" in said.stderr
    assert sorted(path.name for path in out.iterdir()) == ["predictions.jsonl"]
    assert [line["frame"] for line in lines(out)] == list(range(len(lines(out))))
    assert len(lines(out)) < 240


@pytest.mark.parametrize(("allowed", "code"), [(0, 1), (2, 1), (1, 3)])
def test_more_unreadable_pictures_than_allowed(
    command: runs.Command, trained: Path, pictures: Path, tmp_path: Path, allowed: int, code: int
) -> None:
    for name in ("b", "d"):
        (pictures / f"{name}.png").write_bytes(b"")
    said = command(*keys(trained, pictures, tmp_path / "out", f"max_unreadable={allowed}"))
    assert said.code == code
    failures = json.loads((tmp_path / "out" / "failures.json").read_text())
    assert [Path(entry["path"]).stem for entry in failures] == ["b", "d"]
    if code == 3:
        assert "2 pictures could not be read, the last one" in said.err
        assert "max_unreadable=1 allows no more" in said.err


def test_a_folder_that_cannot_be_written(command: runs.Command, trained: Path, pictures: Path, tmp_path: Path) -> None:
    locked = runs.locked(tmp_path)
    runs.refused(command(*keys(trained, pictures, locked / "out")), str(locked))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("source", ["pictures", "film"])
def test_signals_end_it_with_what_was_answered(
    command: runs.Command, trained: Path, tmp_path: Path, number: int, code: int, source: str
) -> None:
    pytest.importorskip("av", reason="films need PyAV: pip install 'yolor-mtl[video]'")
    total, out = 400 if source == "film" else 100, tmp_path / "out"
    if source == "film":
        path = _film(tmp_path / "film.mp4", total)
    else:
        (path := tmp_path / "pictures").mkdir()
        for index in range(total):
            Image.effect_noise((40, 40), 90).convert("RGB").save(path / f"{index:03d}.png")
    given = keys(trained, path, out)
    process = runs.shell(given, tmp_path)
    deadline = time.monotonic() + 120
    try:
        while not (out / "predictions.jsonl").is_file() or len((out / "predictions.jsonl").read_bytes()) < 5_000:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.stderr
            time.sleep(0.02)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, told
    assert "Traceback" not in told
    done = len(lines(out))
    assert 0 < done < total
    assert f"{done} {'frames' if source == 'film' else 'pictures'} have their lines" in told
    assert not list(out.glob(".*"))
    if source == "film":
        # The encoder has handed over all frames that were answered, or the one more that it was at.
        assert sum(1 for _ in film(out / "film.mp4")) in (done, done + 1)
    elif number == signal.SIGINT:  # what follows is the same for both
        assert command(*given, "resume=true").code == 0
        assert stems(out) == [f"{index:03d}" for index in range(total)]
