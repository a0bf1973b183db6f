"""``yolor-mtl predict``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from yolor_mtl.commands.common import check_counts, counting, make_predictor, report_failures
from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.inference.sources import find_pictures
from yolor_mtl.inference.writer import PredictionWriter
from yolor_mtl.records import UserError
from yolor_mtl.tasks.base import DecodeOptions


@dataclass
class PredictConfig:
    """Answers for pictures: one drawn picture each, and ``predictions.jsonl``.

    Attributes:
        model: a ``.safetensors``, a run's folder, or a published ``.pt``.
        source: a picture, a folder, or a pattern such as ``"photos/*.jpg"``.
        out: the folder to write.
        tasks: tasks to run; all that were trained by default.
        conf: boxes below this score are dropped.
        iou: overlap above which the weaker of two boxes of a class is dropped.
        max_det: greatest number of boxes a picture.
        beam: width of the caption's beam search; 1 is greedy.
        imgsz: side of the square frame, pixels; 0 takes the model's own.
        batch: pictures at once.
        device: auto, cpu, cuda, mps, or a GPU's number.
        half: auto, true (bfloat16) or false (fp32).
        vocab: the word list that was published with a ``.pt`` that writes captions.
        strict: refuse a ``.pt`` that has tensors without a place, or places without a tensor; false only warns.
        json: print the summary as JSON.
    """

    model: str = ""
    source: str = ""
    out: str = "runs/predict"
    tasks: list[str] | None = None
    conf: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    beam: int = 1
    imgsz: int = 0
    batch: int = 8
    device: str = "auto"
    half: str = "auto"
    vocab: str = ""
    strict: bool = True
    json: bool = False


def predict(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl predict``."""
    config = fill(PredictConfig, parse_assignments(words))
    check_counts(config)
    if not config.source:
        raise UserError("source= is missing; give a picture, a folder or a pattern")
    paths = find_pictures(config.source)
    if any(path.resolve().parent == Path(config.out).resolve() for path in paths):
        raise UserError(f"out={config.out} is the folder of the pictures, which would be overwritten; choose another")
    predictor = make_predictor(
        config.model, config.tasks, config.device, config.half, config.imgsz, config.vocab, config.strict
    )
    options = DecodeOptions(conf=config.conf, iou=config.iou, max_det=config.max_det, beam=config.beam)
    quiet = Console(quiet=True) if config.json else console
    with PredictionWriter(Path(config.out)) as writer, counting(quiet, "predicting", len(paths)) as progress:
        line = progress.task_ids[0]

        def failed(path: Path, reason: str) -> None:
            writer.fail(path, reason)
            progress.advance(line)

        for result in predictor.predict_files(paths, options, failed, config.batch):
            picture = writer.add(result)
            progress.advance(line)
            if not config.json and len(paths) <= 20:
                console.print(f"{picture}  {result.summary()}", soft_wrap=True, highlight=False)
    failures = {entry["path"]: entry["reason"] for entry in writer.failures}
    done = len(paths) - len(failures)
    if config.json:
        console.print_json(data={"out": config.out, "pictures": done, "failures": writer.failures})
        return 1 if failures else 0
    console.print(f"{done} pictures and predictions.jsonl in {config.out}/")
    return report_failures(console, failures)
