"""What answers need of maps of the model's frame, at the pixels of the original picture.

:func:`~yolor_mtl.ops.frame.sample_original` says what every value of a map is there. The functions here give the same
values but leave out work that cannot change an answer: pixels outside a window, and classes that cannot win.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from yolor_mtl.ops.frame import places, sample_original
from yolor_mtl.records import Frame

BAND = 2**18
"""Pixels of the picture at once: bounds memory on large photographs."""

VALUES = 2**22
"""Interpolated values at once, for the same reason."""

_CANDIDATES = (0, 4, 16, 64)
"""Pixels are taken together with those of about as many candidates; most have two or three."""


@dataclass(frozen=True)
class Taps:
    """Between which two cells the pixels of one axis lie.

    Attributes:
        low: (n,) int64 cell at or before each pixel; never falls from one pixel to the next.
        high: (n,) int64 cell after it; at the edge the same one, so that edges go on outward.
        weight: (n,) float32 share of ``high`` in 0..1.
    """

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray


def taps(frame: Frame, axis: int, cells: int) -> Taps:
    """Where the centres of the original's pixels lie among the cells of a map over the whole model's frame.

    Args:
        frame: the picture's frame.
        axis: 0 for rows, 1 for columns.
        cells: of the map along that axis.
    """
    # As grid_sample works them out, step by step in float32: so that rounding, too, is that of sample_original.
    found = ((places(frame, axis) + 1) * (cells / 2) - 0.5).clamp(0, cells - 1).numpy()
    low = found.astype(np.int64)
    return Taps(low, np.minimum(low + 1, cells - 1), found - low.astype(np.float32))


class Windows:
    """Samples windows of planes that share their frame and size; on the CPU, where small arrays are quickest.

    Args:
        frame: the picture's frame.
        cells: (h, w) of the planes.
    """

    def __init__(self, frame: Frame, cells: tuple[int, int]) -> None:
        self._rows, self._columns = taps(frame, 0, cells[0]), taps(frame, 1, cells[1])

    def sample(self, plane: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
        """Bilinear values (bottom - top, right - left) float32 of a plane (h, w) float32.

        Args:
            plane: the plane.
            window: (left, top, right, bottom) whole pixels inside the original picture.
        """
        left, top, right, bottom = window
        rows, columns = slice(top, bottom), slice(left, right)
        low, high = self._columns.low[columns], self._columns.high[columns]
        # Rows first, of the needed columns only: that passage runs at the plane's few columns.
        first = low[0] if len(low) else 0
        plane = plane[:, first : high[-1] + 1 if len(high) else 0]
        weight = self._rows.weight[rows, None]
        mixed = plane[self._rows.low[rows]] * (1 - weight) + plane[self._rows.high[rows]] * weight
        weight = self._columns.weight[columns]
        values: np.ndarray = mixed.take(low - first, axis=1)
        values *= 1 - weight
        values += mixed.take(high - first, axis=1) * weight
        return values


def strongest(logits: Tensor, frame: Frame) -> Tensor:
    """The class with the greatest interpolated logit at every pixel of the original picture.

    Equal to ``sample_original(logits, frame).argmax(0)``, but where two classes tie within float rounding. A bilinear
    value is a mean of four cells with weights of zero or more, and rounding keeps order. So where one class leads in
    all four cells it leads between them, and a class that nowhere in the four reaches what another has everywhere
    cannot lead: only pixels between cells of different leaders are interpolated, and only few classes there.

    Args:
        logits: (C, h, w) over the whole model's frame, any float type, any device; quickest with channels last.
        frame: the picture's frame.

    Returns:
        (H, W) uint8 on the CPU; of equals the lowest class.
    """
    _, height, width = logits.shape
    device = logits.device
    rows, columns = taps(frame, 0, height), taps(frame, 1, width)
    ys, xs, fy, fx = (torch.from_numpy(a).to(device) for a in (rows.low, columns.low, rows.weight, columns.weight))
    best = logits.max(dim=0).indices  # argmax takes five times as long in half precision
    below, right = _next(best, 0), _next(best, 1)
    mixed = (best != below) | (best != right) | (best != _next(below, 1))
    answer = torch.empty(frame.original, dtype=torch.uint8)
    band = max(1, BAND // len(xs))
    for top in range(0, len(ys), band):
        rows_here = slice(top, top + band)
        own = ys[rows_here]
        found = best.to(torch.uint8).index_select(0, own).index_select(1, xs)
        pixels = mixed.index_select(0, own).index_select(1, xs).flatten().nonzero()[:, 0]
        y, x = pixels // len(xs), pixels % len(xs)
        classes = _between(logits, own[y] * width + xs[x], fy[rows_here][y], fx[x], found.numel())
        if classes is None:
            found = _dense(logits, frame, top, top + len(own))
        else:
            found.view(-1)[pixels] = classes
        answer[rows_here] = found.cpu()
    return answer


def _next(cells: Tensor, axis: int) -> Tensor:
    """Each cell's neighbour along an axis; the last has itself."""
    return torch.cat((cells.narrow(axis, 1, cells.shape[axis] - 1), cells.narrow(axis, cells.shape[axis] - 1, 1)), axis)


def _between(logits: Tensor, blocks: Tensor, fy: Tensor, fx: Tensor, whole: int) -> Tensor | None:
    """Classes (P,) uint8 of pixels between cells with different leaders; ``None`` where that would not save time.

    Args:
        logits: (C, h, w).
        blocks: (P,) int64 upper left cell of each pixel, row by row.
        fy: (P,) share of the lower cells.
        fx: (P,) share of the right cells.
        whole: number of all pixels, with those that are settled.
    """
    classes, height, width = logits.shape
    # The pixels of one block share their candidates: those are worked out once a block.
    touched = torch.zeros(height * width, dtype=torch.bool, device=logits.device)
    touched[blocks] = True
    cells = touched.nonzero()[:, 0]
    place = (touched.cumsum(0) - 1)[blocks]
    y, x = cells // width, cells % width
    below, right = (y + 1).clamp(max=height - 1) * width, (x + 1).clamp(max=width - 1)
    by_cell = logits.permute(1, 2, 0).reshape(-1, classes)
    corners = [by_cell.index_select(0, at).float() for at in (cells, y * width + right, below + x, below + right)]
    least = torch.minimum(torch.minimum(corners[0], corners[1]), torch.minimum(corners[2], corners[3]))
    most = torch.maximum(torch.maximum(corners[0], corners[1]), torch.maximum(corners[2], corners[3]))
    # Written so that a logit that is no number stays a candidate, and the answer is what it is without short cuts.
    candidates = ~(most < least.amax(dim=1, keepdim=True))
    table, counts = _listed(candidates)
    needed = counts[place]
    if int(needed.sum()) > whole * classes // 8:
        return None
    values = torch.stack([corner.gather(1, table) for corner in corners], dim=1)  # (M, 4, K)
    weights = torch.stack(((1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy), dim=1)[..., None]  # (P, 4, 1)
    found = torch.empty(len(blocks), dtype=torch.uint8, device=logits.device)
    for few, many in pairwise((*_CANDIDATES, classes)):
        if few >= table.shape[1]:
            break
        group = ((needed > few) & (needed <= many)).nonzero()[:, 0]
        own = values[:, :, :many].contiguous()
        for part in group.split(max(1, VALUES // (4 * many))):
            four = own.index_select(0, place[part]) * weights[part]
            leader = (four[:, 0] + four[:, 1] + four[:, 2] + four[:, 3]).max(dim=1, keepdim=True).indices
            found[part] = table[place[part]].gather(1, leader)[:, 0].to(torch.uint8)
    return found


def _listed(candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Candidates (M, C) bool as rows of classes (M, K) int64, ascending and filled up with the first, and their counts.

    Every row has a candidate: the class with the greatest least value is one.
    """
    counts = candidates.sum(dim=1)
    row, cls = candidates.nonzero(as_tuple=True)
    first = counts.cumsum(0) - counts
    longest = int(counts.max()) if len(counts) else 0
    table = cls[first][:, None].repeat(1, longest)
    table[row, torch.arange(len(row), device=row.device) - first[row]] = cls
    return table, counts


def _dense(logits: Tensor, frame: Frame, top: int, bottom: int) -> Tensor:
    """Rows ``top`` to ``bottom`` of the answer by interpolating everything; (bottom - top, W) uint8."""
    width = frame.original[1]
    band = max(1, VALUES // (width * len(logits)))
    parts = [
        sample_original(logits, frame, (0, start, width, min(bottom, start + band))).argmax(0).to(torch.uint8)
        for start in range(top, bottom, band)
    ]
    return torch.cat(parts)
