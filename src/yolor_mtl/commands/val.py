"""``yolor-mtl val``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from yolor_mtl.commands.common import (
    check_counts,
    counting,
    data_root,
    make_predictor,
    report_failures,
)
from yolor_mtl.commands.scoring import (
    Rival,
    build_report,
    galleries,
    load_rival,
    print_beside,
    print_scores,
    report_of,
    run_evaluation,
)
from yolor_mtl.config import fill, parse_assignments, split_names
from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.named import SCENES
from yolor_mtl.inference.evaluator import Evaluation, Stopwatch, evaluate_answers, judges_of
from yolor_mtl.inference.gallery import answer_drawer
from yolor_mtl.ops.ranks import process_group, rank_and_world
from yolor_mtl.records import UserError
from yolor_mtl.report.page import Report, write_report
from yolor_mtl.tasks.base import DecodeOptions


@dataclass
class ValConfig:
    """Scores of a model on labelled pictures: a table, ``metrics.json``, results in COCO's formats, a report.

    Attributes:
        model: a ``.safetensors``, a run's folder, or a published ``.pt``.
        predictions: a folder of result files in COCO's formats to score instead of a model, or groundtruth.
        data: a folder in COCO's layout, a YAML file, or the word scenes.
        split: split or splits to evaluate on.
        maps: where semantic classes come from if the data has both: panoptic, stuff, or auto (panoptic first).
        out: the folder to write.
        tasks: tasks to score; by default all that were trained, or have a result file, and are labelled.
        conf: boxes below this score are dropped; AP needs it low.
        iou: overlap above which the weaker of two boxes of a class is dropped.
        max_det: greatest number of boxes a picture.
        beam: width of the caption's beam search; 1 is greedy.
        imgsz: side of the square frame, pixels; 0 takes the model's own.
        batch: pictures at once.
        workers: processes that load pictures; -1 chooses.
        device: auto, cpu, cuda, mps, or a GPU's number.
        half: auto, true (bfloat16) or false (fp32).
        plots: pictures in the report.
        extremes: worst and best pictures of each task in the report.
        beside: other weights to score on the same data and show beside the model in the report, such as scenes-nano.
        java: METEOR and SPICE too, which need Java and the package pycocoevalcap.
        vocab: the word list that was published with a ``.pt`` that writes captions.
        strict: refuse a ``.pt`` that has tensors without a place, or places without a tensor; false only warns.
        json: print the scores as JSON.
    """

    model: str = ""
    predictions: str = ""
    data: str = SCENES
    split: Any = "val"
    maps: str = "auto"
    out: str = "runs/val"
    tasks: list[str] | None = None
    conf: float = 0.001
    iou: float = 0.7
    max_det: int = 300
    beam: int = 1
    imgsz: int = 0
    batch: int = 16
    workers: int = -1
    device: str = "auto"
    half: str = "auto"
    plots: int = 8
    extremes: int = 2
    beside: str = ""
    java: bool = False
    vocab: str = ""
    strict: bool = True
    json: bool = False


def val(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl val``, alone or as one of several processes."""
    config = fill(ValConfig, parse_assignments(words))
    check_counts(config)
    if bool(config.model) == bool(config.predictions):
        raise UserError("give either model= (weights to run) or predictions= (a folder of results, or groundtruth)")
    if config.beside and config.predictions:
        raise UserError(f"beside={config.beside} goes with model=; score it by itself, or give model=")
    leads = rank_and_world()[0] == 0
    console = console if leads else Console(quiet=True)
    quiet = Console(quiet=True) if config.json else console
    with process_group():
        evaluation, rivals, report = (_val_answers if config.predictions else _val_model)(config, quiet)
    if not leads:  # the first process writes, draws and tells
        return 1 if evaluation.failures else 0
    out = Path(config.out)
    evaluation.write(out, results=not config.predictions)
    watch = Stopwatch(evaluation.seconds)
    write_report(report(), out / "report.html")
    watch.tick("report")
    if config.json:
        console.print_json(data=evaluation.to_dict())
        return 1 if evaluation.failures else 0
    print_scores(console, evaluation)
    print_beside(console, evaluation, rivals)
    written = "metrics.json and report.html" if config.predictions else "metrics.json, result files and report.html"
    console.print(f"{written} in {out}/", highlight=False)
    return report_failures(console, evaluation.failures)


def _data(config: ValConfig, console: Console) -> CocoDataset:
    return open_coco(data_root(config.data, console), split_names(config.split), maps=config.maps)


def _facts(config: ValConfig) -> list[tuple[str, str]]:
    return [("data", f"{config.data} {'+'.join(split_names(config.split))}")]


Scored = tuple[Evaluation, list[Rival], Callable[[], Report]]
"""Scores, those of others beside, and what makes the report: pictures take time, and only the first process draws."""


def _val_answers(config: ValConfig, console: Console) -> Scored:
    """Scores of answers that are there already."""
    dataset = _data(config, console)
    with counting(console, "scoring", len(dataset)) as progress:
        line = progress.task_ids[0]
        evaluation = evaluate_answers(
            dataset, config.predictions, config.tasks or (), config.java, lambda done: progress.advance(line, done)
        )
    facts = [("predictions", config.predictions), *_facts(config), ("pictures", f"{len(dataset):,}")]
    judges = judges_of(evaluation.metrics, dataset.space)

    def report() -> Report:
        drawers = {"the answers": answer_drawer(judges, evaluation.answers, DecodeOptions())}
        pictures = galleries(dataset, judges, drawers, evaluation, config.plots, config.extremes)
        return replace(report_of("Evaluation", facts, evaluation), galleries=list(pictures))

    return evaluation, [], report


def _val_model(config: ValConfig, console: Console) -> Scored:
    """Scores of a model."""
    # Before the data, which may have to be drawn first.
    predictor = make_predictor(
        config.model, config.tasks, config.device, config.half, config.imgsz, config.vocab, config.strict
    )
    dataset = _data(config, console)
    if config.conf > 0.01:
        console.print(f"[yellow]conf={config.conf} cuts the precision curve off: AP will be too low[/yellow]")
    options = DecodeOptions(conf=config.conf, iou=config.iou, max_det=config.max_det, beam=config.beam)
    rival = load_rival(config.beside, config.tasks, dataset, config.device, config.half) if config.beside else None
    asked = config.tasks or ()
    evaluation = run_evaluation(predictor, dataset, console, options, config.batch, config.workers, config.java, asked)
    rivals = []
    if rival:
        scored = run_evaluation(rival, dataset, console, options, config.batch, config.workers)
        rivals = [Rival(config.beside, rival, scored)]
    facts = [("model", config.model), *_facts(config)]

    def report() -> Report:
        return build_report(
            "Evaluation", facts, predictor, dataset, evaluation, config.plots, config.extremes, rivals=rivals
        )

    return evaluation, rivals, report
