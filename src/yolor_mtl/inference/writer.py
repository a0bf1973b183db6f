"""What ``predict`` leaves: pictures or a film, data PNGs and one line of JSON a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from yolor_mtl.inference.result import Result
from yolor_mtl.inference.sources import Shot
from yolor_mtl.inference.video import FilmWriter
from yolor_mtl.ops.files import naming, write_atomic, write_text
from yolor_mtl.records import UserError

LINES = "predictions.jsonl"


class Stems:
    """A name of its own for every picture: a second one of a stem gets a number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def free(self, stem: str) -> str:
        """The stem, with a number from the second picture of that stem on."""
        number = self._numbers.get(stem, 0) + 1
        self._numbers[stem] = number
        if number == 1:
            return stem
        numbered = f"{stem}-{number}"
        return self.free(stem) if numbered in self._numbers else self._claim(numbered)

    def of(self, paths: Iterable[str | Path]) -> dict[str, str]:
        """A name for each of these pictures; a path that comes twice is one picture."""
        return {path: self.free(Path(path).stem) for path in dict.fromkeys(map(str, paths))}

    def _claim(self, stem: str) -> str:
        self._numbers[stem] = 1
        return stem


def leave(result: Result, out: Path, stem: str) -> dict[str, Any]:
    """Writes a result's picture ``<stem>.jpg`` and its PNGs into a folder; returns its record, which names the PNGs."""
    record = result.to_json()
    for name, image in result.images().items():
        place = Path(name) / f"{stem}.png"
        write_atomic(out / place, image.save)
        record.setdefault(name, {})["png"] = place.as_posix()
    drawn = result.plot()
    write_atomic(out / f"{stem}.jpg", lambda temporary: drawn.save(temporary, quality=92))
    return record


class PredictionWriter:
    """A folder of answers; ``predictions.jsonl`` grows line by line, so that nothing is lost on Ctrl-C.

    Args:
        out: the folder.
        files: the pictures, where they are known before: each then has the same name whatever came before it.
        film: what is written where the pictures are frames: one annotated film instead of a picture and PNGs for each.
        resume: keep the lines that are there, see :attr:`done`.

    Attributes:
        stems: path -> name of what is written for it, of ``files``.
        done: paths that have a line already.
        replaced: number of an earlier run's lines, which are gone.
        failures: what could not be read.
        lines: number of lines that were written.

    Raises:
        UserError: with ``resume``, there are lines of another kind.
    """

    def __init__(
        self, out: Path, files: Iterable[str | Path] = (), film: FilmWriter | None = None, resume: bool = False
    ) -> None:
        self.out = out
        self.failures: list[dict[str, Any]] = []
        self.lines = 0
        self._film = film
        self._free = Stems()
        self.stems = self._free.of(files)
        out.mkdir(parents=True, exist_ok=True)
        (out / "failures.json").unlink(missing_ok=True)
        lines = _whole_lines(out / LINES) if resume else {}
        self.replaced = 0 if resume else _count_lines(out / LINES)
        self.done = frozenset(lines)
        if resume:
            write_text(out / LINES, "".join(lines.values()))
        self._file = (out / LINES).open("a" if resume else "w", encoding="utf-8")

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        closing = ExitStack()  # each is closed, whatever becomes of the one before
        closing.callback(self._write_failures)
        if self._film is not None:
            closing.callback(self._film.close)
        closing.callback(self._file.close)
        try:
            closing.close()
        except OSError:
            # What ended it, such as a full disk, is told, and not that there was no closing because of it.
            if error is None:
                raise

    def add(self, result: Result) -> Path:
        """Writes one result; returns its picture, or the film that it is a part of."""
        if self._film is not None:
            self._film.add(result.plot(overlay=True))
            self.line(result.to_json())
            return self._film.path
        stem = self.stems.get(result.path) or self._free.free(Path(result.path).stem or "picture")
        self.line(leave(result, self.out, stem))
        return self.out / f"{stem}.jpg"

    def line(self, record: dict[str, Any]) -> None:
        """One more line."""
        with naming(self.out / LINES):
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._file.flush()
        self.lines += 1

    def fail(self, shot: Shot, reason: str) -> None:
        """Notes a picture that could not be read."""
        frame = {} if shot.frame is None else {"frame": shot.frame}
        self.failures.append({"path": shot.path, **frame, "reason": reason})

    def _write_failures(self) -> None:
        if self.failures:
            write_text(self.out / "failures.json", json.dumps(self.failures, ensure_ascii=False, indent=1))


def _count_lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _whole_lines(path: Path) -> dict[str, str]:
    """Each picture's line by its path; a last line that was cut short is left out.

    Raises:
        UserError: another line is none of ours.
    """
    found: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            found[json.loads(line)["path"]] = line
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise UserError(f"{path}, line {number}: not a line of predict; resume=false begins anew") from error
    return found
