"""METEOR and SPICE, the caption scores that exist as Java programs only; pycocoevalcap brings the programs.

Denkowski and Lavie 2014 (METEOR 1.5), Anderson et al. 2016 (SPICE). Nothing is fetched here: SPICE's parser is no part
of that package, and where it is absent SPICE is left out with the reason.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from yolor_mtl.records import UserError

PATIENCE = 600.0
"""Seconds that a program may take, and one more for each of its images: it is ended then."""

_PARSER = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
_FETCH = "python -m pycocoevalcap.spice.get_stanford_models"


class JavaError(Exception):
    """A program that gave no score; the message says why."""


def java_programs() -> Path:
    """The folder of the package that brings the programs.

    Raises:
        UserError: there is no Java, or no such package.
    """
    if shutil.which("java") is None:
        raise UserError("java=true: no java on the PATH; install one (apt install default-jre-headless), or java=false")
    spec = find_spec("pycocoevalcap")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise UserError(
            "java=true: METEOR and SPICE come with the package pycocoevalcap, which is not installed; "
            "pip install 'yolor-mtl[java]', or java=false"
        )
    return Path(places[0])


def meteor(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Corpus METEOR 1.5 in 0..1, English, as COCO's caption evaluation calls it.

    Args:
        candidates: n captions, PTB words with spaces between.
        references: the same of each image's references, one at least.

    Raises:
        UserError: see :func:`java_programs`.
        JavaError: the program fails, or never ends.
    """
    command = ["-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"]
    folder = java_programs() / "meteor"
    # Two runs, each with all of its input at once and an end: a dialogue line by line can block both sides.
    lines = [
        " ||| ".join(["SCORE", *map(_plain, group), _plain(candidate)])
        for candidate, group in zip(candidates, references, strict=True)
    ]
    statistics = _run(command, folder, "\n".join(lines) + "\n", len(lines)).splitlines()
    if len(statistics) != len(lines):
        raise JavaError(f"METEOR answered {len(statistics)} of {len(lines)} captions")
    answer = _run(command, folder, " ||| ".join(["EVAL", *statistics]) + "\n", len(lines)).split()
    try:
        return float(answer[-1])  # a number for each caption, and the corpus last
    except (IndexError, ValueError) as error:
        raise JavaError("METEOR gave no number") from error


def spice(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean SPICE F in 0..1, English.

    Args:
        candidates: n captions, PTB words with spaces between.
        references: the same of each image's references, one at least.

    Raises:
        UserError: see :func:`java_programs`.
        JavaError: its parser is absent, or the program fails or never ends.
    """
    folder = java_programs() / "spice"
    if missing := [name for name in _PARSER if not (folder / "lib" / name).is_file()]:
        raise JavaError(f"{missing[0]} is not in {folder / 'lib'}; with a network, `{_FETCH}` fetches it once")
    entries = [
        {"image_id": number, "test": candidate, "refs": list(group)}
        for number, (candidate, group) in enumerate(zip(candidates, references, strict=True))
    ]
    with tempfile.TemporaryDirectory() as place:
        given, made = Path(place) / "given.json", Path(place) / "made.json"
        given.write_text(json.dumps(entries), encoding="utf-8")
        _run(["-Xmx8G", "-jar", "spice-1.0.jar", str(given), "-out", str(made), "-silent"], folder, "", len(entries))
        try:
            results = json.loads(made.read_text(encoding="utf-8"))
            scores = [float(result["scores"]["All"]["f"]) for result in results]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise JavaError(f"SPICE gave no number: {error}") from error
    if len(scores) != len(entries) or not all(map(math.isfinite, scores)):
        raise JavaError(f"SPICE gave no number for some of {len(entries)} captions")
    return math.fsum(scores) / len(scores)


def _plain(caption: str) -> str:
    """A caption in METEOR's line format, where ``|||`` stands between captions."""
    return caption.replace("|||", "").replace("  ", " ")


def _run(arguments: Sequence[str], folder: Path, text: str, images: int) -> str:
    """What a Java program says to ``text``; it has ended when this returns.

    Raises:
        JavaError: it fails, or is ended because it takes too long.
    """
    command = ["java", "-Dfile.encoding=UTF-8", *arguments]
    seconds = PATIENCE + images
    try:
        done = subprocess.run(
            command, cwd=folder, input=text, capture_output=True, encoding="utf-8", timeout=seconds, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise JavaError(f"it had not ended after {seconds:.0f} seconds") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines() or ["it said nothing"]
        raise JavaError(f"java stopped with exit code {error.returncode}: {said[0]}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise JavaError(f"java could not be run: {error}") from error
    return done.stdout
