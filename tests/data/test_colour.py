"""Colours change as far as they are told to."""

from __future__ import annotations

import numpy as np
import torch
from drawn import BOX, drawn
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from yolor_mtl.data.augment import AugmentConfig
from yolor_mtl.data.colour import colour_matrix, recolour


def test_recolour() -> None:
    image = drawn((30, 40), BOX).image
    still = AugmentConfig(hue=0, saturation=0, brightness=0)
    assert torch.equal(recolour(image, still, np.random.default_rng(0)), image)
    found = [recolour(image, AugmentConfig(), np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert found[0].shape == image.shape
    assert found[0].dtype == torch.uint8
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_grey_and_blur() -> None:
    image = drawn((30, 40), BOX).image
    still = {"hue": 0.0, "saturation": 0.0, "brightness": 0.0}
    grey = recolour(image, AugmentConfig(**still, grey=1.0), np.random.default_rng(0))
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[1], grey[2])
    assert grey.shape == image.shape
    blurred = recolour(image, AugmentConfig(**still, blur=1.0), np.random.default_rng(0))
    steps = [(x.float()[:, 1:] - x.float()[:, :-1]).abs().amax() for x in (image, blurred)]
    assert steps[1] < steps[0]


def test_the_matrix_does_what_hsv_does() -> None:
    """Saturation and brightness as torchvision has them; hue as far as a line can follow a hexagon."""
    colours = torch.tensor([[200, 40, 60], [30, 160, 90], [120, 120, 120], [250, 240, 20]], dtype=torch.uint8)
    image = colours.T[:, None].contiguous()

    def ours(hue: float, saturation: float, brightness: float) -> Tensor:
        flat = colour_matrix(hue, saturation, brightness) @ image.flatten(1).float()
        return flat.round().clamp(0, 255).view_as(image)

    wanted = F.adjust_brightness(F.adjust_saturation(image, 0.6), 1.2)
    assert (ours(0, 0.6, 1.2) - wanted.float()).abs().max() <= 3
    assert torch.equal(ours(0, 1, 1), image.float())
    grey = ours(0.3, 1.5, 1)[:, 0, 2]
    assert (grey - 120).abs().max() <= 1
    assert (ours(0.015, 1, 1) - F.adjust_hue(image, 0.015).float()).abs().max() <= 20
    # A third of a turn makes red green, and green blue.
    assert ours(1 / 3, 1, 1)[:, 0, 0].argmax() == F.adjust_hue(image, 1 / 3)[:, 0, 0].argmax()
    assert ours(1 / 3, 1, 1)[:, 0, 1].argmax() == F.adjust_hue(image, 1 / 3)[:, 0, 1].argmax()
