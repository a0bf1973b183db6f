"""Cells of feature maps, counted row by row."""

from __future__ import annotations

import torch
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


def extent(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(2,) float32, width and height: a tensor, where numbers would tie an exported graph to its example's."""
    return torch.cat([torch.full((1,), side, dtype=torch.float32, device=device) for side in (width, height)])


def squared(shares: Tensor, height: int, width: int) -> Tensor:
    """Places of a frame as shares of the square about it, which has the same middle and its longer side.

    A picture lies in such a square at the same places whether its frame was padded to it or not.

    Args:
        shares: (..., 2 k) x and y in turn, as shares of the frame.
        height: of the frame, in any unit.
        width: of the frame, in the same unit.
    """
    sides = extent(height, width, shares.device)
    part = (sides / sides.max()).to(shares.dtype).repeat(shares.shape[-1] // 2)
    return shares * part + (1 - part) / 2


def cell_boxes(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(height * width, 4) float32 ``xyxy`` of the cells of a map, row by row, as :func:`squared` shares."""
    ys, xs = torch.meshgrid(
        torch.arange(height, device=device, dtype=torch.float32),
        torch.arange(width, device=device, dtype=torch.float32),
        indexing="ij",
    )
    corners = torch.stack((xs / width, ys / height, (xs + 1) / width, (ys + 1) / height), dim=-1)
    return squared(corners.flatten(0, 1), height, width)
