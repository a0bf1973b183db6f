"""What verbs that score have in common: the evaluation with its bar, the table, and the report with its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.markup import escape

from yolor_mtl.build import check_space
from yolor_mtl.commands.common import counting, make_predictor, print_table
from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.inference.evaluator import Evaluation, evaluate
from yolor_mtl.inference.gallery import Drawer, examples, labelled_first, model_drawer
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.records import UserError
from yolor_mtl.report.page import Gallery, Report
from yolor_mtl.tasks.base import EVALUATION, DecodeOptions, Judge


@dataclass(frozen=True)
class Rival:
    """Another model on the same data.

    Attributes:
        name: as ``beside=`` names it.
        predictor: the model.
        evaluation: its scores.
    """

    name: str
    predictor: Predictor
    evaluation: Evaluation


def load_rival(name: str, tasks: list[str] | None, dataset: CocoDataset, device: str, half: str) -> Predictor:
    """The model that ``beside=`` names, before any work is done.

    Raises:
        UserError: it cannot be used, or its classes are not those of the data.
    """
    predictor = make_predictor(name, tasks, device, half, 0)
    try:
        check_space(predictor.model.space, dataset.space, scored=True)
    except UserError as error:
        raise UserError(f"beside={name} cannot be scored on this data: {error}; leave it out with beside=") from error
    return predictor


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


def print_beside(console: Console, evaluation: Evaluation, rivals: Sequence[Rival]) -> None:
    """The headline scores of several models; nothing without others."""
    if not rivals:
        return
    columns = [evaluation.scores, *(rival.evaluation.scores for rival in rivals)]
    rows = [
        (key, *(f"{scores[key]:.3f}" if key in scores else "-" for scores in columns)) for key in _shown(evaluation)
    ]
    print_table(console, "beside", rows, ("score", "this model", *(rival.name for rival in rivals)))


def _shown(evaluation: Evaluation) -> list[str]:
    return [key for metric in evaluation.metrics.values() for key in metric.shown if key in evaluation.scores]


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
    rivals: Sequence[Rival] = (),
) -> Report:
    """A report with pictures of the data set, beside those of other models."""
    judges = [task.judged_on(dataset.space) for task in predictor.model.tasks]
    drawers = {
        who: model_drawer(each, DecodeOptions())
        for who, each in [("the model", predictor), *((rival.name, rival.predictor) for rival in rivals)]
    }
    parameters = sum(predictor.model.parameters_by_part().values())
    size = [("parameters", f"{parameters / 1e6:.2f} M"), ("pictures", f"{len(dataset):,}")]
    scores = report_of(title, [*facts, *size], evaluation)
    return replace(
        scores,
        losses=losses,
        metrics=metrics,
        beside={rival.name: rival.evaluation.scores for rival in rivals},
        galleries=list(galleries(dataset, judges, drawers, evaluation, plots, extremes)),
    )


def galleries(
    dataset: CocoDataset,
    judges: Sequence[Judge],
    drawers: Mapping[str, Drawer],
    evaluation: Evaluation,
    plots: int,
    extremes: int,
) -> Iterator[Gallery]:
    """Pictures from all over the data set, and the worst and the best ones of each task."""
    if plots:
        chosen = labelled_first(dataset, judges, plots)
        yield Gallery("Pictures", list(examples(dataset, chosen, judges, drawers)))
    if not extremes:
        return
    places = {image: index for index, image in enumerate(dataset.image_ids())}
    for name, found in evaluation.details().items():
        ranked = [places[image] for image, _ in sorted(found.images.items(), key=lambda item: item[1])]
        for title, chosen in (("Worst", ranked[:extremes]), ("Best", ranked[: -extremes - 1 : -1])):
            yield Gallery(f"{title} for {name}", list(examples(dataset, chosen, judges, drawers)))


def report_of(title: str, facts: Sequence[tuple[str, str]], evaluation: Evaluation) -> Report:
    """The scores alone."""
    kinds = list(evaluation.metrics.values())
    return Report(
        title=title,
        facts=facts,
        scores=evaluation.scores,
        shown=_shown(evaluation),
        headlines=[metric.headline for metric in kinds],
        protocol=evaluation.protocol,
        details=evaluation.details(),
        failures=evaluation.failures,
    )
