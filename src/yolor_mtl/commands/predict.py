"""``yolor-mtl predict``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from yolor_mtl.commands.common import check_counts, counting, make_predictor, report_failures, warn
from yolor_mtl.config import fill, nearest, parse_assignments
from yolor_mtl.inference.ray_job import RayJob, predict_by_ray
from yolor_mtl.inference.sources import Shot, Source, open_source
from yolor_mtl.inference.tracking import Tracker
from yolor_mtl.inference.video import USUAL_RATE, Film, FilmWriter
from yolor_mtl.inference.writer import LINES, PredictionWriter
from yolor_mtl.records import Fault, UserError
from yolor_mtl.tasks.base import DecodeOptions

ENGINES = ("local", "ray")

Failed = Callable[[Shot, str], None]


@dataclass
class PredictConfig:
    """Answers for pictures or films: one drawn picture each or an annotated film, and ``predictions.jsonl``.

    Attributes:
        model: a ``.safetensors``, a run's folder, or a published ``.pt``.
        source: a picture, a folder, a pattern such as ``"photos/*.jpg"``, a film, a ``.txt`` that lists pictures, a
            camera's number, or ``-`` for a picture, or names one a line, on standard input.
        out: the folder to write.
        tasks: tasks to run; all that were trained by default.
        conf: boxes below this score are dropped.
        iou: overlap above which the weaker of two boxes of a class is dropped.
        max_det: greatest number of boxes a picture.
        beam: width of the caption's beam search; 1 is greedy.
        length_penalty: captions of a search are compared by their log-probability over their length to this power; as
            the model has it by default.
        no_repeat: no run of so many words is written twice in a caption; 0 lets them be.
        attention: write for each word of a caption where in the picture it was read from.
        track: number things the same from frame to frame.
        imgsz: longer side of the frame, pixels; 0 takes the model's own.
        rect: pad a picture no further than needed; false pads to a square, as in training.
        batch: pictures at once.
        device: auto, cpu, cuda, mps, or a GPU's number.
        half: auto, true (bfloat16) or false (fp32).
        vocab: the word list that was published with a ``.pt`` that writes captions.
        strict: refuse a ``.pt`` that has tensors without a place, or places without a tensor; false only warns.
        resume: keep what ``out`` has, and answer what is missing there.
        engine: local, or ray: the same on the machines of a Ray cluster, or on this one's cores.
        actors: with ``engine=ray``, how many predictors work side by side.
        gpus: with ``engine=ray``, GPUs of each of them.
        max_unreadable: stop where more pictures than this cannot be read; 0 answers all others, however many those are.
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
    length_penalty: float | None = None
    no_repeat: int = 0
    attention: bool = False
    track: bool = False
    imgsz: int = 0
    rect: bool = True
    batch: int = 8
    device: str = "auto"
    half: str = "auto"
    vocab: str = ""
    strict: bool = True
    resume: bool = False
    engine: str = "local"
    actors: int = 2
    gpus: float = 0.0
    max_unreadable: int = 0
    json: bool = False


def predict(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl predict``."""
    config = fill(PredictConfig, parse_assignments(words))
    check_counts(config)
    if not config.source:
        raise UserError("source= is missing; give a picture, a folder, a pattern or a film")
    source = open_source(config.source)
    quiet = Console(quiet=True) if config.json else console
    _check(config, source)
    answers: Callable[[PredictionWriter, Failed], Iterator[Path]]
    answers = _by_ray(config, source) if config.engine == "ray" else _here(config, source, quiet)
    film = _film(config, source.film) if source.film else None
    writer = PredictionWriter(Path(config.out), source.files, film, config.resume)
    if writer.replaced:
        warn(
            f"{config.out} had {writer.replaced} lines of an earlier run in {LINES}, which are replaced; "
            "another time resume=true keeps them, and out= takes another folder"
        )
    try:
        _write(config, source, writer, answers, quiet)
    except BaseException:
        if there := writer.lines + len(writer.done):
            warn(_kept(there, config.out, source))
        raise
    if config.json:
        console.print_json(data={"out": config.out, "pictures": writer.lines, "failures": writer.failures})
        return 1 if writer.failures else 0
    what = f"{writer.lines} pictures" if film is None else f"{writer.lines} frames as {film.path}"
    console.print(f"{what} and predictions.jsonl in {config.out}/", soft_wrap=True)
    if writer.done:
        console.print(f"{len(writer.done)} pictures were there already")
    return report_failures(console, {_name(entry): entry["reason"] for entry in writer.failures})


def _write(
    config: PredictConfig,
    source: Source,
    writer: PredictionWriter,
    answers: Callable[[PredictionWriter, Failed], Iterator[Path]],
    console: Console,
) -> None:
    """Writes all answers, under a progress bar.

    Raises:
        Fault: more pictures than ``max_unreadable`` cannot be read.
    """
    with writer, counting(console, "predicting", source.total) as progress:
        line = progress.task_ids[0]
        progress.advance(line, len(writer.done))

        def failed(shot: Shot, reason: str) -> None:
            writer.fail(shot, reason)
            progress.advance(line)
            if 0 < config.max_unreadable < len(writer.failures):
                told = f"{len(writer.failures)} pictures could not be read, the last one {shot.path}: {reason}"
                raise Fault(f"{told}; max_unreadable={config.max_unreadable} allows no more")

        for _ in answers(writer, failed):
            progress.advance(line)


def _check(config: PredictConfig, source: Source) -> None:
    """Refuses what does not go together.

    Raises:
        UserError: names the key.
    """
    if any(path.resolve().parent == Path(config.out).resolve() for path in source.files):
        raise UserError(f"out={config.out} is the folder of what is read, which would be overwritten; choose another")
    if config.engine not in ENGINES:
        raise UserError(f"engine={config.engine}{nearest(config.engine, ENGINES)}; there are: {', '.join(ENGINES)}")
    pictures = source.film is None and bool(source.files)
    if config.resume and not pictures:
        raise UserError("resume=true needs pictures in files; films, cameras and standard input begin anew")
    if config.engine == "ray" and (config.track or not pictures):
        raise UserError("engine=ray takes pictures in files, without track=true; engine=local takes films")


def _here(
    config: PredictConfig, source: Source, console: Console
) -> Callable[[PredictionWriter, Failed], Iterator[Path]]:
    """Answers of this process."""
    predictor = make_predictor(
        config.model, config.tasks, config.device, config.half, config.imgsz, config.vocab, config.strict, config.rect
    )
    if config.half == "auto" and predictor.half:
        console.print(f"computing in bfloat16 on {predictor.device.type}; half=false is float32")
    follow = Tracker(source.film.rate if source.film else USUAL_RATE) if config.track else None

    def answers(writer: PredictionWriter, failed: Failed) -> Iterator[Path]:
        shots = (shot for shot in source.shots if shot.path not in writer.done)
        for found in predictor.predict_shots(shots, _options(config), failed, config.batch):
            result = follow(found) if follow else found
            picture = writer.add(result)
            if source.film is None and (source.total or 0) <= 20:
                console.print(f"{picture}  {result.summary()}", soft_wrap=True, highlight=False)
            yield picture

    return answers


def _by_ray(config: PredictConfig, source: Source) -> Callable[[PredictionWriter, Failed], Iterator[Path]]:
    """Answers of a cluster."""
    if not config.model:
        raise UserError("model= is missing; give a .safetensors file or a run's folder, such as runs/NAME")
    job = RayJob(
        model=config.model,
        out=str(Path(config.out).resolve()),
        options=_options(config),
        tasks=tuple(config.tasks or ()),
        device=config.device,
        half=config.half,
        imgsz=config.imgsz,
        rect=config.rect,
        vocab=config.vocab,
        strict=config.strict,
        batch=config.batch,
        actors=config.actors,
        gpus=config.gpus,
    )
    return lambda writer, failed: predict_by_ray(job, writer, failed)


def _options(config: PredictConfig) -> DecodeOptions:
    return DecodeOptions(
        conf=config.conf,
        iou=config.iou,
        max_det=config.max_det,
        beam=config.beam,
        length_penalty=config.length_penalty,
        no_repeat=config.no_repeat,
        attention=config.attention,
    )


def _film(config: PredictConfig, film: Film) -> FilmWriter:
    return FilmWriter(Path(config.out) / f"{Path(film.path).stem.replace(' ', '-')}.mp4", film.rate)


def _kept(done: int, out: str, source: Source) -> str:
    """What an end before the end has left."""
    if source.film is not None:
        return f"{done} frames have their lines in {out}/{LINES}"
    remedy = "; with resume=true the same command goes on with the others" if source.files else ""
    return f"{done} pictures have their lines in {out}/{LINES}{remedy}"


def _name(failure: dict[str, Any]) -> str:
    return f"{failure['path']} frame {failure['frame']}" if "frame" in failure else str(failure["path"])
