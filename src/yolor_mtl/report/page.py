"""One self-contained HTML page: it needs no network and no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image

from yolor_mtl.ops.details import Details
from yolor_mtl.ops.files import write_text
from yolor_mtl.report.curves import curve, lines, matrix


@dataclass(frozen=True)
class Answer:
    """What somebody says of a picture.

    Attributes:
        who: such as ``the model``.
        picture: boxes, masks and maps, drawn.
        caption: the sentence; empty without one.
    """

    who: str
    picture: Image.Image
    caption: str = ""


@dataclass(frozen=True)
class Example:
    """One picture of the report.

    Attributes:
        title: for example the file's name.
        answers: side by side.
        truth: what the labels say, drawn; ``None`` without labels.
        references: the labels' sentences.
        note: for example a score.
    """

    title: str
    answers: Sequence[Answer]
    truth: Image.Image | None = None
    references: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures under one heading.

    Attributes:
        title: the heading.
        examples: the pictures.
    """

    title: str
    examples: Sequence[Example]


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Attributes:
        title: heading.
        facts: names and values under the heading.
        scores: flat scores by key.
        beside: whose -> flat scores of the same data, to compare with.
        shown: keys of ``scores`` that are shown large.
        headlines: keys of ``metrics`` that are drawn as curves.
        protocol: how the scores are defined.
        losses: rows of ``losses.csv``.
        metrics: rows of ``metrics.csv``.
        details: what lies behind the scores, by task.
        galleries: pictures.
        failures: path -> reason of pictures that could not be read.
    """

    title: str
    facts: Sequence[tuple[str, str]] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    shown: Sequence[str] = ()
    headlines: Sequence[str] = ()
    protocol: Mapping[str, object] = field(default_factory=dict)
    losses: Sequence[Mapping[str, float]] = ()
    metrics: Sequence[Mapping[str, float]] = ()
    details: Mapping[str, Details] = field(default_factory=dict)
    galleries: Sequence[Gallery] = ()
    failures: Mapping[str, str] = field(default_factory=dict)


def write_report(report: Report, path: Path) -> None:
    """Writes the page, whole or not at all."""
    page = (
        templates()
        .get_template("report.html")
        .render(
            report=report,
            curves=_curves(report),
            diagrams=[lines(diagram) for details in report.details.values() for diagram in details.lines],
            matrices=[
                matrix(diagram)
                for details in report.details.values()
                for diagram in details.matrices
                if diagram.values.size  # without a class there is nothing to draw
            ],
            tables=[table for details in report.details.values() for table in details.tables],
            groups=_groups(report.scores),
            picture=data_url,
        )
    )
    write_text(path, page)


def templates() -> Environment:
    """The pages' templates; what is put into them is escaped."""
    return Environment(
        loader=PackageLoader("yolor_mtl.report"), autoescape=select_autoescape(), undefined=StrictUndefined
    )


def _curves(report: Report) -> list[str]:
    """A diagram for each task's loss, one for the headline scores, one for the learning rate."""
    moments = ("step", "seconds", "lr")
    tasks = list(dict.fromkeys(key for row in report.losses for key in row if key not in moments))
    drawn = [curve(report.losses, [task], f"loss: {task}", smooth=True) for task in tasks]
    if len(report.metrics) > 1:
        drawn.append(curve(report.metrics, list(report.headlines), "scores on the validation pictures"))
    if report.losses:
        drawn.append(curve(report.losses, ["lr"], "learning rate"))
    return drawn


def _groups(scores: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Scores by the part before the slash."""
    groups: dict[str, dict[str, float]] = {}
    for key, value in scores.items():
        group, slash, name = key.partition("/")
        groups.setdefault(group if slash else "all", {})[name if slash else key] = value
    return groups


def data_url(image: Image.Image) -> str:
    """A picture as the address of itself."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
