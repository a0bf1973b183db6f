"""``yolor-mtl convert``, and published checkpoints in the other verbs."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import runs
import torch
from checkpoints import labelled_pictures, publish, published_state, untrained
from released import images
from safetensors.torch import load_file

from yolor_mtl.build import load_model
from yolor_mtl.models import weights as weights_module

NAME = "gelan-c-pan"
TENSORS = 1005


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("published") / "gelan-c-pan.pt", published_state(NAME), half=True)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tensors too few, one too many and one of another shape."""
    state = published_state(NAME)
    del state["model.0.conv.weight"], state["model.5.cv1.conv.weight"]
    state["model.22.uconv.cv2.more"] = torch.ones(2)
    state["model.1.bn.bias"] = torch.ones(3)
    return publish(tmp_path_factory.mktemp("published") / "faulty.pt", state, half=True)


def test_a_table_and_the_same_outputs(command: runs.Command, published: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.safetensors"
    said = command("convert", str(published), str(out))
    assert (said.code, said.err) == (0, "")
    cells = [[part.strip() for part in line.split("│")[1:-1]] for line in said.out.splitlines() if "│" in line]
    assert cells == [
        ["weights from", "model"],
        ["tensors there", str(TENSORS)],
        ["used", str(TENSORS)],
        ["unused", "0"],
        ["missing", "0"],
        ["of another shape", "0"],
    ]
    assert NAME in said.out
    assert f"{out}: 1" in said.out
    assert "detection, instance, semantic, panoptic" in said.out
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    with torch.inference_mode():
        wanted = untrained(NAME).network(images())["semantic"]["logits"]
        assert torch.equal(load_model(out).network(images())["semantic"]["logits"], wanted)


def test_a_training_for_other_classes_starts_from_it(
    command: runs.Command, published: Path, scenes: Path, tmp_path: Path
) -> None:
    out, run = tmp_path / "start.safetensors", tmp_path / "run"
    assert command("convert", str(published), str(out), "branches=true").code == 0
    keys = {**runs.KEYS, "weights": out, "data": scenes, "out": run, "epochs": 1, "batch": 2, "lr": 1e-5, "ema": 0}
    said = command("train", *(f"{key}={value}" for key, value in keys.items()), "plots=0", "samples=0", "warmup=0")
    assert said.code == 0, said.err
    assert "begin anew" in " ".join(said.out.split())
    started, learnt = load_file(out), load_file(run / "best.safetensors")
    trunk = [name for name in started if name.startswith("trunk.") and started[name].is_floating_point()]
    assert trunk
    assert all(name in learnt and learnt[name].shape == started[name].shape for name in trunk)
    # Six steps of so small a rate leave the trunk nearly what it was.
    moved = torch.cat([(learnt[name].float() - started[name].float()).flatten() for name in trunk if "weight" in name])
    whole = torch.cat([started[name].float().flatten() for name in trunk if "weight" in name])
    assert 0 < moved.norm() < 0.05 * whole.norm()
    assert command("val", f"model={run}", f"data={scenes}", "split=val", f"out={tmp_path / 'scores'}").code == 0


def test_the_report_as_json(command: runs.Command, published: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    said = command("convert", f"source={published}", f"out={out}", "tasks=[semantic]", "--json")
    report = said.json()
    assert said.code == 0
    dropped = report.pop("dropped")
    assert sum(dropped.values()) + report["used"] == report["tensors"] == TENSORS
    assert dropped.keys() >= {"heads.detection", "heads.instance"}
    assert report == {
        "source": str(published),
        "out": str(out),
        "release": NAME,
        "part": "model",
        "tasks": ["semantic"],
        "tensors": TENSORS,
        "used": report["used"],
        "added": [],
        "unused": [],
        "missing": [],
        "misfits": [],
    }


LISTED = (
    "unused: model.22.uconv.cv2.more",
    "missing: trunk.backbone.stem.0.conv.weight",
    "missing: trunk.backbone.downs.1.strided.conv.weight",
    "of another shape: model.1.bn.bias: (3,) where (128,) is needed",
)


def test_every_key_that_does_not_fit_is_listed(command: runs.Command, faulty: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    said = command("convert", str(faulty), str(out))
    runs.refused(said, "1 unused", "3 missing", "strict=false uses the file all the same")
    assert not out.exists()
    for line in LISTED:
        assert line in said.out
    said = command("convert", str(faulty), str(out), "strict=false")
    assert said.code == 0
    assert all(line in said.out for line in LISTED)
    assert "what is missing keeps untrained values" in said.err
    assert load_model(out).space.names == untrained(NAME).space.names


def test_what_is_written_over(command: runs.Command, published: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    out.write_text("mine")
    runs.refused(command("convert", str(published), str(out)), f"out={out} is there already", "overwrite=true")
    assert out.read_text() == "mine"
    assert command("convert", str(published), str(out), "--overwrite").code == 0
    assert load_model(out).config.imgsz == 640


REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "nothing": ([], ["two files are needed", "convert gelan-c-pan.pt gelan-c-pan.safetensors"]),
    "no out": (["{pt}"], ["two files are needed"]),
    "absent": (["{tmp}/absent.pt", "{tmp}/o.safetensors"], ["no checkpoint", "absent.pt"]),
    "source's ending": (["{tmp}/a.onnx", "{tmp}/o.safetensors"], ["a.onnx", ".pt or .pth or .safetensors"]),
    "out's ending": (["{pt}", "{tmp}/o.pt"], ["o.pt", "choose", "o.safetensors"]),
    "the same file": (["{pt}", "{pt}", "overwrite=true"], ["is the file to read"]),
    "the same file by a link": (["{pt}", "{tmp}/link.safetensors", "overwrite=true"], ["is the file to read"]),
    "a folder": (["{pt}", "{tmp}/folder.safetensors", "overwrite=true"], ["folder.safetensors is a folder"]),
    "in no folder": (["{pt}", "{tmp}/text/o.safetensors"], ["text"]),
    "no checkpoint": (["{tmp}/text.pt", "{tmp}/o.safetensors"], ["text.pt", "is not a zip file"]),
    "no release": (["{tmp}/other.pt", "{tmp}/o.safetensors"], ["other.pt", "no release", NAME]),
    "a task": (["{pt}", "{tmp}/o.safetensors", "tasks=[captioning]"], ["no task 'captioning'", "detection"]),
    "words": (["{pt}", "{tmp}/o.safetensors", "vocab={tmp}/text"], ["writes no captions", "leave vocab= out"]),
    "words are absent": (["{pt}", "{tmp}/o.safetensors", "vocab={tmp}/none"], ["vocab=", "no such file"]),
    "numbers": (["{pt}", "{tmp}/o.safetensors", "dtype=float8"], ["dtype=float8", "float32, float16"]),
    "key": (["{pt}", "{tmp}/o.safetensors", "overwrit=true"], ["overwrit", "did you mean 'overwrite'?"]),
}


@pytest.mark.parametrize(("given", "parts"), REFUSED.values(), ids=list(REFUSED))
def test_refused(command: runs.Command, published: Path, tmp_path: Path, given: list[str], parts: list[str]) -> None:
    (tmp_path / "link.safetensors").symlink_to(published)
    (tmp_path / "folder.safetensors").mkdir()
    for name in ("text", "text.pt"):
        (tmp_path / name).write_text("text")
    torch.save({"a.weight": torch.ones(3)}, tmp_path / "other.pt")
    before = published.read_bytes()
    runs.refused(command("convert", *(word.format(pt=published, tmp=tmp_path) for word in given)), *parts)
    assert not (tmp_path / "o.safetensors").exists()
    assert published.read_bytes() == before


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of more than 10 MB can be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room(command: runs.Command, published: Path, tmp_path: Path, small_files: None) -> None:
    """Exit code and message name the file and the reason; what was there stays, and nothing half-written does."""
    out = tmp_path / "out.safetensors"
    out.write_text("mine")
    said = command("convert", str(published), str(out), "--overwrite")
    assert said.code == 3
    assert said.err == f"stopped: {out}: File too large; make room there\n"
    assert out.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]


def test_a_full_disk(command: runs.Command, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise weights_module.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(weights_module, "save_file", fail)
    said = command("convert", str(published), str(tmp_path / "out.safetensors"))
    assert said.code == 3
    assert said.err == f"stopped: {tmp_path / 'out.safetensors'}: No space left on device; make room there\n"
    assert list(tmp_path.iterdir()) == []


# The other verbs take the published file itself.


def test_predict_and_val(command: runs.Command, published: Path, faulty: Path, tmp_path: Path) -> None:
    data = labelled_pictures(tmp_path / "data")
    keys = ["imgsz=64", "device=cpu", "half=false", "max_det=5"]
    source = f"source={data / 'images' / 'val'}"
    said = command("predict", f"model={published}", source, f"out={tmp_path / 'p'}", "conf=0", *keys)
    assert (said.code, said.err) == (0, "")
    lines = [json.loads(line) for line in (tmp_path / "p" / "predictions.jsonl").read_text().splitlines()]
    assert [len(line["detections"]) for line in lines] == [5, 5]
    scored = ["val", f"data={data}", f"out={tmp_path / 'v'}", "plots=0", "extremes=0", "workers=0", "conf=0", *keys]
    said = command(*scored, f"model={published}", "--json")
    assert (said.code, said.err) == (0, "")
    assert 0 <= said.json()["box/AP"] <= 1
    runs.refused(command(*scored, f"model={faulty}"), "faulty.pt", "tensors do not fit", "strict=false")
    said = command(*scored, f"model={faulty}", "strict=false", "tasks=[detection]", "--json")
    assert "note: " in said.err
    assert "is used as gelan-c-pan although" in " ".join(said.err.split())
    assert "box/AP" in said.json()


def test_weights_of_ours_made_smaller(command: runs.Command, trained: Path, tmp_path: Path) -> None:
    whole, out = trained / "best.safetensors", tmp_path / "half.safetensors"
    said = command("convert", str(whole), str(out), "dtype=float16", "tasks=[detection,semantic]", "imgsz=96")
    assert said.code == 0
    assert "half.safetensors" in said.out
    assert out.stat().st_size < 0.55 * whole.stat().st_size
    before, after = load_model(whole, ["detection", "semantic"]), load_model(out)
    assert [task.name for task in after.tasks] == ["detection", "semantic"]
    assert (before.config.imgsz, after.config.imgsz) == (64, 96)
    runs.refused(command("convert", str(whole), str(tmp_path / "b.safetensors"), "imgsz=100"), "imgsz=100", "multiple")
    for name, value in after.network.state_dict().items():
        torch.testing.assert_close(value, before.network.state_dict()[name], rtol=1e-3, atol=1e-6)


def test_words_with_weights_of_ours(command: runs.Command, tmp_path: Path) -> None:
    given = ["predict", f"model={tmp_path}/a.safetensors", f"vocab={tmp_path}/vocab.txt"]
    data = labelled_pictures(tmp_path / "data")
    runs.refused(command(*given, f"source={data / 'images' / 'val'}"), "carries its own words", "published .pt")
