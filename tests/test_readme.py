"""What the documents tell people to type is understood."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from yolor_mtl.cli import VERBS
from yolor_mtl.config import packaged_names, parse_assignments
from yolor_mtl.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "src/yolor_mtl/weights/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> Iterator[tuple[str, str]]:
    """Document and words of every command in a block of code."""
    for path in DOCUMENTS:
        for block in re.findall(r"^```\w*\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.split("&&"):
                    found = re.match(r"\s*(?:\.venv/bin/)?yolor-mtl (.+)", part)
                    if found:
                        yield path.name, found[1]
    for path in sorted((ROOT / "src/yolor_mtl/configs/train").glob("*.yaml")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("# yolor-mtl ") and "--help" not in line:
                yield path.name, line.removeprefix("# yolor-mtl ")


COMMANDS = list(commands())


def test_there_are_some() -> None:
    assert len(COMMANDS) > 30
    assert {document for document, _ in COMMANDS} > {"README.md", "training-on-coco.md", "export.md", "deployment.md"}


@pytest.mark.parametrize(
    ("document", "text"), COMMANDS, ids=[f"{document}: {text}"[:90] for document, text in COMMANDS]
)
def test_verb_and_keys_are_known(document: str, text: str) -> None:
    words = shlex.split(text, comments=True)
    verb = " ".join(words[:2]) if " ".join(words[:2]) in VERBS else words[0]
    assert verb in VERBS
    rest = words[len(verb.split()) :]
    while rest and not rest[0].startswith("--") and "=" not in rest[0]:
        rest.pop(0)  # files and folders come first
    given = parse_assignments(rest)
    known = {entry.name for entry in fields(VERBS[verb].keys())}
    if verb in ("train", "demo"):
        known |= {"config", "trunk", "implicit", *TASKS}
    assert given.keys() <= known
    if "config" in given:
        assert given["config"] in packaged_names("train")
    if verb == "train" and not {"resume", "config", "weights"} & given.keys():
        assert given["model"] in packaged_names("models")
