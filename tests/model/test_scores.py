"""The joint density of statistics, and p-values that keep their promise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from fivefold.errors import ModelError
from fivefold.model.calibrations import JointScore


def draws(n: int, k: int = 4, seed: int = 0) -> np.ndarray:
    """Correlated statistics of very different scales."""
    random = np.random.default_rng(seed)
    mixing = np.eye(k) + 0.7 * np.tri(k, k=-1)
    return random.standard_normal((n, k)) @ mixing.T * np.geomspace(1e-3, 1e3, k) + np.arange(k)


@pytest.fixture
def normality() -> JointScore:
    return JointScore.fit(draws(100))


def uniformity(fit, repetitions: int = 800) -> float:
    """The greatest distance of the p-values' distribution, over data sets of 40 items and a 41st, from the uniform."""
    p_values = []
    for seed in range(repetitions):
        data = draws(41, seed=seed)
        fitted = fit(data[:40])
        p_values.append(fitted.p_value(fitted.score(data[40:]))[0])
    steps = np.arange(1, 22) / 21  # the values that 20 calibration items allow
    return np.abs(np.mean(np.array(p_values)[:, None] <= steps + 1e-9, axis=0) - steps).max()


def test_p_values_of_normal_items_are_uniform():
    assert uniformity(JointScore.fit) < 1.63 / 800**0.5


def test_calibrating_on_the_items_that_shape_is_found_out():
    def fit(statistics):
        fitted = JointScore.fit(statistics)
        return dataclasses.replace(fitted, calibration=np.sort(fitted.score(statistics[:20])))

    assert uniformity(fit) > 2 * 1.63 / 800**0.5


def test_score_is_a_log_density_but_for_a_constant(normality):
    found = draws(50, seed=1)
    standardised = (found - normality.centre) / normality.scale
    expected = multivariate_normal(cov=normality.root @ normality.root.T).logpdf(standardised)
    difference = normality.score(found) - expected
    np.testing.assert_allclose(difference, difference[0])


def test_density_is_that_of_the_first_half(normality):
    shaping = draws(100)[:50]
    np.testing.assert_allclose(normality.centre, shaping.mean(axis=0))
    np.testing.assert_allclose(normality.scale, shaping.std(axis=0))
    correlations = normality.root @ normality.root.T
    np.testing.assert_allclose(np.diag(correlations), 1)
    ratio = (correlations / np.corrcoef(shaping.T))[np.triu_indices(4, 1)]
    np.testing.assert_allclose(ratio, ratio[0])
    assert 0.9 < ratio[0] < 1, "they are shrunk, a little"


def test_the_second_half_calibrates(normality):
    assert normality.calibration.shape == (50,)
    np.testing.assert_allclose(normality.calibration, np.sort(normality.score(draws(100)[50:])))


def test_higher_is_more_normal(normality):
    """Away from the centre it falls, the fastest against the correlation."""
    away = normality.centre + np.arange(6)[:, None] * normality.scale
    assert (np.diff(normality.score(away)) < 0).all()
    along, against = (normality.centre + normality.scale * np.array([1, sign, 0, 0]) for sign in (1, -1))
    assert normality.score(along[None]) > normality.score(against[None])


def test_p_value_counts_the_calibration_items_as_strange(normality):
    four = dataclasses.replace(normality, calibration=np.array([-9.0, -5.0, -5.0, -1.0]))
    scores = np.array([-10.0, -9.0, -6.0, -5.0, -2.0, -1.0, 0.0])
    np.testing.assert_allclose(four.p_value(scores), np.array([1, 2, 2, 4, 4, 5, 5]) / 5)


def test_units_do_not_matter():
    other = draws(100) * [1e6, 1.0, 1e-4, -3.0] + [5.0, 0.0, 1e-3, 7.0]
    np.testing.assert_allclose(JointScore.fit(other).calibration, JointScore.fit(draws(100)).calibration, rtol=1e-6)


def test_a_statistic_that_never_changes_or_repeats_another():
    data = draws(60)
    data[:, 0] = 3.0
    data[:, 1] = data[:, 2]
    fitted = JointScore.fit(data)
    assert np.isfinite(fitted.calibration).all()
    assert np.isfinite(fitted.score(data)).all()


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_too_few_items(n):
    assert JointScore.fit(draws(n)) is None


@pytest.mark.parametrize(("n", "calibrating"), [(4, 2), (5, 3), (10, 5)])
def test_just_enough_items(n, calibrating):
    fitted = JointScore.fit(draws(n))
    assert fitted.calibration.shape == (calibrating,)
    assert np.isfinite(fitted.calibration).all()


NAN = float("nan")


@pytest.mark.parametrize(
    "damage",
    [
        {"centre": np.zeros(3)},
        {"centre": np.zeros((4, 1))},
        {"centre": np.array(0.0)},
        {"centre": np.array([0.0, NAN, 0.0, 0.0])},
        {"scale": np.zeros(4)},
        {"scale": np.ones(5)},
        {"scale": np.full(4, NAN)},
        {"root": np.zeros((4, 4))},
        {"root": np.eye(3)},
        {"root": np.ones(4)},
        {"root": np.eye(4) + np.diag([NAN, 0.0, 0.0], -1)},
        {"calibration": np.zeros((2, 2))},
        {"calibration": np.array([2.0, 1.0])},
        {"calibration": np.array([1.0, NAN])},
        {"centre": np.empty(0), "scale": np.empty(0), "root": np.empty((0, 0))},
    ],
)
def test_damaged(normality, damage):
    with pytest.raises(ModelError, match="held-out items"):
        dataclasses.replace(normality, **damage)
