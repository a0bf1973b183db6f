"""What ``predict`` leaves: pictures, data PNGs and one line of JSON a picture."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType

from yolor_mtl.inference.result import Result
from yolor_mtl.ops.files import write_atomic, write_text


class PredictionWriter:
    """A folder of answers; ``predictions.jsonl`` grows line by line, so that nothing is lost on Ctrl-C.

    Args:
        out: the folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.failures: list[dict[str, str]] = []
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
        if self.failures:
            write_text(self.out / "failures.json", json.dumps(self.failures, ensure_ascii=False, indent=1))

    def add(self, result: Result) -> Path:
        """Writes one result; returns its picture."""
        stem = self._free_stem(Path(result.path).stem or "picture")
        record = result.to_json()
        for name, image in result.images().items():
            place = Path(name) / f"{stem}.png"
            write_atomic(self.out / place, image.save)
            record.setdefault(name, {})["png"] = place.as_posix()
        picture = self.out / f"{stem}.jpg"
        drawn = result.plot()
        write_atomic(picture, lambda temporary: drawn.save(temporary, quality=92))
        self._lines.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._lines.flush()
        return picture

    def fail(self, path: Path, reason: str) -> None:
        """Notes a picture that could not be read."""
        self.failures.append({"path": str(path), "reason": reason})

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
