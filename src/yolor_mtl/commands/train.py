"""``yolor-mtl train`` and ``yolor-mtl demo``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from yolor_mtl.commands.common import data_root, make_predictor, report_failures
from yolor_mtl.commands.scoring import Rival, build_report, load_rival, print_beside, print_scores, run_evaluation
from yolor_mtl.config import nearest, parse_assignments, read_yaml, split_names
from yolor_mtl.data.coco import open_coco
from yolor_mtl.inference.evaluator import NothingToScoreError
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.models.weights import BEST
from yolor_mtl.ops.console import Output
from yolor_mtl.ops.ranks import process_group, rank_and_world
from yolor_mtl.records import UserError
from yolor_mtl.report.page import write_report
from yolor_mtl.tasks import TASKS
from yolor_mtl.training.checkpoint import KEPT, LAST, PREVIOUS
from yolor_mtl.training.config import TrainConfig, train_config
from yolor_mtl.training.history import read_rows
from yolor_mtl.training.progress import clock
from yolor_mtl.training.trainer import TrainResult, what_is_kept
from yolor_mtl.training.trainer import train as run_training

PARTS = ("trunk", "implicit")
"""Keys of the network's row beside its tasks."""

DEMO = "runs/demo"
"""Where a demo goes, unless it is told."""


def train(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl train``."""
    return _run(_configured(parse_assignments(words), "default"), console)[0]


def demo(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl demo``: scenes, a short training from nothing, evaluation and the report."""
    given = parse_assignments(words)
    anew = not {"out", "name", "resume"} & set(given)
    if "data" in given:  # the weights beside it are for scenes
        given.setdefault("beside", "")
    config = _configured({**given, "out": DEMO} if anew else given, "demo")
    code, out = _run(config, console, anew)
    if code in (0, 1):
        console.print(f"\nNow look at [bold]{out}/report.html[/bold], or try it on a picture:")
        console.print(f"  yolor-mtl predict model={out} source=PICTURE_OR_FOLDER", highlight=False)
    return code


def _forget_last_demo() -> None:
    """A demo starts anew: what the last one left goes, and nothing that another verb has written there."""
    config = Path(DEMO) / "config.yaml"
    if config.is_file() and read_yaml(config).get("out") == DEMO:
        kept = (path.name for path in Path(DEMO).glob(KEPT.format("*")))
        for name in (LAST, PREVIOUS, BEST, *kept):
            (Path(DEMO) / name).unlink(missing_ok=True)


def _configured(given: Mapping[str, Any], recipe: str) -> TrainConfig:
    """Keys that are parts of the network apart from those of the training."""
    known = [*(entry.name for entry in fields(TrainConfig)), "config", *PARTS, *TASKS]
    for key in given:
        if key not in known:
            raise UserError(f"unknown key {key!r}{nearest(key, known)}; known: {', '.join(sorted(known))}")
    parts = {key: value for key, value in given.items() if key in (*PARTS, *TASKS)}
    config = train_config({key: value for key, value in given.items() if key not in parts}, parts, recipe)
    if config.weights and "implicit" in config.network:
        raise UserError(f"weights={config.weights} brings its own network; leave out implicit")
    return config


def _run(config: TrainConfig, console: Console, anew: bool = False) -> tuple[int, Path]:
    """Trains, scores the best weights and writes the report; the exit code and the run's folder."""
    if isinstance(console, Output):
        console.goes_on = True  # days of work do not end because ``tee`` did
    root = data_root(config.data, console)
    open_coco(root, [*split_names(config.train), *split_names(config.val)], maps=config.maps)
    rival = None
    if config.beside:
        held_out = open_coco(root, split_names(config.val), maps=config.maps)
        rival = load_rival(config.beside, None, held_out, config.device, config.half)
    if anew:
        _forget_last_demo()
    result = run_training(config, root, console)
    failures, stopped = dict(result.failures), ""
    if result.exit_code in (0, 1):
        with process_group():
            failures |= _report(config, result, root, console, rival)
    else:
        stopped = f"{result.fault}; {what_is_kept(result.out)}" if result.fault else what_is_kept(result.out)
    code = report_failures(console, failures)
    if stopped:
        console.print(f"stopped: {escape(stopped)}", highlight=False, soft_wrap=True)
    return result.exit_code or code, result.out


def _report(
    config: TrainConfig, result: TrainResult, root: Path, console: Console, rival: Predictor | None
) -> dict[str, str]:
    """Scores of the best weights and ``report.html``, which the first process writes; what could not be read."""
    leads = rank_and_world()[0] == 0
    weights = result.out / BEST
    predictor = make_predictor(str(weights), None, config.device, config.half, 0)
    dataset = open_coco(root, split_names(config.val), maps=config.maps)
    try:
        evaluation = run_evaluation(predictor, dataset, console, batch=config.batch, workers=config.workers)
    except NothingToScoreError as error:
        # The training is done all the same, and is no less worth for it.
        console.print(f"[yellow]note:[/yellow] {escape(str(error))}", soft_wrap=True, highlight=False)
        console.print(f"weights and tables in {result.out}/, without a report", highlight=False)
        return {}
    if leads:
        evaluation.write(result.out / "val")
    rivals = []
    if rival:
        console.print(f"the same pictures by {config.beside}, to compare with", highlight=False)
        scored = run_evaluation(rival, dataset, console, batch=config.batch, workers=config.workers)
        rivals = [Rival(config.beside, rival, scored)]
    if not leads:
        return evaluation.failures
    losses, metrics = (read_rows(result.out / name) for name in ("losses.csv", "metrics.csv"))
    facts = [
        ("network", config.model),
        ("data", f"{config.data} ({' + '.join(split_names(config.train))})"),
        ("time", clock(losses[-1]["seconds"] if losses else 0)),
        ("steps", f"{int(losses[-1]['step']) if losses else 0:,}"),
    ]
    title = f"{config.model} on {config.data}"
    report = build_report(
        title, facts, predictor, dataset, evaluation, config.plots, losses=losses, metrics=metrics, rivals=rivals
    )
    write_report(report, result.out / "report.html")
    print_scores(console, evaluation)
    print_beside(console, evaluation, rivals)
    console.print(f"weights, tables and report.html in {result.out}/", highlight=False)
    return evaluation.failures
