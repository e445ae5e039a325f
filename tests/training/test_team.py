"""Several processes that fit together: what each takes, and that one alone is as ever."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from fivefold.training.team import ALONE, Team, current_team


def test_shares_are_all_of_a_batch_once():
    rows = np.arange(11)
    shares = [Team(rank, 3).share(rows) for rank in range(3)]
    assert [len(share) for share in shares] == [4, 4, 3]
    assert sorted(np.concatenate(shares)) == list(rows)


def test_of_few_rows_each_takes_all():
    assert list(Team(2, 3).share(np.arange(2))) == [0, 1]


def test_random_streams_differ():
    assert {Team(rank, 3).stream("step") for rank in range(3)} == {"step", "step of 1", "step of 2"}


def test_a_team_works_within():
    assert current_team() is ALONE
    with Team(1, 2).working():
        assert current_team() == Team(1, 2)
    assert current_team() is ALONE


def test_gradients_are_means_over_items(monkeypatch):
    """The other process had three items, with gradients of 5; this one had one."""
    weights = nn.Linear(2, 1)
    weights(torch.ones(1, 2)).sum().backward()
    monkeypatch.setattr(dist, "all_reduce", lambda values: values.add_(torch.tensor([5.0, 5.0, 5.0, 1.0]) * 3))
    Team(0, 2).average_gradients([*weights.parameters(), nn.Parameter(torch.ones(1))], 1)
    assert torch.equal(weights.weight.grad, torch.full((1, 2), 4.0))
    assert torch.equal(weights.bias.grad, torch.full((1,), 4.0))


def test_alone_nobody_is_asked():
    values = torch.ones(3)
    assert ALONE.sum(values) is values
    ALONE.begin_alike([nn.Parameter(values)])
    ALONE.average_gradients([nn.Parameter(values)], 1)
