"""Pythae's generators learn, are reproducible, keep to their time, and leave no traces."""

from __future__ import annotations

import logging
import os
import random
import tempfile

import numpy as np
import pytest
import torch

from fivefold.errors import DataError, UsageError
from fivefold.evaluation.rivals import generators
from fivefold.evaluation.rivals.generators import GENERATORS, fit_generator
from fivefold.images.dataset import make_items
from fivefold.items import Items


def _halves(n: int, brightness: int = 255) -> Items:
    """Images 4×6 of two channels, lit on the left or on the right."""
    images = np.zeros((n, 4, 6, 2), np.uint8)
    images[::2, :, :3] = brightness
    images[1::2, :, 3:] = brightness
    return make_items(images)


@pytest.fixture(params=GENERATORS)
def name(request) -> str:
    return request.param


@pytest.fixture
def _few_epochs(monkeypatch):
    monkeypatch.setattr(generators, "_EPOCHS", 2)


def _leaning(images: np.ndarray) -> np.ndarray:
    """How much brighter the left half is than the right, `(n,)`."""
    return images[:, :, :3].mean(axis=(1, 2, 3)) - images[:, :, 3:].mean(axis=(1, 2, 3))


@pytest.mark.parametrize("brightness", [255, 204])
def test_generates_what_it_was_trained_on(name, brightness):
    images = fit_generator(name, _halves(120, brightness), latent_dim=3, minutes=1, seed=0)(64, 1)
    assert images.shape == (64, 4, 6, 2)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    leaning = _leaning(images)
    left = leaning > 0
    assert 0.2 < left.mean() < 0.8
    assert 0.6 < np.abs(leaning).mean() / (brightness / 255) < 1.1
    assert (left[1:] != left[:-1]).sum() > 15, "they must not come sorted"


@pytest.mark.usefixtures("_few_epochs")
def test_reproducible(name):
    first, same, other = (fit_generator(name, _halves(120), latent_dim=3, minutes=1, seed=seed) for seed in (0, 0, 1))
    images = first(20, 4)
    np.testing.assert_array_equal(images, first(20, 4))
    np.testing.assert_array_equal(images, same(20, 4))
    assert (images != first(20, 5)).any()
    assert (images != other(20, 4)).any()


@pytest.mark.usefixtures("_few_epochs")
def test_leaves_nothing_behind(name, capfd, monkeypatch, tmp_path):
    def state() -> tuple:
        legacy = np.random.get_state()  # noqa: NPY002
        return random.getstate(), legacy[1].tobytes(), legacy[2], torch.get_rng_state().tolist(), dict(os.environ)

    def loggers() -> list:
        return [
            (logger.disabled, list(logger.handlers))
            for key, logger in logging.root.manager.loggerDict.items()
            if key.startswith("pythae.") and isinstance(logger, logging.Logger)
        ]

    generators.require("pythae.pipelines")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = state(), loggers()
    generate = fit_generator(name, _halves(8), latent_dim=3, minutes=1, seed=0)
    assert (state(), loggers()) == before
    generate(3, 0)
    assert (state(), loggers()) == before
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_trains_for_as_long_as_it_may(name, monkeypatch):
    from pythae.trainers import BaseTrainer, CoupledOptimizerTrainer

    trainer = CoupledOptimizerTrainer if "RAE" in name else BaseTrainer
    steps, step = [], trainer._optimizers_step

    def counted(self: BaseTrainer, output: object) -> None:
        steps.append(1)
        step(self, output)

    monkeypatch.setattr(trainer, "_optimizers_step", counted)
    fit_generator(name, _halves(230), latent_dim=3, minutes=0, seed=0)
    assert len(steps) == 1
    monkeypatch.setattr(generators, "_EPOCHS", 2)
    fit_generator(name, _halves(230), latent_dim=3, minutes=1, seed=0)
    assert len(steps) == 1 + 2 * 3


def test_the_benchmarks_networks_for_digits(name, digits, monkeypatch):
    monkeypatch.setattr(generators, "_BATCH_SIZE", 3)
    monkeypatch.setattr(generators, "_EPOCHS", 1)
    items = make_items(digits[:4])  # the fourth would be a batch of its own
    images = fit_generator(name, items, latent_dim=16, minutes=1, seed=0, convolutional=True)(2, 0)
    assert images.shape == (2, 28, 28, 1)
    assert (images[0] != images[1]).any()


def test_errors():
    with pytest.raises(UsageError, match=r"one of Pythae VAE.*got 'GAN'"):
        fit_generator("GAN", _halves(4), latent_dim=3, minutes=1, seed=0)
    with pytest.raises(UsageError, match="28×28×1"):
        fit_generator(GENERATORS[0], _halves(4), latent_dim=3, minutes=1, seed=0, convolutional=True)
    with pytest.raises(DataError, match="at least two training items"):
        fit_generator(GENERATORS[0], _halves(1), latent_dim=3, minutes=1, seed=0)
