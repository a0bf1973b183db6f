"""Fixtures for all tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import runs
import torch

from yolor_mtl import cli
from yolor_mtl.data.scenes import write_scenes

# Several test processes share the cores: more threads each would only wait for one another.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers, in whatever order and process it runs."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real samples beside the checkout; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the real COCO samples live there")
    return folder


@pytest.fixture(scope="session")
def quick() -> Iterator[None]:
    """A cache folder of its own, wide output for commands, and one thread: tiny networks lose time with more."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as cache:
        patch.setenv("XDG_CACHE_HOME", cache)
        patch.setenv("COLUMNS", "200")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session")
def scenes(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve scenes to train on and four to evaluate on."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(folder, train=12, val=4, workers=1)
    return folder


@pytest.fixture(scope="session")
def trained(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``yolor-mtl train`` left after two epochs of a tiny network."""
    out = tmp_path_factory.mktemp("run") / "tiny"
    assert cli.main(["train", *runs.words(data=scenes, out=out)]) == 0
    return out


@pytest.fixture
def command(quick: None, capsys: pytest.CaptureFixture[str]) -> runs.Command:
    """Runs a command in this process and tells what it said."""
    return runs.in_process(capsys)
