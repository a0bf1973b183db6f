"""Films: read frame by frame, written again, broken frames and all."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import runs
from PIL import Image

from yolor_mtl import YOLORMTL
from yolor_mtl.data.image import UnreadableImageError
from yolor_mtl.inference.sources import Shot, open_source
from yolor_mtl.inference.video import Film, FilmWriter, camera, film
from yolor_mtl.records import UserError

pytest.importorskip("av", reason="films need PyAV: pip install 'yolor-mtl[video]'")

SIZE = (64, 48)


def grey(number: int) -> Image.Image:
    """A frame whose brightness says its number."""
    return Image.new("RGB", SIZE, (40 + 8 * number,) * 3)


def noise(number: int) -> Image.Image:
    """A frame that takes many bytes, the same at every call."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8))


def made(path: Path, frames: int = 20, rate: float = 10.0, picture: Callable[[int], Image.Image] = grey) -> Path:
    writer = FilmWriter(path, rate)
    for number in range(frames):
        writer.add(picture(number))
    writer.close()
    return path


def test_a_film_comes_back(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mp4")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]
    opened = film(path)
    assert (opened.total, opened.rate) == (20, 10.0)
    frames = list(opened)
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.time for frame in frames] == pytest.approx([number / 10 for number in range(20)])
    for number, frame in enumerate(frames):
        picture = frame.read()
        assert picture.shape == (3, 48, 64)
        assert picture.float().mean() == pytest.approx(40 + 8 * number, abs=4)


def test_odd_sizes_and_frames_of_another_size(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mp4", 3, picture=lambda number: Image.new("RGB", (31 + number, 17), (200, 30, 30)))
    assert {tuple(frame.read().shape) for frame in film(path)} == {(3, 18, 32)}


def test_a_film_of_nothing_is_no_file(tmp_path: Path) -> None:
    FilmWriter(tmp_path / "a.mp4", 25).close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_film(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("text.mp4", "empty.mp4"):
        with pytest.raises(UserError, match=f"{name}: not a film"):
            film(tmp_path / name)
    with pytest.raises(UserError, match="source=97"):
        camera(97)


def broken(path: Path) -> Path:
    """The film with other bytes in its middle, the same at every call."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = random.Random(0).randbytes(3000)
    path.write_bytes(data)
    return path


def read_all(path: Path) -> tuple[dict[int | None, np.ndarray], list[int | None]]:
    """The frames that can be read, by number, and the numbers of those that cannot."""
    read, lost = {}, []
    for shot in open_source(str(path)).shots:
        try:
            read[shot.frame] = np.asarray(shot.read())
        except UnreadableImageError:
            lost.append(shot.frame)
    return read, lost


def test_case_16_a_broken_film_gives_what_it_has(tmp_path: Path) -> None:
    """Bytes in the middle are overwritten: some frames are lost, none is invented, and it ends."""
    read, lost = read_all(broken(made(tmp_path / "a.mp4", 40, picture=noise)))
    assert lost
    assert 10 < len(read) < 40
    assert 39 <= len(read) + len(lost) <= 41


def test_case_16_predict_lists_broken_frames(command: runs.Command, trained: Path, tmp_path: Path) -> None:
    path, out = broken(made(tmp_path / "a.mp4", 20, picture=noise)), tmp_path / "out"
    read, lost = read_all(path)
    words = [f"model={trained}", f"source={path}", f"out={out}", "tasks=[detection]", "device=cpu", "half=false"]
    said = command("predict", *words)
    assert said.code == 1
    failures = json.loads((out / "failures.json").read_text(encoding="utf-8"))
    assert [(entry["path"], entry["frame"]) for entry in failures] == [(str(path), number) for number in lost]
    assert failures
    assert all(entry["reason"].startswith("a broken frame: ") for entry in failures)
    assert f"{path} frame {lost[0]}: a broken frame" in said.out
    answers = (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["frame"] for line in answers] == list(read)


def test_case_16_a_film_that_is_cut_off(command: runs.Command, trained: Path, tmp_path: Path) -> None:
    """What came before the end of a stream is answered. An MP4 has its table at its end: without it, it is none."""
    whole, cut = made(tmp_path / "a.mkv", 20, picture=noise), tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    wanted, _ = read_all(whole)
    read, lost = read_all(cut)
    assert len(wanted) == 20
    assert 5 < len(read) < 15
    assert lost
    assert list(read) + lost == list(range(len(read) + len(lost)))
    # The last one may lack a part of itself.
    assert all(np.array_equal(read[number], wanted[number]) for number in list(read)[:-1])
    words = [f"model={trained}", f"out={tmp_path / 'out'}", "tasks=[detection]", "device=cpu", "half=false"]
    said = command("predict", *words, f"source={cut}")
    assert said.code == 1
    assert re.search(
        rf"frame {lost[-1]}: the film ends after (0\.\d|1\.\d) s of the 2\.0 s that it says it has", said.out
    )
    answers = (tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["frame"] for line in answers] == list(read)
    table = made(tmp_path / "b.mp4", 20, picture=noise)
    table.write_bytes(table.read_bytes()[: table.stat().st_size * 6 // 10])
    runs.refused(command("predict", *words, f"source={table}"), "b.mp4: not a film that can be read")


def sounding(path: Path, codec: str, frames: int = 40) -> Path:
    """Four seconds of pictures that need many bytes, and half a second more of silence."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        pictures, sound = container.add_stream(codec, rate=10), container.add_stream("libmp3lame", rate=44100)
        pictures.width, pictures.height, pictures.pix_fmt = *SIZE, "yuv420p"
        for number in range(frames + 5):
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 44100, number * 4410
            container.mux(sound.encode(tone))
            if number < frames:
                container.mux(pictures.encode(av.VideoFrame.from_image(noise(number))))
        for stream in (pictures, sound):
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.mkv", "a.avi"])
def test_an_early_end_is_told_and_a_whole_film_is_whole(tmp_path: Path, name: str) -> None:
    """FFmpeg says nothing of the former; the sound may go on longer than the pictures."""
    whole, cut = sounding(tmp_path / name, "mpeg4"), tmp_path / f"cut-{name}"
    frames = list(film(whole))
    assert len(frames) == 40
    assert all(frame.read().shape == (3, *SIZE[::-1]) for frame in frames)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    *_, last = film(cut)
    with pytest.raises(UnreadableImageError, match=r"ends after [12]\.\d s of the 4\.\d s that it says it has"):
        last.read()


def test_a_model_over_a_film(trained: Path, tmp_path: Path) -> None:
    path = made(tmp_path / "a.mp4", 7)
    model = YOLORMTL(trained, device="cpu", half=False)
    found = list(model.stream(path, conf=0.0, max_det=2, batch=3))
    assert [(result.frame, result.path) for result in found] == [(number, str(path)) for number in range(7)]
    assert [result.to_json()["time"] for result in found] == pytest.approx([number / 10 for number in range(7)])
    # One picture after the other says the same.
    alone = model.predict(found[5].image, conf=0.0, max_det=2)[0]
    assert np.allclose(alone.boxes.xyxy, found[5].boxes.xyxy, atol=1e-2)
    assert alone.caption == found[5].caption


def test_nothing_is_read_ahead_of_a_batch(trained: Path) -> None:
    read: list[int] = []

    def shot(number: int) -> Shot:
        def picture() -> object:
            read.append(number)
            return np.zeros((48, 64, 3), np.uint8)

        return Shot(str(number), picture)  # type: ignore[arg-type]

    model = YOLORMTL(trained, device="cpu", half=False, tasks=["semantic"])
    pictures = (np.zeros((48, 64, 3), np.uint8) for number in range(100) if not read.append(number))
    results = model.stream(pictures, batch=2)
    next(results)
    assert read == [0, 1]


def test_films_know_their_rate() -> None:
    assert Film("camera 0", 30.0, None, lambda: None).rate == 30.0


@pytest.mark.torture
def test_case_16_memory_does_not_grow_with_a_film(trained: Path, tmp_path: Path) -> None:
    """Two hundred frames and two thousand: the same greatest memory within a twentieth."""
    peaks = []
    for frames in (200, 2000):
        path = made(tmp_path / f"{frames}.mp4", frames, picture=lambda number: grey(number % 20))
        out = tmp_path / f"out-{frames}"
        words = ["predict", f"model={trained}", f"source={path}", f"out={out}", "device=cpu", "half=false"]
        said = runs.python(
            "from yolor_mtl.cli import main\n"
            f"assert main({[*words, 'conf=0', 'max_det=5', 'track=true', 'json=true']!r}) == 0\n"
            "status = open('/proc/self/status').read().split()\n"
            "print(status[status.index('VmHWM:') + 1])\n"
        )
        peaks.append(int(said.split()[-1]))
        assert len((out / "predictions.jsonl").read_text().splitlines()) == frames
    print(f"greatest memory over 200 and 2,000 frames: {peaks[0]} and {peaks[1]} kB")
    assert peaks[1] <= peaks[0] * 1.05
