"""What ``predict`` leaves: pictures or a film, data PNGs and one line of JSON a picture."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from yolor_mtl.inference.result import Result
from yolor_mtl.inference.sources import Shot
from yolor_mtl.inference.video import FilmWriter
from yolor_mtl.ops.files import write_atomic, write_text


class PredictionWriter:
    """A folder of answers; ``predictions.jsonl`` grows line by line, so that nothing is lost on Ctrl-C.

    Args:
        out: the folder.
        film: what is written where the pictures are frames: one annotated film instead of a picture and PNGs for each.
    """

    def __init__(self, out: Path, film: FilmWriter | None = None) -> None:
        self.out = out
        self.failures: list[dict[str, Any]] = []
        self._film = film
        self._stems: dict[str, int] = {}
        out.mkdir(parents=True, exist_ok=True)
        (out / "failures.json").unlink(missing_ok=True)
        self._lines = (out / "predictions.jsonl").open("w", encoding="utf-8")

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        if self._film is not None:
            self._film.close()
        if self.failures:
            write_text(self.out / "failures.json", json.dumps(self.failures, ensure_ascii=False, indent=1))

    def add(self, result: Result) -> Path:
        """Writes one result; returns its picture, or the film that it is a part of."""
        if self._film is not None:
            self._film.add(result.plot(overlay=True))
            self._line(result.to_json())
            return self._film.path
        stem = self._free_stem(Path(result.path).stem or "picture")
        record = result.to_json()
        for name, image in result.images().items():
            place = Path(name) / f"{stem}.png"
            write_atomic(self.out / place, image.save)
            record.setdefault(name, {})["png"] = place.as_posix()
        picture = self.out / f"{stem}.jpg"
        drawn = result.plot()
        write_atomic(picture, lambda temporary: drawn.save(temporary, quality=92))
        self._line(record)
        return picture

    def _line(self, record: dict[str, Any]) -> None:
        self._lines.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._lines.flush()

    def fail(self, shot: Shot, reason: str) -> None:
        """Notes a picture that could not be read."""
        frame = {} if shot.frame is None else {"frame": shot.frame}
        self.failures.append({"path": shot.path, **frame, "reason": reason})

    def _free_stem(self, stem: str) -> str:
        """The stem, with a number from the second picture of that stem on."""
        number = self._stems.get(stem, 0) + 1
        self._stems[stem] = number
        if number == 1:
            return stem
        numbered = f"{stem}-{number}"
        return self._free_stem(stem) if numbered in self._stems else self._claim(numbered)

    def _claim(self, stem: str) -> str:
        self._stems[stem] = 1
        return stem
