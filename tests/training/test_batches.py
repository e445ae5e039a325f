"""Each item once per epoch, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.images.dataset import make_items
from fivefold.items import Items
from fivefold.training.batches import Batches


def numbered(n: int) -> Items:
    """Items `(n, 2, 3, 1)` that hold their number."""
    return make_items(np.broadcast_to(np.arange(n, dtype=np.uint16)[:, None, None, None], (n, 2, 3, 1)))


def order_of(batches, items: Items, epoch: int = 0) -> list[int]:
    """The items' numbers as an epoch brings them."""
    unit = torch.cat([x for x, _ in batches.epoch(epoch)])[:, 0, 0, 0].numpy()
    return items.schema.from_unit(unit).tolist()


@given(
    n=st.integers(1, 60), batch_size=st.integers(1, 70), seed=st.none() | st.integers(0, 99), epoch=st.integers(0, 9)
)
@settings(max_examples=60, deadline=None)
def test_every_item_once_per_epoch(n, batch_size, seed, epoch):
    items = numbered(n)
    batches = Batches(items, np.arange(n), batch_size, seed)
    order = order_of(batches, items, epoch)
    assert sorted(order) == list(range(n))
    sizes = [len(x) for x, _ in batches.epoch(epoch)]
    assert len(sizes) == len(batches)
    assert all(size == batch_size for size in sizes[:-1])
    if seed is None:
        assert order == list(range(n))


def test_order_depends_on_seed_and_epoch_alone():
    items = numbered(50)
    orders = {}
    for seed in (0, 1):
        for epoch in (0, 1):
            batches = Batches(items, np.arange(50), 8, seed)
            order_of(batches, items, 5)  # what was drawn before must not matter
            orders[seed, epoch] = order_of(batches, items, epoch)
            assert order_of(Batches(items, np.arange(50), 8, seed), items, epoch) == orders[seed, epoch]
    assert len({tuple(order) for order in orders.values()}) == 4


def test_order_does_not_depend_on_the_batch_size():
    items = numbered(50)
    assert order_of(Batches(items, np.arange(50), 8, 3), items) == order_of(Batches(items, np.arange(50), 50, 3), items)


def test_batches_are_channels_first_with_their_visibility():
    values = np.random.default_rng(0).random((5, 4, 3, 2)).astype(np.float32)
    values[1, 2, 0, 1] = np.nan
    ((x, visible),) = Batches(make_items(values), np.arange(len(values)), 5).epoch(0)
    assert x.shape == visible.shape == (5, 2, 4, 3)
    assert x.dtype == torch.float32
    assert (~visible).nonzero().tolist() == [[1, 1, 2, 0]]
    assert x[1, 1, 2, 0] == 0
    assert x[4, 1, 3, 2].item() == pytest.approx(values[4, 3, 2, 1])


def test_only_the_rows_asked_for():
    items = numbered(50)
    rows = np.array([3, 7, 20, 49])
    assert sorted(order_of(Batches(items, rows, 3, 1), items)) == rows.tolist()
    assert order_of(Batches(items, rows, 3), items) == rows.tolist()
