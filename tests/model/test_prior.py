"""The mixture of normals over codes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from fivefold.errors import ModelError
from fivefold.model.calibrations import FittedPrior, fit_prior


@pytest.fixture
def mixture() -> FittedPrior:
    """Three overlapping normals over 2 numbers, of different weights and correlations."""
    roots = np.array([[[1.0, 0.0], [0.8, 0.6]], [[0.3, 0.0], [0.0, 0.5]], [[0.2, 0.0], [-0.5, 0.4]]])
    return FittedPrior(np.array([0.5, 0.2, 0.3]), np.array([[0.0, 0.0], [2.0, 1.0], [-3.0, 4.0]]), roots)


@pytest.fixture
def clusters():
    """`n` codes around 4 far corners."""

    def draw(n: int, seed: int = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        return random.choice([-6.0, 6.0], (n, 2)) + random.standard_normal((n, 2))

    return draw


def normals(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def same(one: FittedPrior, other: FittedPrior) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def test_log_prob_is_that_of_the_mixture(mixture):
    z = 3 * normals(50, 2)
    parts = [
        np.log(weight) + multivariate_normal(mean, root @ root.T).logpdf(z)
        for weight, mean, root in zip(mixture.weights, mixture.means, mixture.roots, strict=True)
    ]
    found = mixture.log_prob(z)
    np.testing.assert_allclose(found, logsumexp(parts, axis=0), rtol=1e-12)
    assert found.dtype == np.float64
    np.testing.assert_allclose(mixture.log_prob(z.astype(np.float32)), found, rtol=1e-4)
    assert mixture.log_prob(z[:0]).shape == (0,)


def test_density_far_away_is_finite(mixture):
    assert np.isfinite(mixture.log_prob(np.array([[1e4, -1e4]]))).all()


def test_a_component_without_weight_does_not_count(mixture):
    padded = FittedPrior(
        np.append(mixture.weights, 0.0),
        np.concatenate((mixture.means, [[1.0, 1.0]])),
        np.concatenate((mixture.roots, mixture.roots[:1])),
    )
    z = normals(20, 2)
    np.testing.assert_allclose(padded.log_prob(z), mixture.log_prob(z))
    np.testing.assert_array_equal(padded.sample(50, rng()), mixture.sample(50, rng()))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_draws_have_the_mixtures_moments(mixture):
    drawn = mixture.sample(100_000, rng())
    mean = mixture.weights @ mixture.means
    covariances = mixture.roots @ mixture.roots.transpose(0, 2, 1)
    between = mixture.means - mean
    covariance = np.einsum("k,kij->ij", mixture.weights, covariances + between[:, :, None] * between[:, None])
    assert drawn.shape == (100_000, 2)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.06)


def test_draws_come_from_each_normal_as_often_as_it_weighs(mixture):
    drawn = mixture.sample(20_000, rng(), temperature=0)
    places, counts = np.unique(drawn, axis=0, return_counts=True)
    order = np.lexsort(mixture.means.T[::-1])
    np.testing.assert_array_equal(places, mixture.means[order])
    np.testing.assert_allclose(counts / 20_000, mixture.weights[order], atol=0.015)


def test_temperature_is_a_factor_on_the_deviations(mixture):
    centre, warm, half = (mixture.sample(100, rng(), each) for each in (0.0, 1.0, 0.5))
    np.testing.assert_allclose(half - centre, (warm - centre) / 2)
    np.testing.assert_array_equal(mixture.sample(100, rng()), warm)
    assert (warm != centre).any(axis=1).all()


def test_the_first_draws_do_not_depend_on_how_many_there_are(mixture):
    np.testing.assert_array_equal(mixture.sample(3, rng()), mixture.sample(100, rng())[:3])
    assert not np.array_equal(mixture.sample(3, rng()), mixture.sample(3, rng(1)))


def test_one_normal_has_the_codes_moments():
    codes = normals(30, 3) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 2.0]]) + [1, 2, 3]
    prior = fit_prior(codes, normals(5, 3), seed=0)
    assert prior.components == 1
    np.testing.assert_allclose(prior.means[0], codes.mean(axis=0))
    np.testing.assert_allclose(prior.roots[0] @ prior.roots[0].T, np.cov(codes.T, ddof=0), atol=2e-4)


def test_clusters_are_found(clusters):
    prior = fit_prior(clusters(400), clusters(200, 1), seed=0)
    assert prior.components == 4
    assert (np.abs(np.abs(prior.means) - 6) < 0.5).all()
    np.testing.assert_allclose(prior.weights, 0.25, atol=0.08)


def test_a_single_cloud_gets_one_normal():
    """More of them explain the codes that they are fitted to better, but not the held-out ones."""
    assert fit_prior(normals(700, 4), normals(300, 4, seed=1), seed=0).components == 1


def test_few_codes_get_one_normal(clusters):
    assert fit_prior(clusters(79), clusters(50, 1), seed=0).components == 1
    assert fit_prior(clusters(80), clusters(50, 1), seed=0).components == 4


def test_without_held_out_codes_there_is_one_normal(clusters):
    assert fit_prior(clusters(400), np.empty((0, 2)), seed=0).components == 1


@pytest.mark.parametrize("n", [1, 2, 3])
def test_hardly_any_codes(n):
    prior = fit_prior(normals(n, 3), np.empty((0, 3)), seed=0)
    np.testing.assert_allclose(prior.means[0], normals(n, 3).mean(axis=0))
    assert np.isfinite(prior.log_prob(normals(5, 3))).all()


def test_equal_codes(clusters):
    prior = fit_prior(np.ones((200, 2)), clusters(10), seed=0)
    assert np.isfinite(prior.sample(5, rng())).all()


def test_single_precision_codes_are_fitted_in_double(clusters):
    prior = fit_prior(clusters(100).astype(np.float32), clusters(50, 1).astype(np.float32), seed=0)
    assert {array.dtype for array in vars(prior).values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_reproducible(clusters, seed):
    one, again = (fit_prior(clusters(400), clusters(100, 1), seed) for _ in range(2))
    assert same(one, again)


@pytest.mark.parametrize(
    "damage",
    [
        {"weights": np.array([0.5, 0.2])},
        {"weights": np.array([0.5, 0.2, 0.2])},
        {"weights": np.array([1.5, -0.8, 0.3])},
        {"weights": np.array([0.5, 0.5, np.nan])},
        {"means": np.zeros(3)},
        {"means": np.zeros((3, 3))},
        {"means": np.full((3, 2), np.nan)},
        {"means": np.full((3, 2), np.inf)},
        {"roots": np.zeros((3, 2, 2))},
        {"roots": np.ones((3, 2))},
        {"roots": -np.tile(np.eye(2), (3, 1, 1))},
        {"roots": np.full((3, 2, 2), np.nan)},
        {"weights": np.empty(0), "means": np.empty((0, 2)), "roots": np.empty((0, 2, 2))},
    ],
)
def test_damaged(mixture, damage):
    with pytest.raises(ModelError, match="prior is damaged"):
        dataclasses.replace(mixture, **damage)
