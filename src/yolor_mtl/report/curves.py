"""Curves as SVG, drawn without matplotlib's global state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from yolor_mtl.ops.details import Lines, Matrix

COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d")


def smoothed(values: Sequence[float], share: float = 0.9) -> list[float]:
    """Exponential moving average, corrected for its start."""
    answer, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = share * total + (1 - share) * value, share * weight + (1 - share)
        answer.append(total / weight)
    return answer


def curve(
    rows: Sequence[Mapping[str, float]], keys: Sequence[str], title: str, *, x: str = "step", smooth: bool = False
) -> str:
    """One diagram as an ``<svg>`` element.

    Args:
        rows: points; a key that a row lacks leaves a gap.
        keys: columns, a line each.
        title: text above.
        x: column of the horizontal axis.
        smooth: draw the values faintly and their moving average over them.
    """
    figure, axes = _canvas(title)
    for colour, key in zip(COLOURS * 3, keys, strict=False):
        points = [(row[x], row[key]) for row in rows if key in row and np.isfinite(row[key])]
        if not points:
            continue
        xs, ys = ([point[axis] for point in points] for axis in (0, 1))
        if smooth:
            axes.plot(xs, ys, color=colour, alpha=0.25, linewidth=0.8)
            axes.plot(xs, smoothed(ys), color=colour, linewidth=1.6, label=key)
        else:
            axes.plot(xs, ys, color=colour, linewidth=1.6, marker="o", markersize=3, label=key)
    axes.set_xlabel(x, fontsize=8)
    if len(keys) > 1 and axes.lines:
        axes.legend(fontsize=7, frameon=False)
    return _svg(figure)


def lines(diagram: Lines) -> str:
    """A diagram of lines over 0..1 as an ``<svg>`` element."""
    figure, axes = _canvas(diagram.title)
    if diagram.diagonal:
        axes.plot((0, 1), (0, 1), color="#9aa3ad", linewidth=1, linestyle="--")
    for colour, (name, points) in zip(COLOURS * 3, diagram.series.items(), strict=False):
        xs, ys = ([point[axis] for point in points] for axis in (0, 1))
        axes.plot(xs, ys, color=colour, linewidth=1.6, marker="o" if diagram.diagonal else "", label=name or None)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(diagram.axes[0], fontsize=8)
    axes.set_ylabel(diagram.axes[1], fontsize=8)
    if any(diagram.series):
        axes.legend(fontsize=7, frameon=False)
    return _svg(figure)


def matrix(diagram: Matrix) -> str:
    """A matrix of shares as an ``<svg>`` element; rows are labels, columns answers."""
    height, width = diagram.values.shape
    figure, axes = _canvas(diagram.title, (2.2 + 0.24 * width, 1.4 + 0.24 * height))
    axes.grid(visible=False)
    axes.imshow(diagram.values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(width), diagram.columns, rotation=90, fontsize=7)
    axes.set_yticks(range(height), diagram.rows, fontsize=7)
    axes.set_xlabel("the answers", fontsize=8)
    axes.set_ylabel("the labels", fontsize=8)
    for row, column in np.argwhere(diagram.values >= 0.1):
        share = diagram.values[row, column]
        colour = "white" if share > 0.6 else "black"
        axes.text(column, row, f"{share:.0%}"[:-1], ha="center", va="center", fontsize=5.5, color=colour)
    return _svg(figure)


def _canvas(title: str, size: tuple[float, float] = (4.6, 2.7)) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10, loc="left")
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
