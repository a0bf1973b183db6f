"""Cells of feature maps, counted row by row."""

from __future__ import annotations

from torch import Tensor


def cells_of(feature: Tensor) -> Tensor:
    """(R, C, H, W) as (R, H * W, C)."""
    return feature.flatten(2).transpose(1, 2)


def pick(rows: Tensor, places: Tensor) -> Tensor:
    """Of (R, S, C) those at ``places`` (R, K) int64: (R, K, C)."""
    return rows.gather(1, places[..., None].expand(-1, -1, rows.shape[2]))


def cell_at(points: Tensor, height: int, width: int) -> Tensor:
    """Numbers (...) int64 of the cells of a map of ``height`` x ``width`` that hold points.

    Args:
        points: (..., 2) x and y as shares of the picture; those outside fall into the nearest cell.
        height: cells of a column.
        width: cells of a row.
    """
    x = (points[..., 0] * width).long().clamp(0, width - 1)
    y = (points[..., 1] * height).long().clamp(0, height - 1)
    return y * width + x
