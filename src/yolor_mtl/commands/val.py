"""``yolor-mtl val``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from yolor_mtl.inference.evaluator import Evaluation, Stopwatch, evaluate, evaluate_answers, judges_of
from yolor_mtl.inference.gallery import Drawer, answer_drawer, examples, labelled_first, model_drawer
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.ops.ranks import process_group, rank_and_world
from yolor_mtl.records import UserError
from yolor_mtl.report.page import Gallery, Report, write_report
from yolor_mtl.tasks.base import EVALUATION, DecodeOptions, Judge


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
        evaluation, report = (_val_answers if config.predictions else _val_model)(config, dataset, quiet)
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
    written = "metrics.json and report.html" if config.predictions else "metrics.json, result files and report.html"
    console.print(f"{written} in {out}/", highlight=False)
    return report_failures(console, evaluation.failures)


def _facts(config: ValConfig) -> list[tuple[str, str]]:
    return [("data", f"{config.data} {'+'.join(split_names(config.split))}")]


Scored = tuple[Evaluation, Callable[[], Report]]
"""Scores, and what makes the report of them: pictures take time, and only the first process draws them."""


def _val_answers(config: ValConfig, dataset: CocoDataset, console: Console) -> Scored:
    """Scores of answers that are there already."""
    with counting(console, "scoring", len(dataset)) as progress:
        line = progress.task_ids[0]
        evaluation = evaluate_answers(
            dataset, config.predictions, config.tasks or (), config.java, lambda done: progress.advance(line, done)
        )
    facts = [("predictions", config.predictions), *_facts(config), ("pictures", f"{len(dataset):,}")]
    judges = judges_of(evaluation.metrics, dataset.space)

    def report() -> Report:
        drawer = answer_drawer(judges, evaluation.answers, DecodeOptions())
        galleries = _galleries(dataset, judges, drawer, evaluation, config.plots, config.extremes)
        return replace(_report_of("Evaluation", facts, evaluation), galleries=list(galleries), who="the answers")

    return evaluation, report


def _val_model(config: ValConfig, dataset: CocoDataset, console: Console) -> Scored:
    """Scores of a model."""
    predictor = make_predictor(
        config.model, config.tasks, config.device, config.half, config.imgsz, config.vocab, config.strict
    )
    if config.conf > 0.01:
        console.print(f"[yellow]conf={config.conf} cuts the precision curve off: AP will be too low[/yellow]")
    options = DecodeOptions(conf=config.conf, iou=config.iou, max_det=config.max_det, beam=config.beam)
    asked = config.tasks or ()
    evaluation = run_evaluation(predictor, dataset, console, options, config.batch, config.workers, config.java, asked)
    facts = [("model", config.model), *_facts(config)]
    return evaluation, lambda: build_report(
        "Evaluation", facts, predictor, dataset, evaluation, config.plots, config.extremes
    )


def run_evaluation(
    predictor: Predictor,
    dataset: CocoDataset,
    console: Console,
    options: DecodeOptions = EVALUATION,
    batch: int = 16,
    workers: int = -1,
    java: bool = False,
    asked: Sequence[str] = (),
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
            asked=asked,
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
        text = _in_words(said)
        if text and key not in in_rows:
            console.print(f"[dim]{escape(f'{key}: {text}')}[/dim]", soft_wrap=True, highlight=False)


ROW_PROTOCOL = ("", "/split", "/decoding")
"""What of a group's protocol stands in its row: the classes or the references, the split, the decoding."""


def _row_protocol(evaluation: Evaluation, group: str) -> list[str]:
    """One line, or none where the protocol says nothing of the group."""
    said = [
        str(evaluation.protocol[f"{group}{part}"]) for part in ROW_PROTOCOL if f"{group}{part}" in evaluation.protocol
    ]
    return ["; ".join(said)] if said else []


def _in_words(said: object) -> str:
    """An entry of the protocol as one line of text."""
    if isinstance(said, dict):
        return "; ".join(f"{key}: {value}" for key, value in said.items())
    if isinstance(said, list):
        return ", ".join(map(str, said)) or "none"
    return str(said)


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
    judges = [task.judged_on(dataset.space) for task in predictor.model.tasks]
    drawer = model_drawer(predictor, DecodeOptions())
    parameters = sum(predictor.model.parameters_by_part().values())
    size = [("parameters", f"{parameters / 1e6:.2f} M"), ("pictures", f"{len(dataset):,}")]
    scores = _report_of(title, [*facts, *size], evaluation)
    return replace(
        scores,
        losses=losses,
        metrics=metrics,
        galleries=list(_galleries(dataset, judges, drawer, evaluation, plots, extremes)),
    )


def _galleries(
    dataset: CocoDataset, judges: Sequence[Judge], drawer: Drawer, evaluation: Evaluation, plots: int, extremes: int
) -> Iterator[Gallery]:
    """Pictures from all over the data set, and the worst and the best ones of each task."""
    if plots:
        chosen = labelled_first(dataset, judges, plots)
        yield Gallery("Pictures", list(examples(dataset, chosen, judges, drawer)))
    if not extremes:
        return
    places = {image: index for index, image in enumerate(dataset.image_ids())}
    for name, found in evaluation.details().items():
        ranked = [places[image] for image, _ in sorted(found.images.items(), key=lambda item: item[1])]
        for title, chosen in (("Worst", ranked[:extremes]), ("Best", ranked[: -extremes - 1 : -1])):
            yield Gallery(f"{title} for {name}", list(examples(dataset, chosen, judges, drawer)))


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
