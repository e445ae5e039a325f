"""Figures and scores of a fitted model, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fivefold.images.dataset import make_items
from fivefold.model.scoring import evaluate_elbo, reconstruction_scores
from fivefold.model.vae import Posterior


def toy_of(linear_gaussian, latent_scale: float = 0.1):
    weights = torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0]]) * latent_scale
    return linear_gaussian(weights, torch.full((4,), 0.5), 0.05)


def draws_of(toy, n: int, seed: int = 0) -> np.ndarray:
    """Items that the toy model generates: `(n, 1, features, 1)` float32."""
    rows = np.random.default_rng(seed).multivariate_normal(toy.bias.numpy(), toy.covariance.numpy(), n)
    return rows.astype(np.float32)[:, None, :, None]


@pytest.fixture
def items(model, digits):
    return make_items(digits[600:660], model.schema)


def test_elbo_estimates_the_exact_log_likelihood(linear_gaussian):
    toy = toy_of(linear_gaussian)
    values = draws_of(toy, 4000).clip(0, 1)
    fitted = toy.fitted()
    figures = evaluate_elbo(fitted, make_items(values, fitted.schema))
    exact = toy.log_prob(torch.from_numpy(values[:, 0, :, 0])).mean().item()
    assert figures.negative_elbo == pytest.approx(-exact, abs=0.1)
    kl = Posterior(toy.posterior_mean(torch.from_numpy(values[:, 0, :, 0])), toy.posterior_var.log().expand(4000, 2))
    assert figures.kl_per_unit == pytest.approx(kl.kl_per_unit().mean(0).tolist(), rel=1e-4)
    assert figures.items == 4000


def test_figures_add_up(model, items):
    figures = evaluate_elbo(model, items)
    assert figures.negative_elbo == pytest.approx(figures.reconstruction + figures.kl)
    assert figures.kl == pytest.approx(sum(figures.kl_per_unit))
    assert len(figures.kl_per_unit) == 4
    assert figures.items == 60


def test_figures_do_not_depend_on_batches_and_are_seeded(model, items, monkeypatch):
    whole, again, other = (evaluate_elbo(model, items, seed) for seed in (0, 0, 1))
    assert whole == again
    assert whole.reconstruction != other.reconstruction
    monkeypatch.setattr(type(model), "batch_size", 7)
    cut = evaluate_elbo(model, items)
    assert cut.negative_elbo == pytest.approx(whole.negative_elbo, rel=1e-5)
    assert cut.kl_per_unit == pytest.approx(whole.kl_per_unit, rel=1e-4)


@pytest.mark.parametrize("dead", [(), (1,), (0, 1)])
def test_units_whose_code_does_not_vary_are_inactive(linear_gaussian, dead):
    toy = toy_of(linear_gaussian)

    def posterior(rows):
        mu = toy.posterior_mean(rows)
        mu[:, list(dead)] = 0
        return Posterior(mu, torch.zeros_like(mu))

    fitted = toy.fitted(posterior)
    figures = evaluate_elbo(fitted, make_items(draws_of(toy, 200).clip(0, 1), fitted.schema))
    assert figures.inactive_units == dead
    assert [unit for unit, kl in enumerate(figures.kl_per_unit) if kl < 1e-6] == list(dead)


def test_score_is_the_likelihood_of_the_reconstruction(model, items):
    x = model.tensor(items.unit()[0])
    mean = model.vae.likelihood(model.vae.posterior(x).mu).mean
    expected = -torch.nn.functional.binary_cross_entropy(mean, x, reduction="none").sum(dim=(1, 2, 3))
    scores = reconstruction_scores(model, items)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected.detach().numpy(), rtol=1e-4)


def test_scores_of_visible_elements_are_scaled_up(model, digits):
    visible = np.random.default_rng(0).random((20, 28, 28, 1)) < 0.6
    items = make_items(digits[:20], model.schema, masks=[~visible])
    x, seen = (model.tensor(part) for part in items.unit())
    likelihood = model.vae.likelihood(model.vae.posterior(x, seen).mu)
    expected = likelihood.item_log_prob(x, seen).detach().numpy() * 784 / visible.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(reconstruction_scores(model, items), expected, rtol=1e-5)


def test_an_items_score_does_not_depend_on_its_batch(model, items, monkeypatch):
    together = reconstruction_scores(model, items)
    alone = np.concatenate([reconstruction_scores(model, items.select(slice(i, i + 1))) for i in range(len(items))])
    np.testing.assert_allclose(alone, together, rtol=1e-5)
    monkeypatch.setattr(type(model), "batch_size", 7)
    np.testing.assert_allclose(reconstruction_scores(model, items), together, rtol=1e-5)
