"""The model's frame: letterboxing a picture into it, and the way back for boxes and maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from yolor_mtl.records import Frame

GREY = 114
"""Value of padding pixels, the field's usual one."""


def letterbox_frame(original: tuple[int, int], size: tuple[int, int]) -> Frame:
    """The frame that fits a picture into ``size`` with its aspect ratio kept, centred.

    Args:
        original: (height, width) of the picture, at least 1 x 1.
        size: (height, width) of the model's frame.
    """
    ratio = min(size[0] / original[0], size[1] / original[1])
    inner = (
        min(size[0], max(1, round(original[0] * ratio))),
        min(size[1], max(1, round(original[1] * ratio))),
    )
    pad = ((size[1] - inner[1]) // 2, (size[0] - inner[0]) // 2)
    return Frame(original=original, inner=inner, pad=pad, size=size)


def fitting_size(original: tuple[int, int], side: int, multiple: int) -> tuple[int, int]:
    """(height, width) of the smallest frame for a picture whose longer side becomes ``side``: the other one
    is padded up to the next multiple.

    Args:
        original: (height, width) of the picture, at least 1 x 1.
        side: of the square frame, a multiple of ``multiple``.
        multiple: of the frame's sides.
    """
    longer = max(original)
    height, width = (-(-length * side // (longer * multiple)) * multiple for length in original)
    return height, width


def letterbox(image: Tensor, size: tuple[int, int]) -> tuple[Tensor, Frame]:
    """Resizes and pads a picture with grey.

    Args:
        image: (3, H, W) uint8.
        size: (height, width) of the result.

    Returns:
        (3, *size) uint8 and its frame.
    """
    frame = letterbox_frame((int(image.shape[-2]), int(image.shape[-1])), size)
    if frame.inner != frame.original:
        image = F.resize(image, list(frame.inner), antialias=True)
    left, top = frame.pad
    right, bottom = size[1] - left - frame.inner[1], size[0] - top - frame.inner[0]
    return F.pad(image, [left, top, right, bottom], fill=[float(GREY)]), frame


def boxes_to_original(boxes: Tensor, frame: Frame) -> Tensor:
    """Boxes (N, 4) of the model's frame in pixels of the original, clipped to the picture."""
    pad = boxes.new_tensor([*frame.pad, *frame.pad])
    scale = boxes.new_tensor([*frame.scale, *frame.scale])
    height, width = frame.original
    limit = boxes.new_tensor([width, height, width, height])
    return ((boxes - pad) / scale).clamp(min=0).minimum(limit)


def places(frame: Frame, axis: int, device: torch.device | None = None) -> Tensor:
    """Where the centres of the original's pixels lie in the model's frame: (n,) float32, from -1 to 1 over the frame.

    Args:
        frame: the picture's frame.
        axis: 0 for rows, 1 for columns.
        device: where the result lives.
    """
    pixels = torch.arange(frame.original[axis], device=device, dtype=torch.float32) + 0.5
    return (pixels * frame.scale[1 - axis] + frame.pad[1 - axis]) / frame.size[axis] * 2 - 1


def sample_original(maps: Tensor, frame: Frame, window: tuple[int, int, int, int] | None = None) -> Tensor:
    """Maps of the model's frame, at any stride, sampled at the pixels of the original picture.

    Sampling positions are worked out from the frame itself rather than by cropping whole cells, so that padding
    which is no multiple of the stride moves nothing.

    Args:
        maps: (C, h, w) float over the whole model's frame.
        frame: the picture's frame.
        window: (left, top, right, bottom) whole pixels of the original picture; all of it by default.

    Returns:
        (C, bottom - top, right - left) float32, bilinear.
    """
    height, width = frame.original
    left, top, right, bottom = window or (0, 0, width, height)

    xs, ys = (
        places(frame, axis, maps.device)[part] for axis, part in ((1, slice(left, right)), (0, slice(top, bottom)))
    )
    grid = torch.stack((xs.expand(len(ys), -1), ys[:, None].expand(-1, len(xs))), dim=-1)
    return torch.nn.functional.grid_sample(
        maps.float()[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False
    )[0]
