"""OpenVINO and NNCF report to nobody when we use them."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from yolor_mtl.inference.backends import openvino

# Not importorskip: it imports the package, which reports that.
for package in ("openvino", "nncf"):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)

SHAPE = (1, 3, 8, 8)

WATCHED = """
import sys

def refuse(event, args):
    # A connection is tried in a process of its own, forked from a thread: what it does is seen in the file.
    if event in ("socket.connect", "socket.getaddrinfo"):
        with open(sys.argv[1], "a", encoding="utf-8") as log:
            log.write(f"{event} {args}\\n")
        raise ConnectionRefusedError(event)

sys.addaudithook(refuse)
"""
"""Start of a program; its first word is the file that tells of connections."""

USES = {
    "write": "write(program(), folder / 'written.xml', ['images'], ['sum'])",
    "open": "OpenvinoGraph(folder / 'graph.xml')({'images': torch.zeros(SHAPE, dtype=torch.uint8)})",
    "quantise": "quantise(folder / 'graph.xml', [torch.zeros(SHAPE, dtype=torch.uint8)], 1)",
}
"""What is done with a folder of a graph."""


class Small(nn.Module):
    """The least that can be quantised."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(images.float())
        return found


def program() -> torch.export.ExportedProgram:
    """A graph to write."""
    return torch.export.export(Small().eval(), (torch.zeros(SHAPE, dtype=torch.uint8),))


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graph")
    openvino.write(program(), folder / "graph.xml", ["images"], ["sum"])
    return folder


@pytest.mark.parametrize("use", USES)
def test_nothing_is_reported(use: str, graph: Path, tmp_path: Path) -> None:
    log, home = tmp_path / "log", tmp_path / "home"
    home.mkdir()
    code = f"""
from pathlib import Path
import torch
from yolor_mtl.inference.backends.openvino import OpenvinoGraph, quantise, write
from test_telemetry import SHAPE, program
folder = Path(sys.argv[2])
assert "openvino" not in sys.modules
{USES[use]}
assert "openvino" in sys.modules
"""
    # As at home: on a build machine neither package reports, and in sight of pytest NNCF does not.
    builds = {"CI", "TF_BUILD", "JENKINS_URL", "NNCF_CI", "NNCF_DEV"}
    own = {"HOME": str(home), "LOCALAPPDATA": str(home), "PYTHONPATH": str(Path(__file__).parent)}
    environment = {name: value for name, value in os.environ.items() if name not in builds} | own
    command = [sys.executable, "-c", WATCHED + code, str(log), str(graph)]
    subprocess.run(command, env=environment, check=True, timeout=300)
    assert not log.exists(), log.read_text(encoding="utf-8")
    assert [path.name for path in home.iterdir() if path.name.lower().startswith("intel")] == []


def test_who_imported_the_sender_before_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = ModuleType("openvino_telemetry")
    monkeypatch.setitem(sys.modules, "openvino_telemetry", sender)
    openvino._need("openvino")
    assert sys.modules["openvino_telemetry"] is sender
