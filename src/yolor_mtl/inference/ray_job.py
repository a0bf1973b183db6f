"""The same predictor on many machines, through Ray Data."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from yolor_mtl.data.image import read_image
from yolor_mtl.inference.model import open_model
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.inference.sources import Shot
from yolor_mtl.inference.writer import PredictionWriter, leave
from yolor_mtl.records import UserError
from yolor_mtl.tasks.base import DecodeOptions

BLOCKS = 4
"""Portions of work of each predictor: what a dead one leaves undone is done again."""


@dataclass(frozen=True)
class RayJob:
    """What every predictor of a job is told; paths must mean the same on all machines.

    Attributes:
        model: as ``model=``.
        out: folder of the answers, absolute.
        options: thresholds.
        tasks: tasks to run; all by default.
        device: as ``device=``.
        half: as ``half=``.
        imgsz: longer side of the frame; 0 takes the model's own.
        rect: no more padding than needed.
        vocab: word list of a published ``.pt``.
        strict: refuse a ``.pt`` that does not fit.
        batch: pictures at once.
        actors: predictors side by side.
        gpus: GPUs of each.
    """

    model: str
    out: str
    options: DecodeOptions
    tasks: tuple[str, ...] = ()
    device: str = "auto"
    half: str = "auto"
    imgsz: int = 0
    rect: bool = True
    vocab: str = ""
    strict: bool = True
    batch: int = 8
    actors: int = 2
    gpus: float = 0.0


class _Actor:
    """A predictor that leaves pictures in the folder of the answers and gives back records."""

    def __init__(self, job: RayJob) -> None:
        self.job = job
        model = open_model(job.model, list(job.tasks), job.vocab, job.strict)
        self.predictor = Predictor(model, job.device, job.half, job.imgsz, job.rect)

    def __call__(self, rows: Mapping[str, Any]) -> dict[str, list[Any]]:
        stems = dict(zip(map(str, rows["path"]), map(str, rows["stem"]), strict=True))
        shots = [Shot(path, partial(read_image, Path(path))) for path in stems]
        answers: list[tuple[str, str, str]] = []
        found = self.predictor.predict_shots(
            shots, self.job.options, lambda shot, reason: answers.append((shot.path, "", reason)), self.job.batch
        )
        for result in found:
            # As text: a table of records would give each the keys of all.
            record = json.dumps(leave(result, Path(self.job.out), stems[result.path]))
            answers.append((result.path, record, ""))
        paths, records, reasons = (list(column) for column in zip(*answers, strict=True))
        return {"path": paths, "record": records, "reason": reasons}


def predict_by_ray(job: RayJob, writer: PredictionWriter, failed: Callable[[Shot, str], object]) -> Iterator[Path]:
    """Answers the writer's pictures that are not done; lines come in the order in which the predictors end.

    A predictor that dies is replaced, and what it had begun is done again by another one.

    Args:
        job: what the predictors are told.
        writer: has the pictures, and gets the lines.
        failed: gets a picture that cannot be read, and why.

    Raises:
        UserError: Ray is missing, or the model cannot be used.
    """
    try:
        import ray
        from ray.data import ActorPoolStrategy, DataContext
    except ImportError as error:
        raise UserError("engine=ray needs Ray: pip install 'yolor-mtl[ray]'") from error
    if job.actors < 1:
        raise UserError(f"actors={job.actors} is below the least, 1")
    left = [{"path": path, "stem": stem} for path, stem in writer.stems.items() if path not in writer.done]
    if not left:
        return
    # Refuses here, with a message, what every predictor would refuse there.
    open_model(job.model, list(job.tasks), job.vocab, job.strict)
    ours = not ray.is_initialized()
    # Ray says on stdout what happens to its workers, where the answers of a command stand.
    with redirect_stdout(sys.stderr):
        try:
            ended = signal.getsignal(signal.SIGTERM)
            ray.init(
                ignore_reinit_error=True, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
            # Ray's own handler would end the command with another exit code.
            if ended is not None and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, ended)
            # The command shows how far the job is.
            DataContext.get_current().enable_progress_bars = False
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            # All cores for predictors would leave none for reading the list, and the job would wait for ever.
            there: Mapping[str, float] = ray.cluster_resources()
            answered = ray.data.from_items(left, override_num_blocks=min(len(left), BLOCKS * job.actors)).map_batches(
                _Actor,
                fn_constructor_args=(job,),
                batch_size=job.batch,
                compute=ActorPoolStrategy(size=job.actors),
                num_cpus=min(1.0, there.get("CPU", 1.0) / (2 * job.actors)),
                num_gpus=job.gpus or None,
            )
            for row in answered.iter_rows():
                if row["reason"]:
                    failed(Shot(row["path"], partial(read_image, Path(row["path"]))), row["reason"])
                    continue
                writer.line(json.loads(row["record"]))
                yield Path(job.out) / f"{writer.stems[row['path']]}.jpg"
        finally:
            if ours:
                ray.shutdown()
