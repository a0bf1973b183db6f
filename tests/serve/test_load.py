"""Many clients at once, good and hostile ones: no crash, no 500, everyone their own answer, bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "serve_load.py"


def load(clients: int, seconds: int, **keys: Any) -> dict[str, Any]:
    words = [f"{key}={value}" for key, value in {"clients": clients, "seconds": seconds, **keys}.items()]
    done = subprocess.run([sys.executable, str(SCRIPT), *words, "--json"], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert found["statuses"].get("200", 0) > 0
    assert found["statuses"].get("422", 0) > 0
    assert "500" not in found["statuses"]
    assert found["exit_code"] == 143
    return found


def test_a_few_clients(quick: None) -> None:
    load(clients=8, seconds=3, timeout=120)


@pytest.mark.torture
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of another process's memory is read from /proc")
def test_two_hundred_clients_for_a_minute() -> None:
    found = load(clients=200, seconds=60)
    print(found)
    # Files of sixteen times 4 MB, 32 megapixels decoded, and what a batch takes in the network.
    assert found["peak_mb"] - found["before_mb"] < 1500
