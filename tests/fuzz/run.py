"""Coverage-guided fuzzing of the parsers (atheris): ``python tests/fuzz/run.py SECONDS [TARGET ...]``.

Each target has its time. It starts from the seeds, from ``corpus/TARGET``, the inputs that an hour of fuzzing has kept
because they took new ways through the code, and from what runs on this machine kept under ``build/fuzz``. An input that
makes a parser fail or hang is written to ``tests/fuzz/found/TARGET-...`` and ends its target. What was kept and what
was found is tried by ``tests/fuzz/test_found.py`` from then on.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SLOW = 20
"""Seconds after which one input counts as a hang."""


def one(name: str, words: list[str]) -> None:
    """Fuzzes a target in this process; never returns."""
    import atheris

    with atheris.instrument_imports(include=["yolor_mtl"]):
        from targets import TARGETS
    atheris.Setup([sys.argv[0], *words], TARGETS[name])
    atheris.Fuzz()


def prepared(name: str, seeds: list[bytes]) -> Path:
    """The folder of a target's inputs, with its seeds in it."""
    corpus = ROOT / "build" / "fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(data)
    return corpus


def fuzzed(name: str, seconds: int, corpus: Path) -> tuple[int, str]:
    """Fuzzes a target in a process of its own: how many inputs it has had, and what it said where one was found."""
    prefix = HERE / "found" / f"{name}-"
    prefix.parent.mkdir(exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-timeout={SLOW}", "-rss_limit_mb=4096", "-print_final_stats=1"]
    folders = [str(corpus), str(HERE / "corpus" / name)]
    done = subprocess.run(
        [sys.executable, __file__, "--one", name, *limits, f"-artifact_prefix={prefix}", *folders],
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    number = int(told[1]) if told else 0
    found = f"{name}, exit code {done.returncode}:\n{done.stderr[-3000:]}" if done.returncode else ""
    print(f"{name}: {number:,} inputs in {seconds} s, {'FAILED' if found else 'nothing found'}", flush=True)
    return number, found


def main() -> int:
    """All targets, as many at once as there are cores; how many inputs each has had, and how many found something."""
    from seeds import seeds
    from targets import TARGETS

    seconds, names = int(sys.argv[1]), sys.argv[2:] or list(TARGETS)
    with tempfile.TemporaryDirectory() as folder:
        begun = seeds(Path(folder))
    corpora = [prepared(name, begun[name]) for name in names]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        told = list(pool.map(fuzzed, names, [seconds] * len(names), corpora))
    found = [said for _, said in told if said]
    print("\n".join(found))
    runs = sum(number for number, _ in told)
    print(f"{runs:,} inputs in {seconds * len(names)} s; {len(found)} of {len(names)} targets found something")
    return 1 if found else 0


if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent / "data")]
    if sys.argv[1] == "--one":
        one(sys.argv[2], sys.argv[3:])
    sys.exit(main())
