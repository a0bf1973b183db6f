"""The averaged weights, against a sequence worked out by hand."""

import math

import pytest
import torch

from yolor_mtl.training.average import average_function


def test_against_a_hand_computed_sequence():
    decay, ramp = 0.9, 10
    update = average_function(decay, ramp)
    average, expected = torch.tensor([1.0, 10.0]), [1.0, 10.0]
    for step, current in enumerate(([2.0, 0.0], [4.0, -8.0], [0.0, 1.0])):
        update([average], [torch.tensor(current)], step)
        keep = decay * (1 - math.exp(-(step + 1) / ramp))
        expected = [keep * old + (1 - keep) * new for old, new in zip(expected, current, strict=True)]
        assert average.tolist() == pytest.approx(expected)


def test_the_first_step_forgets_nearly_all_and_late_ones_little():
    early, late = torch.zeros(1), torch.zeros(1)
    update = average_function(0.999, 1000)
    update([early], [torch.ones(1)], 0)
    update([late], [torch.ones(1)], torch.tensor(1_000_000))
    assert early.item() > 0.99
    assert late.item() == pytest.approx(0.001)


def test_integers_are_copied():
    counter, average = torch.tensor(3), torch.zeros(2)
    average_function(0.9, 1)([counter, average], [torch.tensor(7), torch.ones(2)], 5)
    assert counter.item() == 7
    assert 0 < average[0].item() < 1


def test_integers_alone():
    counter = torch.tensor([1, 2])
    average_function(0.9, 1)([counter], [torch.tensor([5, 6])], 0)
    assert counter.tolist() == [5, 6]
