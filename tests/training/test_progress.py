"""Small words of the progress bar."""

import re

import pytest

from yolor_mtl.training.progress import clock, memory


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "?"), (0, "0:00"), (59.6, "1:00"), (125, "2:05"), (3600, "1:00:00"), (3723, "1:02:03")]
)
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


def test_memory() -> None:
    assert re.fullmatch(r"\d+\.\d GB( GPU)?", memory())
