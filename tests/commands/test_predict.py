"""``yolor-mtl predict`` on a folder: pictures, PNGs, one line each, and what could not be read."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from PIL import Image
from pycocotools import mask as coco_mask

from yolor_mtl.inference.video import FilmWriter
from yolor_mtl.inference.video import film as read_film


@pytest.fixture
def photos(scenes: Path, tmp_path: Path) -> Path:
    """Two pictures of one stem, one more, a truncated one and an empty one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    first, second, third = sorted((scenes / "val").glob("*.jpg"))[:3]
    shutil.copy(first, folder / "a.jpg")
    Image.open(second).save(folder / "a.png")
    shutil.copy(third, folder / "b.jpg")
    (folder / "cut.jpg").write_bytes(first.read_bytes()[: first.stat().st_size // 3])
    (folder / "empty.png").write_bytes(b"")
    return folder


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_folder_with_broken_pictures(command: runs.Command, trained: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = command("predict", f"model={trained}", f"source={photos}", f"out={out}", "conf=0", "max_det=3", "batch=2")
    assert said.code == 1
    assert "cut.jpg" in said.out
    assert "0 bytes" in said.out
    failures = json.loads((out / "failures.json").read_text())
    assert [Path(entry["path"]).name for entry in failures] == ["cut.jpg", "empty.png"]
    assert all(entry["reason"] for entry in failures)
    found = lines(out)
    assert [Path(line["path"]).name for line in found] == ["a.jpg", "a.png", "b.jpg"]
    assert sorted(path.name for path in out.glob("*.jpg")) == ["a-2.jpg", "a.jpg", "b.jpg"]
    for line, stem in zip(found, ("a", "a-2", "b"), strict=True):
        check_line(line, out, stem)


def check_line(line: dict[str, Any], out: Path, stem: str) -> None:
    assert line.keys() == {"schema", "path", "height", "width", "detections", "semantic", "panoptic", "caption"}
    size = (line["height"], line["width"])
    with Image.open(line["path"]) as picture:
        assert (picture.height, picture.width) == size
    assert len(line["detections"]) == 3
    for detection in line["detections"]:
        assert detection.keys() == {"class_id", "class", "score", "xyxy", "mask"}
        assert coco_mask.decode(detection["mask"]).shape == size
    assert line["semantic"]["png"] == f"semantic/{stem}.png"
    assert line["panoptic"]["png"] == f"panoptic/{stem}.png"
    semantic = np.array(Image.open(out / line["semantic"]["png"]))
    assert semantic.shape == size
    assert {str(value) for value in np.unique(semantic)} == set(line["semantic"]["classes"])
    assert sum(line["semantic"]["classes"].values()) == pytest.approx(1, abs=1e-4)
    rgb = np.array(Image.open(out / line["panoptic"]["png"])).astype(int)
    ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
    assert set(np.unique(ids)) - {0} == {segment["id"] for segment in line["panoptic"]["segments"]}
    assert line["caption"].keys() == {"text", "score"}


def test_two_ways_to_write_keys_and_pure_json(
    command: runs.Command, trained: Path, scenes: Path, tmp_path: Path
) -> None:
    keys = {"model": trained, "source": scenes / "val", "tasks": "[semantic]", "out": tmp_path / "a"}
    one = command("predict", *(f"{key}={value}" for key, value in keys.items()), "--json")
    keys["out"] = tmp_path / "b"
    two = command("predict", *(word for key, value in keys.items() for word in (f"--{key}", str(value))), "json=true")
    assert one.code == two.code == 0
    assert one.json() == {"out": str(tmp_path / "a"), "pictures": 4, "failures": []}
    assert two.json()["pictures"] == 4
    assert lines(tmp_path / "a") == lines(tmp_path / "b")
    assert not (tmp_path / "a" / "failures.json").exists()


def test_what_is_said(command: runs.Command, trained: Path, photos: Path, tmp_path: Path) -> None:
    said = command("predict", f"model={trained}", f"source={photos / 'b.jpg'}", f"out={tmp_path / 'out'}")
    assert said.code == 0
    assert f"{tmp_path / 'out' / 'b.jpg'}  " in said.out
    assert "1 pictures" in said.out or "1 picture" in said.out


def test_a_film(command: runs.Command, trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="films need PyAV: pip install 'yolor-mtl[video]'")
    film, out = tmp_path / "my film.mp4", tmp_path / "out"
    writer = FilmWriter(film, 10)
    for shade in (50, 100, 150, 200, 250):
        writer.add(Image.new("RGB", (64, 48), (shade, 90, 90)))
    writer.close()
    said = command("predict", f"model={trained}", f"source={film}", f"out={out}", "batch=2", "conf=0", "max_det=2")
    assert said.code == 0
    assert "5 frames as" in said.out
    assert sorted(path.name for path in out.iterdir()) == ["my-film.mp4", "predictions.jsonl"]
    assert [(line["frame"], line["time"]) for line in lines(out)] == [(n, n / 10) for n in range(5)]
    assert [frame.number for frame in read_film(out / "my-film.mp4")] == list(range(5))
    refused = command("predict", f"model={trained}", f"source={film}", f"out={tmp_path}")
    assert refused.code == 2
    assert "overwritten" in refused.err


def test_words_in_the_record(command: runs.Command, trained: Path, photos: Path, tmp_path: Path) -> None:
    keys = {"model": trained, "source": photos / "b.jpg", "out": tmp_path / "out", "attention": "true", "conf": 0}
    assert command("predict", *(f"{key}={value}" for key, value in keys.items())).code == 0
    (line,) = lines(tmp_path / "out")
    spelled = line["caption"]["words"]
    assert "".join(word["word"] for word in spelled) == line["caption"]["text"].replace(" ", "")
    for word in spelled:
        heat = np.array(word["heat"])
        assert heat.ndim == 2
        assert 0 <= heat.min() <= heat.max() <= 1
        assert word["box"] is None or 0 <= word["box"] < len(line["detections"])


def test_a_list_with_a_gap(command: runs.Command, trained: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("photos/a.jpg\nphotos/absent.jpg\n")
    said = command("predict", f"model={trained}", f"source={tmp_path / 'list.txt'}", f"out={tmp_path / 'out'}")
    assert said.code == 1
    assert "absent.jpg: no such file" in said.out
    assert [Path(line["path"]).name for line in lines(tmp_path / "out")] == ["a.jpg"]


def test_what_an_earlier_run_left_is_told(command: runs.Command, trained: Path, photos: Path, tmp_path: Path) -> None:
    words = ["predict", f"model={trained}", f"source={photos / 'b.jpg'}", f"out={tmp_path / 'out'}", "tasks=[semantic]"]
    assert "earlier run" not in command(*words).err
    assert "had 1 lines of an earlier run" in " ".join(command(*words).err.split())
    assert "earlier run" not in command(*words, "resume=true").err
    assert len(lines(tmp_path / "out")) == 1
