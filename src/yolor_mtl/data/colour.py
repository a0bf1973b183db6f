"""Colours of pictures."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from yolor_mtl.data.augment import AugmentConfig

ROWS = 40
"""Rows of pixels whose colours are worked out at once."""

_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64)
"""RGB to luma and two axes of colour (NTSC)."""


def colour_matrix(hue: float, saturation: float, brightness: float) -> Tensor:
    """The three jitters as one linear map of RGB values, (3, 3) float32.

    Hue turns the plane of colours about the axis of grey, saturation stretches it, brightness scales all: what an HSV
    conversion does pixel by pixel for twenty times the time, and the same but for how bright it takes a colour to be.

    Args:
        hue: share of a full turn.
        saturation: factor; 0 leaves grey.
        brightness: factor.
    """
    angle = 2 * math.pi * hue
    cos, sin = saturation * math.cos(angle), saturation * math.sin(angle)
    plane = torch.tensor([[1, 0, 0], [0, cos, sin], [0, -sin, cos]], dtype=torch.float64)
    matrix: Tensor = brightness * torch.linalg.inv(_YIQ) @ plane @ _YIQ
    return matrix.float()


def recolour(image: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Jitters hue, saturation and brightness of (3, H, W) uint8; takes colours away or blurs, by chance."""
    hue, saturation, brightness = rng.uniform(-1, 1, 3) * (config.hue, config.saturation, config.brightness)
    if hue or saturation or brightness:
        matrix = colour_matrix(float(hue), 1 + float(saturation), 1 + float(brightness))
        pixels = image.as_subclass(Tensor)
        changed = torch.empty_like(pixels)
        # Some rows at a time: float copies of a whole picture do not stay near the processor.
        for before, after in zip(pixels.split(ROWS, dim=1), changed.split(ROWS, dim=1), strict=True):
            after.copy_((matrix @ before.flatten(1).float()).round_().clamp_(0, 255).view_as(before))
        image = tv_tensors.Image(changed)
    if config.grey and rng.random() < config.grey:
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    if config.blur and rng.random() < config.blur:
        image = F.gaussian_blur(image, [5, 5], [float(rng.uniform(0.3, 1.5))])
    return image
