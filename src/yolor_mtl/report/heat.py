"""Heat maps of how much tasks agree, one for each stage of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

COLOURS = "RdBu"
NOTHING = "#ececec"
"""Colour of a cell that has no number to show."""


def heat_maps(
    panels: Mapping[str, np.ndarray],
    names: Sequence[str],
    title: str,
    *,
    bold: Mapping[str, np.ndarray] | None = None,
    ends: tuple[str, str] = ("", ""),
    note: str = "",
    columns: int = 4,
) -> Figure:
    """A panel each, red below 0 and blue above, with one scale for all of them.

    Args:
        panels: heading -> (T, T) cosines, NaN where there is none.
        names: T names, of rows and columns.
        title: text above.
        bold: heading -> (T, T) bool, the numbers that stand out; none by default.
        ends: what values below 0 and above it mean, in a few words.
        note: text below.
        columns: panels side by side, at most.
    """
    across = min(columns, len(panels))
    down = math.ceil(len(panels) / across)
    side = 0.55 * len(names) + 0.35
    layout = ConstrainedLayoutEngine(h_pad=0.08)
    figure = Figure(figsize=(across * side + 1.9, down * (side + 0.25) + 1.7), layout=layout, dpi=150)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    grid = figure.subplots(down, across, squeeze=False)
    limit = scale_of(list(panels.values()))
    items = list(panels.items())
    for number, axes in enumerate(grid.flat):
        if number >= len(items):
            axes.set_axis_off()
            continue
        heading, values = items[number]
        _panel(axes, heading, values, limit, (bold or {}).get(heading, np.zeros(values.shape, dtype=bool)))
        left, bottom = number % across == 0, number + across >= len(items)
        axes.set_yticks(range(len(names)), names if left else [""] * len(names), fontsize=8)
        axes.set_xticks(range(len(names)), names if bottom else [""] * len(names), fontsize=8, rotation=90)
    bar = figure.colorbar(grid.flat[0].images[0], ax=grid, shrink=0.6, aspect=30, pad=0.04)
    bar.ax.tick_params(labelsize=8)
    bar.ax.set_xlabel(ends[0], fontsize=8, labelpad=8)
    bar.ax.set_title(ends[1], fontsize=8, pad=8)
    figure.supxlabel(note, fontsize=8, x=0.01, ha="left")
    return figure


def scale_of(panels: Sequence[np.ndarray]) -> float:
    """The greatest cosine off the diagonals, up or down, rounded up to a tenth: where the colours end."""
    apart = [values[~np.eye(len(values), dtype=bool)] for values in panels]
    found = np.concatenate([np.zeros(1), *apart])
    return min(1.0, max(0.1, math.ceil(float(np.nanmax(np.abs(found))) * 10 - 1e-9) / 10))


def _panel(axes: Axes, heading: str, values: np.ndarray, limit: float, bold: np.ndarray) -> None:
    """One heat map; the diagonal, on which every cosine is 1, is left empty."""
    shown = np.where(np.eye(len(values), dtype=bool), np.nan, values)
    axes.set_title(heading, fontsize=10, loc="left", fontweight="bold")
    axes.set_facecolor(NOTHING)
    axes.imshow(shown, cmap=COLOURS, vmin=-limit, vmax=limit)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for edge in range(1, len(values)):
        axes.axhline(edge - 0.5, color="white", linewidth=1.5)
        axes.axvline(edge - 0.5, color="white", linewidth=1.5)
    for row, column in np.argwhere(~np.eye(len(values), dtype=bool)):
        value = shown[row, column]
        colour = "white" if abs(value) > 0.6 * limit else "black"
        text = "\N{EN DASH}" if np.isnan(value) else f"{value:+z.2f}".replace("-", "\N{MINUS SIGN}")
        weight = "bold" if bold[row, column] else "normal"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour, fontweight=weight)
