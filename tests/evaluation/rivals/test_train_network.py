"""Training sees every item once per epoch, in an order of the seed's, for as long as it may."""

from __future__ import annotations

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fivefold.evaluation.rivals import networks
from fivefold.evaluation.rivals.networks import train_network
from fivefold.images.dataset import make_items


def run(n: int = 23, batch_size: int = 5, epochs: int = 3, seed: int = 0, description: str = "loop"):
    """The batches' items and rows, a random number of each step, and the seconds."""
    items = make_items(np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 3, 4, 1)))
    steps = []

    def step(x, visible, rows, generator, passed):
        assert x.shape == visible.shape == (len(rows), 1, 3, 4)
        assert visible.all()
        steps.append((items.schema.from_unit(x[:, 0, 0, 0].numpy()), rows, torch.rand(1, generator=generator).item()))

    device = torch.device("cpu")
    limits = {"epochs": epochs, "batch_size": batch_size}
    return steps, train_network(description, items, step, seed=seed, device=device, **limits)


@pytest.mark.parametrize(("n", "batch_size", "batches"), [(23, 5, 5), (20, 5, 4), (3, 5, 1), (1, 1, 1)])
def test_every_item_once_per_epoch(n, batch_size, batches):
    steps, seconds = run(n, batch_size)
    assert len(steps) == 3 * batches
    for epoch in range(3):
        parts = steps[epoch * batches : (epoch + 1) * batches]
        assert sorted(np.concatenate([rows for _, rows, _ in parts])) == list(range(n))
    for values, rows, _ in steps:
        np.testing.assert_array_equal(values, rows)
    assert seconds >= 0


def test_order_and_random_numbers_are_the_seeds():
    def trace(**changed):
        return [(tuple(rows), number) for _, rows, number in run(**changed)[0]]

    assert trace() == trace()
    assert trace() != trace(seed=1)
    assert trace() != trace(description="another")
    first, second, _ = np.array_split(np.concatenate([rows for _, rows, _ in run()[0]]), 3)
    assert not np.array_equal(first, second)


@pytest.fixture
def ticking(monkeypatch):
    """A clock that each look at it moves on by a second."""
    seconds = itertools.count()
    monkeypatch.setattr(networks, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


def run_timed(minutes: float, seed: int = 0):
    """The rows of each step, the shares of the time that had passed, and the seconds."""
    items = make_items(np.broadcast_to(np.arange(23, dtype=np.uint8)[:, None, None, None], (23, 3, 4, 1)))
    steps, shares = [], []

    def step(x, visible, rows, generator, passed):
        np.testing.assert_array_equal(items.schema.from_unit(x[:, 0, 0, 0].numpy()), rows)
        steps.append(tuple(rows))
        shares.append(passed)

    device = torch.device("cpu")
    return steps, shares, train_network("timed", items, step, minutes=minutes, batch_size=5, seed=seed, device=device)


@pytest.mark.usefixtures("ticking")
def test_minutes_run_out_at_a_step_that_knows_it():
    steps, shares, seconds = run_timed(12 / 60)
    assert len(steps) == 12
    assert shares == pytest.approx([0, *np.arange(2, 13) / 12])
    assert seconds == 13  # with the look at the clock at the end
    for epoch in range(2):
        assert sorted(sum(steps[epoch * 5 : (epoch + 1) * 5], ())) == list(range(23))
    assert steps[:5] != steps[5:10]
    assert run_timed(12 / 60)[0] == steps
    assert run_timed(12 / 60, seed=1)[0] != steps


def test_minutes_are_those_of_the_clock():
    start = time.monotonic()
    steps, shares, seconds = run_timed(0.1 / 60)
    assert 0.1 <= seconds <= time.monotonic() - start
    assert len(steps) > 1
    assert shares[0] == 0
    assert 0 < shares[-1] <= 1


def test_no_minutes_no_steps():
    assert run_timed(0)[0] == []
