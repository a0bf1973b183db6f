"""Gradients that contradict each other, against projections by hand and the numbers of torchjd's own documentation."""

import pytest
import torch
from torch import Tensor, nn

from yolor_mtl.training.config import CHOICES

pytest.importorskip("torchjd")

from yolor_mtl.training.surgery import AGGREGATORS, ActiveSets, Surgery


class Toy(nn.Module):
    """Two features, of which the second is made of the first, and two heads that read both."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1).to(memory_format=torch.channels_last)
        self.second = nn.Conv2d(4, 4, 3, padding=1).to(memory_format=torch.channels_last)
        self.heads = nn.ModuleDict({name: nn.Conv2d(4, 1, 1) for name in ("a", "b")})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        near = self.first(images).tanh()
        far = self.second(near).tanh()
        return {name: head(near + far).square().mean() for name, head in self.heads.items()}


def surgery(toy: Toy, name: str) -> Surgery:
    return Surgery(name, [*toy.first.parameters(), *toy.second.parameters()], toy.heads.parameters())


def pictures(seed: int) -> Tensor:
    return torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(seed))


def gradients(toy: Toy) -> dict[str, Tensor]:
    return {name: parameter.grad.clone() for name, parameter in toy.named_parameters() if parameter.grad is not None}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_the_words_are_those_of_the_configuration() -> None:
    assert ("none", *AGGREGATORS) == CHOICES["surgery"]


def test_pcgrad_by_hand() -> None:
    shared, own = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.tensor(2.0))
    cut = Surgery("pcgrad", [shared], [own])
    # Gradients (1, 0) and (-1, 1). Without its part along the other one each is (1/2, 1/2) and (0, 1).
    cut.backward({"a": shared[0] + 3 * own, "b": shared[1] - shared[0]})
    cut.finish()
    assert shared.grad is not None
    assert shared.grad.tolist() == [0.5, 1.5]
    assert own.grad is not None
    assert own.grad.item() == 3.0


def test_upgrad_as_torchjd_documents_it() -> None:
    jacobian = torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
    found = surgery(Toy(), "upgrad").combine(jacobian)
    # Each is projected by adding the other: 22 / 38 of the second, 22 / 18 of the first.
    by_hand = (1 + 22 / 18) * jacobian[0] + (1 + 22 / 38) * jacobian[1]
    assert found.tolist() == pytest.approx(by_hand.tolist(), abs=1e-4)
    # The documentation's answer is a mean of two tasks, with a larger ridge.
    assert (found / 2).tolist() == pytest.approx([0.2929, 1.9004, 1.9004], abs=1e-3)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_active_sets_find_the_least(size: int) -> None:
    rows, bound = torch.randn(size, 7), torch.rand(size)
    gramian = rows @ rows.T
    found = ActiveSets(ridge=0.0)(bound[None], gramian)[0]
    slope = gramian @ found
    # The conditions of Karush, Kuhn and Tucker: no slope where an entry is free, none downwards where it is bound.
    assert (found >= bound - 1e-5).all()
    assert (slope >= -1e-3).all()
    assert ((found - bound) * slope).abs().max() < 1e-3


def test_opposite_gradients_are_no_trouble() -> None:
    assert surgery(Toy(), "upgrad").combine(torch.tensor([[1.0, 2.0], [-1.0, -2.0]])).abs().max() < 1e-3
    assert surgery(Toy(), "upgrad").combine(torch.zeros(2, 3)).abs().max() == 0


@pytest.mark.parametrize("name", ["pcgrad", "upgrad"])
def test_without_a_contradiction_it_is_the_sum(name: str) -> None:
    jacobian = torch.tensor([[1.0, 2.0, 0.0], [0.5, 0.0, 1.0], [0.0, 1.0, 1.0]])
    torch.testing.assert_close(surgery(Toy(), name).combine(jacobian), jacobian.sum(dim=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in AGGREGATORS if name != "cagrad"])
def test_equal_gradients_add_up(name: str) -> None:
    row = torch.tensor([3.0, -1.0, 2.0])
    torch.testing.assert_close(surgery(Toy(), name).combine(torch.stack([row, row])), 2 * row, rtol=1e-3, atol=1e-3)


def test_cagrad_lies_in_its_ball() -> None:
    jacobian = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    mean = jacobian.mean(dim=0)
    found = surgery(Toy(), "cagrad").combine(jacobian) / 2
    # Equation 4 of arXiv 2110.14048: no farther from the mean than c of its length, and no task gains less.
    assert (found - mean).norm() <= 0.5 * mean.norm() * 1.001
    assert (jacobian @ found).min() > (jacobian @ mean).min()


def test_features_made_of_each_other_count_once() -> None:
    toy, images = Toy(), pictures(0)
    loss = toy(images)["a"]
    cut = surgery(toy, "pcgrad")
    # Twice the same task: nothing to project, so that the trunk gets the sum.
    cut.backward({"a": loss, "again": loss.clone()})
    cut.finish()
    found = gradients(toy)
    toy.zero_grad()
    losses = toy(images)
    (2 * losses["a"] + 0 * losses["b"]).backward()
    assert_close(found, gradients(toy))
    for name, parameter in toy.named_parameters():
        assert parameter.grad is not None
        assert found[name].stride() == parameter.stride(), name


def test_batches_of_a_step_are_aggregated_together() -> None:
    toy = Toy()
    cut = surgery(toy, "pcgrad")
    torch.manual_seed(3)
    for seed in (0, 1):
        cut.backward(toy(pictures(seed)), 0.5)
    cut.finish()
    found = gradients(toy)
    toy.zero_grad()
    one, other = toy(pictures(0)), toy(pictures(1))
    torch.manual_seed(3)
    cut.backward({name: (one[name] + other[name]) / 2 for name in one})
    cut.finish()
    assert_close(found, gradients(toy))


def test_a_task_on_its_own_keeps_its_gradient() -> None:
    toy, images = Toy(), pictures(0)
    cut = surgery(toy, "mgda")
    cut.backward({"b": toy(images)["b"], "constant": torch.tensor(1.0)})
    cut.finish()
    found = gradients(toy)
    toy.zero_grad()
    losses = toy(images)
    (losses["b"] + 0 * losses["a"]).backward()
    assert_close(found, gradients(toy))


def test_the_next_step_starts_anew() -> None:
    toy = Toy()
    cut = surgery(toy, "pcgrad")
    found = []
    for _ in range(2):
        toy.zero_grad()
        torch.manual_seed(0)
        cut.backward(toy(pictures(0)))
        cut.finish()
        found.append(gradients(toy))
    assert_close(*found)
