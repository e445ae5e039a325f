"""The U-Net learns to undo damage, on images of any size, and never sees what is missing."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fivefold.evaluation.metrics import psnr
from fivefold.evaluation.rivals import networks
from fivefold.evaluation.rivals.networks import fit_unet
from fivefold.images.dataset import make_items
from fivefold.model.corruption import add_gaussian, hide_at_random


@pytest.fixture(autouse=True)
def _ticking(monkeypatch):
    """Steps that all take a second, by the clock."""
    seconds = itertools.count()
    monkeypatch.setattr(networks, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


@pytest.fixture(scope="module")
def small_digits(digits):
    """Of 14×14 pixels: 600 to learn from and 100 to look at."""
    items = make_items(np.ascontiguousarray(digits[:700, ::2, ::2]))
    return items.select(slice(600)), items.select(slice(600, 700))


def noise(x, generator):
    return add_gaussian(x, torch.full((len(x),), 0.4), generator), torch.ones_like(x[:, :1], dtype=torch.bool)


def holes(x, generator):
    return x, hide_at_random(x, torch.full((len(x),), 0.5), generator)


def damaged(like, items, damage):
    x, visible = damage(like.tensor(items.unit()[0]), torch.Generator().manual_seed(1))
    return tuple(each.numpy().transpose(0, 2, 3, 1) for each in (x, visible))


@pytest.mark.parametrize(("damage", "steps"), [(noise, 20), (holes, 30)])
def test_restores_better_than_doing_nothing(model, small_digits, damage, steps):
    train, test = small_digits
    like = dataclasses.replace(model, schema=train.schema)
    unet = fit_unet(train, like=like, damage=damage, minutes=steps / 60)
    truth = test.unit()[0]
    x, visible = damaged(like, test, damage)
    restored = unet.restore(x, visible)
    assert restored.shape == truth.shape
    assert restored.dtype == np.float32
    assert restored.min() >= 0
    assert restored.max() <= 1
    everywhere = np.ones_like(truth, bool)
    before, after = (psnr(truth, each, everywhere).mean() for each in (np.where(visible, x, 0), restored))
    assert after > before + 1
    assert unet.seconds == steps + 1


def test_what_is_hidden_is_not_seen_and_batches_do_not_matter(model, small_digits, monkeypatch):
    train, test = small_digits
    like = dataclasses.replace(model, schema=train.schema)
    unet = fit_unet(train, like=like, damage=holes, minutes=2 / 60)
    x, visible = damaged(like, test, holes)
    restored = unet.restore(x, visible)
    np.testing.assert_array_equal(restored, unet.restore(np.where(visible, x, 0.7), visible))
    assert not np.array_equal(restored, unet.restore(np.where(visible, x, 0.7), np.ones_like(visible)))
    monkeypatch.setattr(type(like), "batch_size", 33)
    np.testing.assert_allclose(restored, unet.restore(x, visible), atol=1e-5)


def test_what_the_data_misses_does_not_matter(model, small_digits):
    train, _ = small_digits
    train = train.select(slice(130))
    like = dataclasses.replace(model, schema=train.schema)
    hidden = np.zeros(train.values.shape, bool)
    hidden[:, 3:9, 4:9] = True
    changed = np.where(hidden, 255 - train.values, train.values)

    def weights(values, hidden=None):
        items = dataclasses.replace(train, values=values, hidden=hidden)
        unet = fit_unet(items, like=like, damage=careless, minutes=3 / 60)
        return torch.cat([weight.flatten() for weight in unet.network.parameters()])

    def careless(x, generator):
        """Fills in what is missing."""
        return noise(x, generator)

    assert torch.equal(weights(train.values, hidden), weights(changed, hidden))
    assert not torch.equal(weights(train.values), weights(changed))


@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 5, 2), (12, 7, 3), (2, 17, 4)])
def test_any_size_and_number_of_channels(model, shape):
    values = np.random.default_rng(0).random((3, *shape), np.float32)
    items = make_items(values)
    like = dataclasses.replace(model, schema=items.schema)
    unet = fit_unet(items, like=like, damage=noise, minutes=1 / 60)
    restored = unet.restore(values, np.ones((3, *shape[:2], 1), bool))
    assert restored.shape == values.shape
    assert np.isfinite(restored).all()


def test_training_is_seeded(model, small_digits):
    train, _ = small_digits
    like = dataclasses.replace(model, schema=train.schema)

    def weights(seed):
        unet = fit_unet(train.select(slice(50)), like=like, damage=noise, minutes=2 / 60, seed=seed)
        return torch.cat([weight.flatten() for weight in unet.network.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
