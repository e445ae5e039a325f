"""The autoencoder learns to reconstruct, reproducibly."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from fivefold.evaluation.rivals.networks import fit_autoencoder
from fivefold.images.dataset import make_items
from fivefold.images.networks import build_vae
from fivefold.jobs.codes import decode, encode
from fivefold.jobs.generate import morph
from fivefold.model.scoring import reconstruction_scores
from fivefold.seeds import derive_seed


@pytest.fixture(scope="module")
def items(model, digits):
    return make_items(digits[:128], model.schema)


@pytest.fixture(scope="module")
def fitted(model, items):
    return fit_autoencoder(model, items, epochs=4)


def test_loss_falls(model, items, fitted):
    fresh = build_vae(model.schema, model.config.network, derive_seed(0, "autoencoder")).eval()
    before = reconstruction_scores(dataclasses.replace(model, vae=fresh), items).mean()
    after = reconstruction_scores(fitted[0], items).mean()
    assert after > 0.8 * before  # nats are negative: 20% fewer at least


def test_it_is_a_model_of_the_same_networks(model, items, fitted):
    autoencoder, seconds = fitted
    assert seconds > 0
    assert autoencoder.parameters == sum(weight.numel() for weight in model.vae.parameters()) < model.parameters
    assert autoencoder.context is None
    assert autoencoder.prior is None
    assert autoencoder.normality is None
    assert not autoencoder.vae.training
    mu, _ = encode(autoencoder, items.select(slice(5)))
    assert mu.shape == (5, 4)
    assert decode(autoencoder, mu).shape == (5, 28, 28, 1)
    assert morph(autoencoder, mu[0], mu[1], 3).shape == (3, 28, 28, 1)


def test_codes_are_pulled_to_no_prior(model, items, fitted):
    """The head for the deviations gets no gradient: it is as it was initialised."""
    fresh = build_vae(model.schema, model.config.network, derive_seed(0, "autoencoder")).state_dict()
    trained = fitted[0].vae.state_dict()
    assert torch.equal(trained["encoder.logvar.weight"], fresh["encoder.logvar.weight"])
    assert not torch.equal(trained["encoder.mu.weight"], fresh["encoder.mu.weight"])


def test_seeded(model, items, fitted):
    again, other = (fit_autoencoder(model, items, epochs=4, seed=seed)[0].vae.state_dict() for seed in (0, 1))
    mine = fitted[0].vae.state_dict()
    assert all(torch.equal(mine[name], again[name]) for name in mine)
    assert not all(torch.equal(mine[name], other[name]) for name in mine)


def test_the_model_that_it_is_like_is_untouched(model, items):
    before = {name: weight.clone() for name, weight in model.networks.state_dict().items()}
    fit_autoencoder(model, items, epochs=1)
    after = model.networks.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
