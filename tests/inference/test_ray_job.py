"""A job on a Ray cluster of this machine: the answers of one process, and a predictor that is killed on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import runs

pytest.importorskip("ray", reason="large jobs need Ray: pip install 'yolor-mtl[ray]'")


@pytest.fixture
def photos(scenes: Path, tmp_path: Path) -> Path:
    """Twelve pictures in two folders of the same names, and one that cannot be read."""
    folder = tmp_path / "photos"
    for number, picture in enumerate(sorted((scenes / "train").glob("*.jpg"))):
        place = folder / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, place / f"{number // 2}.jpg")
    (folder / "a" / "broken.jpg").write_bytes(b"no picture")
    return folder


def lines(out: Path) -> dict[str, Any]:
    found = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert len({line["path"] for line in found}) == len(found)
    return {line["path"]: line for line in found}


def job(trained: Path, photos: Path, out: Path, *more: str) -> list[str]:
    keys = {"model": trained, "source": photos / "*" / "*.jpg", "out": out, "conf": 0, "max_det": 2, "half": "false"}
    return ["predict", *(f"{key}={value}" for key, value in keys.items()), "device=cpu", "batch=2", *more]


@pytest.mark.torture
def test_two_workers_one_of_them_killed(trained: Path, photos: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    said = subprocess.run([sys.executable, "-c", runs.MAIN, *job(trained, photos, here)], check=False)
    assert said.returncode == 1
    started = subprocess.Popen(
        [sys.executable, "-c", runs.MAIN, *job(trained, photos, there, "engine=ray", "actors=2", "json=true")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        _kill_one_worker(started, there)
        out, _ = started.communicate(timeout=300)
    finally:
        started.kill()
    assert started.returncode == 1
    report = json.loads(out)
    assert report["pictures"] == 12
    assert [Path(entry["path"]).name for entry in report["failures"]] == ["broken.jpg"]
    assert lines(there) == lines(here)
    assert {path.name for path in there.glob("*.jpg")} == {path.name for path in here.glob("*.jpg")}
    # Nothing is left to do, and what was lost is done again.
    kept = (there / "predictions.jsonl").read_text().splitlines(keepends=True)
    (there / "predictions.jsonl").write_text("".join(kept[:-3]))
    words = job(trained, photos, there, "engine=ray", "actors=1", "resume=true", "json=true")
    again = subprocess.run([sys.executable, "-c", runs.MAIN, *words], check=False, stdout=subprocess.PIPE, text=True)
    assert json.loads(again.stdout)["pictures"] == 3
    assert lines(there) == lines(here)


def _kill_one_worker(started: subprocess.Popen[str], out: Path) -> None:
    """Kills a predictor of the job as soon as there is an answer."""
    end = time.monotonic() + 240
    while time.monotonic() < end and started.poll() is None:
        if any(out.glob("*.jpg")):
            workers = [
                int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is_worker(entry)
            ]
            if workers:
                os.kill(workers[0], signal.SIGKILL)
                return
        time.sleep(0.05)
    raise AssertionError("no worker was seen at work")


def _is_worker(process: Path) -> bool:
    try:
        return b"ray::MapWorker" in (process / "cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["engine=rai"], "did you mean 'ray'"),
        (["engine=ray", "track=true"], "without track=true"),
        (["engine=ray", "actors=0"], "actors=0 is below the least"),
        (["engine=ray", "model=absent"], "model=absent"),
    ],
)
def test_refused(
    command: runs.Command, trained: Path, photos: Path, tmp_path: Path, words: list[str], reason: str
) -> None:
    said = command(*job(trained, photos, tmp_path / "out"), *words)
    assert said.code == 2
    assert reason in said.err
