"""VAEs of tables begin at a linear model of the rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fivefold.model.fitted import channels_first
from fivefold.tables import dataset, networks
from fivefold.tables.linear import LinearCode
from fivefold.tables.settings import configure


@pytest.fixture(scope="module")
def model() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights, means and log variances of factor analysis: 6 numbers, 3 factors."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    return weights, torch.linspace(-1, 1, 6, dtype=torch.float64), torch.linspace(-3, 0, 6, dtype=torch.float64)


def test_the_code_is_the_factors_posterior(model):
    weights, mean, log_noise = model
    code = LinearCode.of(weights, mean, log_noise, 3)
    torch.testing.assert_close(code.loadings @ code.loadings.T, weights @ weights.T)
    numbers = torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    precision = torch.eye(3) + code.loadings.T @ (code.loadings / log_noise.exp()[:, None])
    torch.testing.assert_close(precision, torch.diag(torch.exp(-code.log_variance)))
    expected = torch.linalg.solve(precision, code.loadings.T @ ((numbers - mean) / log_noise.exp()).T).T
    torch.testing.assert_close((numbers - mean) @ code.encoding.T, expected)


def test_fewer_units_are_those_that_numbers_say_most_about(model):
    whole, one = (LinearCode.of(*model, most) for most in (3, 1))
    torch.testing.assert_close(one.loadings, whole.loadings[:, :1])
    assert whole.log_variance.tolist() == sorted(whole.log_variance.tolist())


@pytest.mark.parametrize("activation", ["silu", "relu"])
@pytest.mark.parametrize("latent_dim", [2, 8])
def test_networks_begin_at_the_linear_model(trees, activation, latent_dim):
    """Posteriors, expected numbers and their spread, missing cells among them; columns of classes are as they were."""
    items = dataset.open(trees).all_items()
    config = configure(items=len(items), size=items.schema.size, latent_dim=latent_dim, activation=activation)
    made = networks.build(items.schema, config, 0)
    networks.prepare(made, items, np.arange(len(items)), np.arange(0))
    vae, context = made["vae"], made["context"]
    weights, mean, log_noise = context.factors.model()
    code = LinearCode.of(weights, mean, log_noise, latent_dim)
    x, visible = (channels_first(part) for part in items.unit(np.arange(50)))
    visible[:, 0, 0, ::3] = False
    with torch.inference_mode():
        posterior = vae.posterior(torch.where(visible, x, 0.0), visible)
        off = torch.where(context.cells.of_numbers(visible[:, 0, 0]), context.cells.scaled(x) - mean, 0.0)
        units = len(code)
        torch.testing.assert_close(posterior.mu[:, :units], off @ code.encoding.T, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(posterior.logvar[:, :units], code.log_variance.expand(50, -1))
        z = torch.zeros(50, latent_dim)
        z[:, :units] = posterior.mu[:, :units]
        decoded = vae.likelihood(z)
        numbers = context.cells.numbers
        middle = decoded.locations.mean(1)[:, 0][:, numbers]
        torch.testing.assert_close(middle, z[:, :units] @ code.loadings.T + mean, rtol=1e-2, atol=5e-2)
        spread = decoded.scales[:, 0, 0][:, numbers].log() + 1 - log_noise / 2
        assert spread.abs().mean() < 0.1
