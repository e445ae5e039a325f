"""The posterior, the bound, and a model whose exact log-likelihood is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from fivefold.config import NetworkConfig
from fivefold.images.networks import build_vae
from fivefold.images.schema import ImageSchema
from fivefold.model.vae import VAE, Posterior

FEATURES, LATENT, SIGMA = 6, 3, 0.3


def random_posterior(n: int = 4, units: int = 3, seed: int = 0) -> Posterior:
    generator = torch.Generator().manual_seed(seed)
    mu, logvar = torch.randn(2, n, units, generator=generator, dtype=torch.float64)
    return Posterior(mu, logvar)


def standard(like: Tensor) -> Normal:
    return Normal(torch.zeros_like(like), torch.ones_like(like))


def check_kl(posterior: Posterior) -> None:
    """The closed form is PyTorch's, and what draws average to."""
    kl = posterior.kl_per_unit()
    prior = standard(posterior.mu)
    torch.testing.assert_close(kl, kl_divergence(Normal(posterior.mu, posterior.std), prior))
    noise = torch.randn(40_000, *posterior.mu.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = posterior.at(noise)
    log_ratio = Normal(posterior.mu, posterior.std).log_prob(z) - prior.log_prob(z)
    error = log_ratio.std(0) / len(noise) ** 0.5
    assert ((log_ratio.mean(0) - kl).abs() <= 5 * error + 1e-9).all()


def check_elbo(vae: VAE, x: Tensor, noise: Tensor) -> None:
    """The bound is the log-likelihood at the draw less PyTorch's KL."""
    elbo, posterior = vae.elbo(x, noise), vae.posterior(x)
    log_likelihood = vae.likelihood(posterior.mu + posterior.std * noise).log_prob(x).sum(dim=(1, 2, 3))
    kl = kl_divergence(Normal(posterior.mu, posterior.std), standard(posterior.mu)).sum(1)
    torch.testing.assert_close(elbo.log_likelihood, log_likelihood)
    torch.testing.assert_close(elbo.kl, kl)
    torch.testing.assert_close(elbo.value, log_likelihood - kl)


@pytest.fixture
def small_vae() -> VAE:
    vae = build_vae(ImageSchema(6, 5, 2, "uint8", 0.0, 255.0), NetworkConfig(latent_dim=3, hidden=8), seed=0)
    with torch.no_grad():
        vae.encoder.mu.weight *= 20
    return vae


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 2, 6, 5, generator=torch.Generator().manual_seed(2))


def test_kl():
    check_kl(random_posterior())


def test_elbo_is_likelihood_less_kl(small_vae, images):
    check_elbo(small_vae, images, torch.randn(4, 3, generator=torch.Generator().manual_seed(3)))


def test_a_vae_without_kl_is_found_out(small_vae, images, monkeypatch):
    monkeypatch.setattr(Posterior, "kl_per_unit", lambda self: torch.zeros_like(self.mu))
    with pytest.raises(AssertionError):
        check_kl(random_posterior())
    with pytest.raises(AssertionError):
        check_elbo(small_vae, images, torch.zeros(4, 3))


def test_a_kl_of_the_wrong_sign_is_found_out(small_vae, images, monkeypatch):
    right = Posterior.kl_per_unit
    monkeypatch.setattr(Posterior, "kl_per_unit", lambda self: -right(self))
    with pytest.raises(AssertionError):
        check_elbo(small_vae, images, torch.zeros(4, 3))


def test_kl_vanishes_at_the_prior_only():
    zeros = torch.zeros(2, 3)
    assert (Posterior(zeros, zeros).kl_per_unit() == 0).all()
    assert (Posterior(zeros + 0.1, zeros).kl_per_unit() > 0).all()
    assert (Posterior(zeros, zeros - 0.1).kl_per_unit() > 0).all()


def test_posterior_draws_and_density():
    posterior = random_posterior()
    noise = torch.randn(7, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = posterior.at(noise)
    torch.testing.assert_close(z, posterior.mu + posterior.std * noise)
    expected = Normal(posterior.mu, posterior.std).log_prob(z).sum(-1)
    torch.testing.assert_close(posterior.log_prob(z), expected)
    assert posterior.log_prob(z).shape == (7, 4)


@given(logvar=st.floats(allow_nan=False, width=32))
@settings(max_examples=50, deadline=None)
def test_logvar_is_clamped(logvar):
    posterior = Posterior(torch.zeros(1, 1), torch.full((1, 1), logvar))
    assert -20 <= posterior.logvar.item() <= 10
    if -20 <= logvar <= 10:
        assert posterior.logvar.item() == pytest.approx(logvar)
    assert 0 < posterior.std.item() < float("inf")
    assert posterior.kl_per_unit().isfinite().all()


def test_elbo_is_of_what_is_visible(small_vae, images):
    noise = torch.zeros(4, 3)
    visible = torch.rand(images.shape, generator=torch.Generator().manual_seed(4)) < 0.5
    seen = torch.where(visible, images, 0.0)
    elbo = small_vae.elbo(seen, noise, visible)
    posterior = small_vae.posterior(seen, visible)
    torch.testing.assert_close(elbo.kl_per_unit, posterior.kl_per_unit())
    expected = small_vae.likelihood(posterior.mu).item_log_prob(images, visible)
    torch.testing.assert_close(elbo.log_likelihood, expected)


def as_images(rows: Tensor) -> Tensor:
    return rows[:, None, None]


def expected_elbo(vae: VAE, rows: Tensor) -> Tensor:
    """The expectation over the noise, exactly: the log-likelihood is quadratic in it, so ±√d eᵢ stand for all."""
    units = LATENT**0.5 * torch.eye(LATENT, dtype=torch.float64)
    points = torch.cat((units, -units))
    values = [vae.elbo(as_images(rows), point.expand(len(rows), -1)).value for point in points]
    return torch.stack(values).mean(0)


@pytest.fixture
def correlated() -> Tensor:
    """500 rows of correlated numbers."""
    generator = torch.Generator().manual_seed(5)
    mixing = torch.randn(FEATURES, FEATURES, generator=generator, dtype=torch.float64)
    return 0.5 + torch.randn(500, FEATURES, generator=generator, dtype=torch.float64) @ mixing


def principal(rows: Tensor, linear_gaussian):
    """Tipping & Bishop's maximum-likelihood solution of probabilistic PCA."""
    bias = rows.mean(0)
    variances, axes = torch.linalg.eigh(torch.cov(rows.T, correction=0))
    variances, axes = variances.flip(0), axes.flip(1)
    noise = variances[LATENT:].mean()
    weights = axes[:, :LATENT] * (variances[:LATENT] - noise).sqrt()
    return linear_gaussian(weights, bias, noise.sqrt().item())


def test_bound_of_the_optimal_linear_vae_is_the_exact_log_likelihood(correlated, linear_gaussian):
    toy = principal(correlated, linear_gaussian)
    exact = toy.log_prob(correlated)
    torch.testing.assert_close(expected_elbo(toy.vae(), correlated), exact)

    draws = torch.randn(400, len(correlated), LATENT, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    vae, x = toy.vae(), as_images(correlated)
    estimates = torch.stack([vae.elbo(x, draw).value.mean() for draw in draws])
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(estimates.mean() - exact.mean()) < 5 * error


def test_the_optimum_is_one(correlated, linear_gaussian):
    best = principal(correlated, linear_gaussian)
    at_best = expected_elbo(best.vae(), correlated).mean()
    for change in (
        {"weights": best.weights * 1.05},
        {"weights": best.weights * 0.95},
        {"bias": best.bias + 0.1},
        {"sigma": best.sigma * 1.1},
        {"sigma": best.sigma * 0.9},
    ):
        changed = linear_gaussian(**{"weights": best.weights, "bias": best.bias, "sigma": best.sigma, **change})
        assert expected_elbo(changed.vae(), correlated).mean() < at_best - 1e-4, change


@pytest.mark.parametrize(("shift", "stretch"), [(0.3, 0.0), (0.0, 0.5), (0.0, -0.5), (-0.2, 0.3)])
def test_any_other_posterior_bounds_less(correlated, linear_gaussian, shift, stretch):
    toy = principal(correlated, linear_gaussian)
    logvar = toy.posterior_var.log()

    def other(rows: Tensor) -> Posterior:
        return Posterior(toy.posterior_mean(rows) + shift, (logvar + stretch).expand(len(rows), -1))

    bound, exact = expected_elbo(toy.vae(other), correlated), toy.log_prob(correlated)
    assert (bound < exact).all()
    std = toy.posterior_var.sqrt().expand(len(correlated), -1)
    mean = toy.posterior_mean(correlated)
    wrong = other(correlated)
    gap = kl_divergence(Normal(wrong.mu, wrong.std), Normal(mean, std)).sum(1)
    torch.testing.assert_close(exact - bound, gap)
