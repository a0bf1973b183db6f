"""Faults that users of this field's tools report year after year, whole commands each.

The number of a case is in the name of every test of it, here and in the other files: ``pytest -k case_08``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

import coco_builder as coco
import numpy as np
import pytest
import runs
from PIL import Image
from sideways import STORED, saved

from yolor_mtl import YOLORMTL
from yolor_mtl.inference import exporter
from yolor_mtl.inference.model import load_weights
from yolor_mtl.inference.tracing import Traced
from yolor_mtl.models.weights import read_weights
from yolor_mtl.records import UserError
from yolor_mtl.training.history import read_rows

NAMES = {90: "toothbrush", 3: "car", 7: "train"}


def pictures(folder: Path, number: int, size: tuple[int, int] = (40, 30)) -> list[coco.Json]:
    """Noise in ``folder``, and its entries."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    entries = [coco.image(n, width=size[0], height=size[1]) for n in range(1, number + 1)]
    for entry in entries:
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize(size).save(folder / entry["file_name"], quality=60)
    return entries


def labelled(root: Path, things: dict[int, int], categories: list[coco.Json], number: int = 4) -> Path:
    """Splits train and val of ``number`` pictures; ``things``: picture -> its object's category."""
    for name in ("train", "val"):
        entries = pictures(root / "images" / name, number)
        objects = [coco.thing(n, picture, category) for n, (picture, category) in enumerate(things.items(), 1)]
        coco.split(root, name, instances=coco.instances(entries, objects, categories))
    return root


def test_case_01_one_picture_stored_eight_ways(
    command: runs.Command, trained: Path, scenes: Path, tmp_path: Path
) -> None:
    """The picture is the same whichever way its pixels lie in the file: so is every answer. Where a file was annotated
    as it is stored, sizes that are swapped by that are found."""
    upright = np.array(Image.open(next((scenes / "val").glob("*.jpg"))))[:60, :48]
    data = tmp_path / "data"
    (data / "images" / "train").mkdir(parents=True)
    entries = []
    for number, turned in STORED.items():
        stored = Image.fromarray(np.ascontiguousarray(turned(upright)))
        (data / "images" / "train" / f"{number:06d}.png").write_bytes(saved(stored, "PNG", number))
        entry = coco.image(number, width=stored.width, height=stored.height)
        entries.append({**entry, "file_name": f"{number:06d}.png"})
    words = [f"model={trained}", f"source={data / 'images' / 'train'}", "conf=0", "max_det=5", "half=false"]
    assert command("predict", *words, f"out={tmp_path / 'out'}").code == 0
    told = (tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    first, *others = [{**json.loads(line), "path": "", "semantic": None, "panoptic": None} for line in told]
    assert len(first["detections"]) == 5
    assert all("counts" in entry["mask"] for entry in first["detections"])
    assert first["caption"]["text"]
    assert others == [first] * 7
    for kind in ("semantic", "panoptic"):
        maps = [np.array(Image.open(path)) for path in sorted((tmp_path / "out" / kind).iterdir())]
        assert len(maps) == 8
        assert all(np.array_equal(found, maps[0]) for found in maps)
    objects = [coco.thing(number, number, bbox=[1, 1, 9, 9]) for number in STORED]
    coco.split(data, "train", instances=coco.instances(entries, objects))
    found = command("data", "check", str(data), "--json").json()["findings"]
    swapped = [entry for entry in found if entry["check"] == "image-rotated"]
    assert sorted(Path(entry["file"]).stem for entry in swapped) == ["000005", "000006", "000007", "000008"]


@pytest.mark.parametrize("names", [NAMES, {0: "cat", 1: "dog"}], ids=["gaps, unsorted", "from zero"])
def test_case_02_names_from_the_file_to_the_answer(
    command: runs.Command, tmp_path: Path, names: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an answer, in result files, in an exported folder, and for those who ask for COCO's ids, a class is what its
    file says it is."""
    categories = [{"id": number, "name": name} for number, name in names.items()]
    data = labelled(tmp_path / "data", dict(enumerate(names, 1)), categories)
    run = tmp_path / "run"
    assert command("train", *runs.words(data=data, out=run, epochs=1, tasks="[detection]")).code == 0
    model = YOLORMTL(run, device="cpu")
    assert set(model.names.values()) == set(names.values())
    picture = next((data / "images" / "val").glob("*.jpg"))
    result = model.predict(picture, conf=0.0, max_det=50)[0]
    record = result.to_json()["detections"]
    rows = result.to_coco(1)
    assert len(rows) == len(record) > 0
    assert {names[row["category_id"]] for row in rows} == {entry["class"] for entry in record}
    assert all(names[row["category_id"]] == entry["class"] for row, entry in zip(rows, record, strict=True))
    found = command("val", f"model={run}", f"data={data}", f"out={tmp_path / 'val'}", "conf=0", "plots=0", "workers=0")
    assert found.code == 0
    written = json.loads((tmp_path / "val" / "detections.json").read_text())
    assert {entry["category_id"] for entry in written} <= set(names)
    # What is written beside the graphs is asked for, and not the graphs, which would take minutes.
    monkeypatch.setattr(exporter, "trace_vision", lambda *given: Traced(None, {}, {}))  # type: ignore[arg-type]
    monkeypatch.setattr(exporter, "_written", lambda *given: exporter.GraphMeta("model.onnx", {}, {}))
    folder = tmp_path / "exported"
    folder.mkdir()
    exporter.write_graphs(load_weights(str(run), []), folder, "onnx", 64, "auto", lambda name: None)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    things = meta["label_space"]["things"]
    assert {entry["id"]: entry["name"] for entry in things} == names
    assert meta["names"] == {str(index): entry["name"] for index, entry in enumerate(things)}
    assert {int(index): name for index, name in meta["names"].items()} == model.names


def test_case_04_pictures_without_objects_are_counted(command: runs.Command, tmp_path: Path) -> None:
    """Three of ten have no object: all ten are there, and the three are told."""
    full = [1, 2, 4, 5, 7, 8, 10]
    data = labelled(tmp_path / "data", dict.fromkeys(full, 1), [{"id": 1, "name": "cat"}], number=10)
    said = command("train", *runs.words(data=data, out=tmp_path / "run", epochs=1, tasks="[detection]"))
    assert said.code == 0, said.err
    assert "train train: 10 pictures, labelled for boxes 10" in said.out
    assert "val val: 10 pictures, labelled for boxes 10" in said.out
    assert said.out.count("  3 pictures are labelled as without objects") == 2


def test_case_04_nothing_but_empty_images(command: runs.Command, tmp_path: Path) -> None:
    """A set without a single object trains, all negatives; that there is nothing to score is said, and nothing lost."""
    data = labelled(tmp_path / "data", {}, [{"id": 1, "name": "cat"}])
    said = command("train", *runs.words(data=data, out=tmp_path / "run", epochs=1, tasks="[detection]"))
    assert said.code == 0
    assert "4 pictures are labelled as without objects" in said.out
    assert "nothing to score in split val" in said.out
    assert YOLORMTL(tmp_path / "run", device="cpu").predict(next((data / "images" / "val").glob("*.jpg")))
    losses = read_rows(tmp_path / "run" / "losses.csv")
    assert losses
    assert all(np.isfinite(row["detection"]) for row in losses)


ODD_BOXES = {
    "without area": [5, 5, 0, 7],
    "outside": [60, 3, 9, 9],
    "inverted": [30, 20, -9, -9],
    "tiny": [5, 5, 1e-7, 1e-7],
    "a thousandth": [20, 9, 1e-3, 12],
    "of one point": [39.9999999, 3, 5, 5],
}


@pytest.mark.parametrize("half", ["true", "false"])
def test_case_06_odd_boxes_are_counted_and_do_no_harm(command: runs.Command, tmp_path: Path, half: str) -> None:
    data = labelled(tmp_path / "data", {1: 1, 2: 1}, [{"id": 1, "name": "cat"}])
    path = data / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    for number, box in enumerate(ODD_BOXES.values(), 10):
        content["annotations"] += [coco.thing(number, 3, bbox=box), coco.thing(number + 100, 1, bbox=box)]
    path.write_text(json.dumps(content))
    run = tmp_path / "run"
    said = command("train", *runs.words(data=data, out=run, epochs=2, tasks="[detection]", half=half))
    assert said.code == 0, said.err
    assert "6 boxes without area left out" in said.out
    losses = read_rows(run / "losses.csv")
    assert losses
    assert all(np.isfinite(row["detection"]) for row in losses)
    for tensor in read_weights(run / "best.safetensors")[0].values():
        assert tensor.isfinite().all()


MASKS, SMALL, FULL = 300, (160, 120), (4000, 3000)


def crowded(picture: int, size: tuple[int, int], categories: list[coco.Json]) -> list[coco.Json]:
    """Half of ``MASKS`` objects on a grid: the same share of a picture of any size."""
    factor = size[0] / SMALL[0]
    objects = []
    for place in range(MASKS // 2):
        left, top, side = (value * factor for value in (2 + place % 15 * 10, 2 + place // 15 * 11, 8))
        right, bottom, tip = left + side, top + side, left + side / 2
        shape = {"bbox": [left, top, side, side], "area": side * side / 2}
        shape["segmentation"] = [[left, bottom, tip, top, right, bottom]]
        number = picture * MASKS + place
        objects.append(coco.thing(number, picture, categories[place % len(categories)]["id"], **shape))
    return objects


def test_case_09_memory_of_an_evaluation_of_full_size_pictures(trained: Path, scenes: Path, tmp_path: Path) -> None:
    """Three hundred objects, and as many answers a picture: masks of twelve megapixels would take 3.6 GB as they are;
    an evaluation takes less than 400 MB more than one of small pictures."""
    peaks = []
    truth = json.loads((scenes / "annotations" / "instances_val.json").read_text())
    for size in (SMALL, FULL):
        data = tmp_path / str(size[0])
        entries = pictures(data / "images" / "val", 2, size)
        objects = [thing for picture in (1, 2) for thing in crowded(picture, size, truth["categories"])]
        assert len(objects) == MASKS
        coco.split(data, "val", instances=coco.instances(entries, objects, truth["categories"]))
        words = ["val", f"model={trained}", f"data={data}", f"out={data / 'out'}", "tasks=[detection,instance]"]
        more = [
            "conf=0",
            "iou=1",
            "imgsz=160",
            f"max_det={MASKS}",
            "plots=0",
            "extremes=0",
            "workers=0",
            "half=false",
            "json=true",
        ]
        said = runs.python(
            "from yolor_mtl.cli import main\n"
            f"assert main({[*words, *more]!r}) == 0\n"
            "status = open('/proc/self/status').read().split()\n"
            "print(status[status.index('VmHWM:') + 1])\n"
        )
        peaks.append(int(said.split()[-1]) * 1024)
        assert len(json.loads((data / "out" / "segmentations.json").read_text())) == 2 * MASKS
    assert peaks[1] - peaks[0] < 400 * 2**20


def test_case_11_a_threshold_that_spoils_ap_is_said(
    command: runs.Command, trained: Path, scenes: Path, tmp_path: Path
) -> None:
    words = [f"model={trained}", f"data={scenes}", f"out={tmp_path}", "tasks=[detection]", "plots=0", "workers=0"]
    assert "cuts the precision curve off" in command("val", *words, "conf=0.25").out
    assert "precision curve" not in command("val", *words).out


def test_case_18_another_vocabulary_is_refused(trained: Path, tmp_path: Path) -> None:
    """Weights whose words were exchanged after they were written do not load."""
    weights = tmp_path / "a.safetensors"
    shutil.copy(trained / "best.safetensors", weights)
    words = json.loads(json.loads(read_weights(weights)[1]["label_space"])["vocabulary"])["model"]["vocab"]
    longest = max((word for word in words if word.isalpha()), key=len)
    content = weights.read_bytes()
    assert longest.encode() in content
    weights.write_bytes(content.replace(longest.encode(), longest[::-1].encode()))
    with pytest.raises(UserError, match="was altered"):
        YOLORMTL(weights)


@pytest.mark.torture
@pytest.mark.parametrize("versions", ["lowest", "highest"])
def test_case_19_the_wheel_in_an_empty_environment(tmp_path: Path, versions: str) -> None:
    """Built, installed beside nothing, with the oldest or the newest of what it needs: it predicts, with no display and
    no network."""
    root = Path(__file__).resolve().parents[1]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(root)], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    needed = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    lowest = [each.replace(">=", "==") for each in needed] if versions == "lowest" else []
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("\n".join(lowest), encoding="utf-8")
    subprocess.run([str(python), "-m", "pip", "install", "-q", "-c", str(constraints), str(wheel)], check=True)
    Image.new("RGB", (64, 48), (90, 120, 200)).save(tmp_path / "a.png")
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "from yolor_mtl import YOLORMTL\n"
        f"print(YOLORMTL('scenes-nano').predict({str(tmp_path / 'a.png')!r})[0].summary())\n"
    )
    said: Any = subprocess.run(
        [str(python), "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert '"' in said.stdout
