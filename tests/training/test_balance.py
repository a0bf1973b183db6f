"""Learnt weights of the tasks, against numbers worked out by hand."""

import math

import pytest
import torch

from yolor_mtl.training.balance import Balance


@pytest.fixture
def balance() -> Balance:
    return Balance(["a", "b"])


def test_at_first_the_total_is_the_sum(balance: Balance) -> None:
    shares = balance({"a": torch.tensor(3.0), "b": torch.tensor(0.5)})
    assert {name: share.item() for name, share in shares.items()} == {"a": 3.0, "b": 0.5}
    assert balance.weights() == {"balance/a": 1.0, "balance/b": 1.0}


def test_value_and_gradients_of_both_sides(balance: Balance) -> None:
    with torch.no_grad():
        balance.log_variance["a"].fill_(math.log(4.0))
    loss = torch.tensor(6.0, requires_grad=True)
    share = balance({"a": loss})["a"]
    share.backward()
    # 6 / 4 + log 4; a quarter for the loss, 1 - 6 / 4 for the log variance.
    assert share.item() == pytest.approx(1.5 + math.log(4.0))
    assert loss.grad is not None
    assert loss.grad.item() == pytest.approx(0.25)
    assert balance.log_variance["a"].grad.item() == pytest.approx(-0.5)
    assert balance.weights()["balance/a"] == pytest.approx(0.25)


def test_a_task_that_is_not_there_has_no_share(balance: Balance) -> None:
    shares = balance({"b": torch.tensor(2.0)})
    assert list(shares) == ["b"]
    shares["b"].backward()
    assert balance.log_variance["a"].grad is None


def test_it_learns_the_scale_of_each_loss(balance: Balance) -> None:
    losses = {"a": torch.tensor(20.0), "b": torch.tensor(0.1)}
    optimizer = torch.optim.SGD(balance.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        sum(balance(losses).values(), torch.zeros(())).backward()
        optimizer.step()
    assert balance.weights() == pytest.approx({"balance/a": 1 / 20, "balance/b": 10}, rel=1e-3)
