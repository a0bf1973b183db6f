"""Curves as SVG, drawn without matplotlib's global state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

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
    figure = Figure(figsize=(4.6, 2.7), layout="constrained")
    axes = figure.add_subplot()
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
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(keys) > 1 and axes.lines:
        axes.legend(fontsize=7, frameon=False)
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
