"""Inputs that once broke a parser, those that fuzzing has kept, the seeds that it begins with, and anything at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seeds import seeds
from targets import TARGETS

FOUND = sorted(path for path in (Path(__file__).parent / "found").glob("*-*") if path.is_file())


@pytest.mark.parametrize("path", FOUND, ids=[path.name for path in FOUND])
def test_what_was_found(path: Path) -> None:
    TARGETS[path.name.split("-")[0]](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_has_kept(name: str) -> None:
    paths = sorted((Path(__file__).parent / "corpus" / name).iterdir())
    assert paths
    for path in paths:
        TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_pieces_of_them(name: str, tmp_path: Path) -> None:
    for data in seeds(tmp_path)[name]:
        TARGETS[name](data)
        for cut in range(0, len(data), max(1, len(data) // 23)):
            TARGETS[name](data[:cut])
            TARGETS[name](data[:cut] + bytes([data[cut] ^ 0x55]) + data[cut + 1 :])


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_anything(name: str, data: bytes) -> None:
    TARGETS[name](data)
