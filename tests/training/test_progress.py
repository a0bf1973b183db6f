"""The progress bar: what it says of a training while it runs, on a terminal and in a file."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import runs
from rich.console import Console

from yolor_mtl.training.config import train_config
from yolor_mtl.training.progress import clock, memory
from yolor_mtl.training.trainer import train


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "?"), (0, "0:00"), (59.6, "1:00"), (125, "2:05"), (3600, "1:00:00"), (3723, "1:02:03")]
)
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


def test_memory() -> None:
    assert re.fullmatch(r"\d+\.\d GB( GPU)?", memory())


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_training_says(scenes: Path, tmp_path: Path, terminal: bool) -> None:
    stream = io.StringIO()
    keys = {**runs.KEYS, "epochs": 2, "samples": 0, "tasks": ["semantic", "captioning"]}
    config = train_config({"data": str(scenes), "out": str(tmp_path / "run"), **keys}, runs.PARTS)
    train(config, scenes, Console(file=stream, force_terminal=terminal, width=250, color_system=None))
    said = stream.getvalue()
    losses = r"semantic \d+\.\d\d captioning \d+\.\d\d"
    left = r"\d+:\d\d left"
    # An epoch leaves a line with its losses and scores.
    for epoch in (1, 2):
        scores = r"semantic/mIoU 0\.\d{3}  caption/BLEU-4 0\.\d{3}"
        assert re.search(rf"epoch {epoch}  {losses}  \|  {scores}  \|  {left}", said), said
    bar = re.findall(rf"training .* (\d+)% epoch 2 \| {losses} \| lr \d\.\de-\d\d \| \d+ img/s \| \d+\.\d GB", said)
    if terminal:
        assert re.search(left, said)
        assert max(map(int, bar)) == 100
    else:
        assert bar == []
