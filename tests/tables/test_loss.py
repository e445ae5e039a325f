"""What the context decoder of tables learns from."""

from __future__ import annotations

import pytest
import torch

from fivefold.modality import modality_of
from fivefold.model.context import TrainingBatch
from fivefold.model.corruption import Corrupted, corrupt_for_training
from fivefold.model.fitted import channels_first
from fivefold.tables import dataset
from fivefold.tables.settings import configure, table_config
from fivefold.training.batches import Batches


def setting(trees):
    items = dataset.open(trees[:100]).all_items()
    config = configure(items=100, hidden=16, context_width=16, members=2)
    networks = modality_of(items.schema).networks.build(items.schema, config, 0)
    x, visible = (channels_first(part) for part in items.unit())
    return networks, config, x, visible


def loss(networks, seen, x, visible, positions=16, seed=1):
    _, z_features = networks["vae"].likelihood_and_features(torch.zeros(len(x), 8))
    generator = torch.Generator().manual_seed(seed)
    return networks["context"].loss(TrainingBatch(z_features, seen, x, visible, positions, generator))


def test_the_same_generator_gives_the_same_loss_and_gradient(trees):
    networks, config, x, visible = setting(trees)
    seen = corrupt_for_training(x, visible, config.damage, torch.Generator().manual_seed(0))
    found = []
    for seed in (1, 1, 2):
        networks.zero_grad()
        each = loss(networks, seen, x, visible, seed=seed)
        each.backward()
        found.append((each.item(), networks["context"].first.weight.grad.clone()))
    assert found[0][0] == found[1][0] != found[2][0]
    assert torch.equal(found[0][1], found[1][1])


def test_only_hidden_known_cells_count(trees):
    networks, _, x, visible = setting(trees)
    networks.eval()
    no, hidden = torch.zeros(len(x), dtype=torch.bool), visible.clone()
    hidden[..., 1:] = False
    seen = Corrupted(torch.where(hidden, x, 0.0), hidden, ~no, no)
    before = loss(networks, seen, x, visible)
    shown, unknown = x.clone(), x.clone()
    shown[..., 0] = 0.5
    unknown[~visible] = 0.7
    assert loss(networks, seen, shown, visible) == before
    assert loss(networks, seen, unknown, visible) == before
    wanted = x.clone()
    wanted[..., 2] = 0.1
    assert loss(networks, seen, wanted, visible) != before


def test_swapped_cells_are_another_rows(trees):
    _, _, x, visible = setting(trees)
    seen = corrupt_for_training(x, visible, {"swap": 1.0}, torch.Generator().manual_seed(0))
    changed = (seen.x != x)[:, 0, 0]
    assert seen.noisy.all()
    assert 0.02 < changed[:, 2].float().mean() < 0.4
    for column in range(x.shape[3]):
        known = set(x[visible[..., column].flatten(), 0, 0, column].tolist())
        assert set(seen.x[changed[:, column], 0, 0, column].tolist()) <= known


def test_an_epoch_is_neither_too_short_nor_too_long(trees):
    items = dataset.open(trees).all_items()
    import numpy as np

    few = Batches(items, np.arange(10), 4, seed=0, steps=(7, 9))
    assert len(few) == len(list(few.epoch(0))) == 8
    assert sum(len(x) for x, _ in few.epoch(0)) == 30, "three passes"
    many = Batches(items, np.arange(400), 4, seed=0, steps=(7, 9))
    assert len(many) == len(list(many.epoch(0))) == 9


@pytest.mark.parametrize(
    ("rows", "columns", "epochs", "linear", "held_out"),
    [
        (150, 4, 9, True, 22),
        (400, 30, 12, True, 60),
        (500, 30, 12, True, 100),
        (569, 33, 30, False, 100),
        (6000, 33, 10, True, 600),
    ],
)
def test_recipes_follow_the_size_of_the_table(rows, columns, epochs, linear, held_out):
    config = configure(items=rows, size=columns)
    assert (config.training.epochs, table_config(config).linear) == (epochs, linear)
    assert round(rows * config.training.validation) == held_out
