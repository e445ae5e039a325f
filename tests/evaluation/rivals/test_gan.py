"""The GAN runs, learns, and is reproducible."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import fivefold
from fivefold.evaluation.rivals import networks
from fivefold.evaluation.rivals.generators import fit_gan
from fivefold.images.dataset import make_items


@pytest.fixture(scope="module")
def items(model, digits):
    return make_items(digits[:200], model.schema)


@pytest.fixture(scope="module")
def gan(model, items):
    return fit_gan(model, items, epochs=2)


def test_generates_items_of_the_datas_kind(gan):
    images = gan.generate(7)
    assert images.shape == (7, 28, 28, 1)
    assert images.dtype == np.uint8
    assert len({image.tobytes() for image in images}) == 7
    assert gan.seconds > 0


def test_generating_is_seeded_and_not_by_batches(gan, monkeypatch):
    images = gan.generate(20, seed=1)
    np.testing.assert_array_equal(images, gan.generate(20, seed=1))
    assert not np.array_equal(images, gan.generate(20, seed=2))
    assert np.abs(images[:5].astype(int) - gan.generate(5, seed=1)).max() <= 1
    monkeypatch.setattr(type(gan.like), "batch_size", 7)
    assert np.abs(images.astype(int) - gan.generate(20, seed=1)).max() <= 1


def test_training_is_seeded(model, items, gan):
    mine = gan.generator.state_dict()
    again, other = (fit_gan(model, items, epochs=2, seed=seed).generator.state_dict() for seed in (0, 1))
    assert all(torch.equal(mine[name], again[name]) for name in mine)
    assert not all(torch.equal(mine[name], other[name]) for name in mine)


def test_generator_comes_closer_to_the_data(model, digits, items):
    """Digits are mostly black, an untrained generator's images grey."""
    target = digits[:200].mean()
    untrained, trained = (fit_gan(model, items, epochs=epochs).generate(50).mean() for epochs in (0, 30))
    assert abs(trained - target) < abs(untrained - target)


@pytest.mark.parametrize(("minutes", "steps"), [(3 / 60, 3), (0, 0)])
def test_trained_for_minutes(model, items, monkeypatch, minutes, steps):
    """By a clock that each look at it moves on by a second: a step takes one."""
    seconds = itertools.count()
    monkeypatch.setattr(networks, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    trained = fit_gan(model, items, minutes=minutes)
    assert trained.seconds == steps + 1
    untrained = fit_gan(model, items, epochs=0).generator.state_dict()
    same = [torch.equal(weight, untrained[name]) for name, weight in trained.generator.state_dict().items()]
    assert all(same) == (steps == 0)
    assert trained.generate(2).shape == (2, 28, 28, 1)


@pytest.mark.parametrize("likelihood", ["pixels", "gaussian"])
def test_like_a_model_of_another_family_and_shape(colour_folder, small_settings, likelihood):
    settings = {**small_settings, "latent_dim": 2, "epochs": 1, "likelihood": likelihood}
    model = fivefold.fit(colour_folder, **settings)
    images = fit_gan(model, model.read(colour_folder), epochs=1).generate(3)
    assert images.shape == (3, 32, 24, 3)
    assert images.dtype == np.uint8
