"""The loop brings every item once per epoch, in an order of the seed's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fivefold.baselines.loop import run_epochs
from fivefold.data import make_items


def run(n: int = 23, batch_size: int = 5, epochs: int = 3, seed: int = 0, description: str = "loop"):
    """The batches' items and rows, a random number of each step, and the seconds."""
    items = make_items(np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 3, 4, 1)))
    steps = []

    def step(x, visible, rows, generator):
        assert x.shape == visible.shape == (len(rows), 1, 3, 4)
        assert visible.all()
        steps.append((items.schema.from_unit(x[:, 0, 0, 0].numpy()), rows, torch.rand(1, generator=generator).item()))

    device = torch.device("cpu")
    return steps, run_epochs(description, items, step, epochs=epochs, batch_size=batch_size, seed=seed, device=device)


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
