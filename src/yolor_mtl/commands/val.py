"""``yolor-mtl val``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from yolor_mtl.commands.common import (
    check_counts,
    counting,
    data_root,
    make_predictor,
    print_table,
    report_failures,
)
from yolor_mtl.config import fill, parse_assignments, split_names
from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.named import SCENES
from yolor_mtl.inference.evaluator import Evaluation, evaluate, evaluate_answers
from yolor_mtl.inference.gallery import examples, labelled_first
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.ops.details import Details
from yolor_mtl.ops.ranks import process_group, rank_and_world
from yolor_mtl.records import UserError
from yolor_mtl.report.page import Gallery, Report, write_report
from yolor_mtl.tasks.base import EVALUATION, DecodeOptions


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
        tasks: tasks to score; all that were trained by default.
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
    leads = rank_and_world()[0] == 0
    console = console if leads else Console(quiet=True)
    quiet = Console(quiet=True) if config.json else console
    dataset = open_coco(data_root(config.data, quiet), split_names(config.split), maps=config.maps)
    with process_group():
        evaluation, report = (_val_answers if config.predictions else _val_model)(config, dataset, quiet, leads)
    out = Path(config.out)
    if leads:
        evaluation.write(out, results=not config.predictions)
        write_report(report, out / "report.html")
    if config.json:
        console.print_json(data=evaluation.to_dict())
        return 1 if evaluation.failures else 0
    print_scores(console, evaluation)
    console.print(f"metrics.json, result files and report.html in {out}/", highlight=False)
    return report_failures(console, evaluation.failures)


def _facts(config: ValConfig) -> list[tuple[str, str]]:
    return [("data", f"{config.data} {'+'.join(split_names(config.split))}")]


def _val_answers(config: ValConfig, dataset: CocoDataset, console: Console, leads: bool) -> tuple[Evaluation, Report]:
    """Scores of answers that are there already."""
    with counting(console, "scoring", len(dataset)) as progress:
        line = progress.task_ids[0]
        evaluation = evaluate_answers(
            dataset, config.predictions, config.tasks or (), config.java, lambda done: progress.advance(line, done)
        )
    return evaluation, _report_of("Evaluation", [("predictions", config.predictions), *_facts(config)], evaluation)


def _val_model(config: ValConfig, dataset: CocoDataset, console: Console, leads: bool) -> tuple[Evaluation, Report]:
    """Scores of a model; the pictures of the report are drawn by the first process only."""
    predictor = make_predictor(
        config.model, config.tasks, config.device, config.half, config.imgsz, config.vocab, config.strict
    )
    if config.conf > 0.01:
        console.print(f"[yellow]conf={config.conf} cuts the precision curve off: AP will be too low[/yellow]")
    options = DecodeOptions(conf=config.conf, iou=config.iou, max_det=config.max_det, beam=config.beam)
    evaluation = run_evaluation(predictor, dataset, console, options, config.batch, config.workers, config.java)
    facts = [("model", config.model), *_facts(config)]
    if not leads:
        return evaluation, _report_of("Evaluation", facts, evaluation)
    return evaluation, build_report("Evaluation", facts, predictor, dataset, evaluation, config.plots, config.extremes)


def run_evaluation(
    predictor: Predictor,
    dataset: CocoDataset,
    console: Console,
    options: DecodeOptions = EVALUATION,
    batch: int = 16,
    workers: int = -1,
    java: bool = False,
) -> Evaluation:
    """:func:`evaluate` with a progress bar."""
    with counting(console, "evaluating", len(dataset)) as progress:
        line = progress.task_ids[0]
        return evaluate(
            predictor,
            dataset,
            options=options,
            batch=batch,
            workers=workers,
            java=java,
            progress=lambda done: progress.advance(line, done),
        )


def print_scores(console: Console, evaluation: Evaluation) -> None:
    """A row for each group of scores with its protocol, and under the table what else defines them."""
    groups: dict[str, list[str]] = {}
    for key, value in evaluation.scores.items():
        group, _, name = key.rpartition("/")
        shown = "-" if value == -1 else f"{value:.3f}"
        groups.setdefault(group or "all", []).append(f"[bold]{name}[/bold] {shown}")
    rows = [
        (
            group,
            "\n".join(
                ["   ".join(values), *(f"[dim]{escape(line)}[/dim]" for line in _row_protocol(evaluation, group))]
            ),
        )
        for group, values in groups.items()
    ]
    print_table(console, "scores", rows, ("task", ""))
    whole = sum(evaluation.seconds.values())
    parts = ", ".join(f"{name} {seconds:.1f} s ({seconds / whole:.0%})" for name, seconds in evaluation.seconds.items())
    console.print(f"time: {parts}", highlight=False)
    in_rows = {f"{group}{part}" for group in groups for part in ROW_PROTOCOL}
    for key, said in evaluation.protocol.items():
        text = (", ".join(said) or "none") if _is_words(said) else said
        if isinstance(text, str) and key not in in_rows:
            console.print(f"[dim]{escape(f'{key}: {text}')}[/dim]", soft_wrap=True, highlight=False)


ROW_PROTOCOL = ("", "/split", "/decoding")
"""What of a group's protocol stands in its row: the classes or the references, the split, the decoding."""


def _row_protocol(evaluation: Evaluation, group: str) -> list[str]:
    """One line, or none where the protocol says nothing of the group."""
    said = [
        str(evaluation.protocol[f"{group}{part}"]) for part in ROW_PROTOCOL if f"{group}{part}" in evaluation.protocol
    ]
    return ["; ".join(said)] if said else []


def _is_words(said: object) -> bool:
    return isinstance(said, list) and all(isinstance(word, str) for word in said)


def build_report(
    title: str,
    facts: Sequence[tuple[str, str]],
    predictor: Predictor,
    dataset: CocoDataset,
    evaluation: Evaluation,
    plots: int,
    extremes: int = 0,
    losses: Sequence[dict[str, float]] = (),
    metrics: Sequence[dict[str, float]] = (),
) -> Report:
    """A report with pictures of the data set."""
    chosen = labelled_first(dataset, predictor.model, plots) if plots else []
    parameters = sum(predictor.model.parameters_by_part().values())
    size = [("parameters", f"{parameters / 1e6:.2f} M"), ("pictures", f"{len(dataset):,}")]
    scores = _report_of(title, [*facts, *size], evaluation)
    return replace(
        scores,
        losses=losses,
        metrics=metrics,
        galleries=[
            Gallery("Pictures", list(examples(predictor, dataset, chosen, DecodeOptions()))),
            *_extremes(predictor, dataset, scores.details, extremes),
        ],
    )


def _extremes(
    predictor: Predictor, dataset: CocoDataset, details: Mapping[str, Details], number: int
) -> Iterator[Gallery]:
    """The worst and the best pictures of each task."""
    if not number:
        return
    places = {dataset.annotations(index).image_id: index for index in range(len(dataset))}
    for name, found in details.items():
        ranked = [places[image] for image, _ in sorted(found.images.items(), key=lambda item: item[1])]
        for title, chosen in (("Worst", ranked[:number]), ("Best", ranked[: -number - 1 : -1])):
            yield Gallery(f"{title} for {name}", list(examples(predictor, dataset, chosen, DecodeOptions())))


def _report_of(title: str, facts: Sequence[tuple[str, str]], evaluation: Evaluation) -> Report:
    """The scores alone."""
    kinds = list(evaluation.metrics.values())
    return Report(
        title=title,
        facts=facts,
        scores=evaluation.scores,
        shown=[key for metric in kinds for key in metric.shown if key in evaluation.scores],
        headlines=[metric.headline for metric in kinds],
        protocol=evaluation.protocol,
        details=evaluation.details(),
        failures=evaluation.failures,
    )
