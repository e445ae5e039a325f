"""Whether data are still like those of the fit: p-values that are uniform if they are, and small if not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import kstest

from fivefold.errors import DataError, ModelError
from fivefold.jobs.drift import drift
from fivefold.jobs.two_samples import _energy, column_test, energy_test, holm
from fivefold.model.reference import mean_levels
from fivefold.storage import load, save


def uniform(p_values):
    return kstest(p_values, "uniform").pvalue > 0.001


def test_p_values_of_numbers_and_points_are_uniform_without_drift():
    rng = np.random.default_rng(0)
    numbers = [column_test(rng.normal(size=300), rng.normal(size=200)) for _ in range(200)]
    assert uniform(numbers)
    points = [energy_test(rng.normal(size=(40, 3)), rng.normal(size=(30, 3)), rng) for _ in range(60)]
    assert uniform(points)


def test_the_whole_is_corrected_for_the_two_looks_at_it(table_model, trees):
    found = drift(table_model, trees.assign(girth=trees["girth"] * 1.02))
    assert found.p_value == min(1.0, 2 * min(found.codes, float(found.corrected.min())))
    assert found.p_value < 1


def test_levels_are_means_of_what_is_visible(model, digits):
    items = model.read(digits[:5])
    hidden = np.zeros(items.values.shape, bool)
    hidden[:, :14] = True
    halves = mean_levels(dataclasses.replace(items, hidden=hidden), (1, 2))
    np.testing.assert_allclose(halves, digits[:5, 14:].mean(axis=(1, 2)))


@pytest.mark.parametrize("classes", [2, 9])
def test_p_values_of_classes_are_seldom_small_without_drift(classes):
    rng, shares = np.random.default_rng(0), np.random.default_rng(1).dirichlet(np.full(classes, 0.5))
    p_values = [
        column_test(*(rng.choice(classes, n, p=shares).astype(float) for n in (300, 100)), classes) for _ in range(300)
    ]
    for rate in (0.05, 0.2):
        assert np.mean(np.array(p_values) <= rate) <= rate + 3 * (rate * (1 - rate) / 300) ** 0.5


@pytest.mark.parametrize(
    ("change", "classes"),
    [
        (lambda new: new + 0.5, 0),
        (lambda new: np.where(np.arange(len(new)) % 5, new, np.nan), 0),
        (lambda new: np.where(np.arange(len(new)) % 3, 0, new), 6),
        (lambda new: np.full(len(new), np.nan), 6),
    ],
)
def test_columns_that_changed(change, classes):
    rng = np.random.default_rng(0)
    own, new = (rng.integers(0, 6, n).astype(float) if classes else rng.normal(size=n) for n in (600, 400))
    assert column_test(own, change(new), classes) < 1e-6


def test_columns_of_which_nothing_is_seen():
    assert column_test(np.full(9, np.nan), np.full(5, np.nan)) == 1
    assert column_test(np.ones(9), np.ones(5)) == 1
    assert column_test(np.zeros(9), np.zeros(5), 3) == 1


def test_the_energy_distance_is_what_it_is():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(12, 2))
    far = np.linalg.norm(points[:, None] - points, axis=2)
    chosen = np.zeros((12, 2))
    chosen[:5, 0] = chosen[4:9, 1] = 1
    for column, found in zip(chosen.T.astype(bool), _energy(far, chosen, 5), strict=True):
        within = far[np.ix_(column, column)].mean() + far[np.ix_(~column, ~column)].mean()
        assert found == pytest.approx(2 * far[np.ix_(column, ~column)].mean() - within)


def test_points_that_hang_together_otherwise():
    rng = np.random.default_rng(0)
    own = rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], 300)
    assert energy_test(own, rng.normal(size=(200, 2)), rng) < 0.01


def test_p_values_corrected_for_their_number():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def test_rows(table_model, trees):
    same, other = drift(table_model, trees[300:]), drift(table_model, trees[300:].assign(girth=lambda t: t.girth * 2))
    assert same.p_value > 0.01
    assert other.p_value < 1e-6
    assert [name for name, p in zip(other.names, other.corrected, strict=True) if p < 0.001] == ["girth"]


@pytest.mark.filterwarnings("ignore:.*categories that the model has not met")
def test_a_class_that_the_fit_did_not_meet(table_model, trees):
    new = trees[300:].assign(kind=lambda t: t.kind.where(np.arange(len(t)) % 4 > 0, "palm"))
    found = drift(table_model, new)
    assert found.corrected[list(found.names).index("kind")] < 1e-6


def test_images(model, digits):
    assert drift(model, digits[600:]).p_value > 0.01
    other = drift(model, 255 - digits[600:])
    assert other.p_value < 0.01
    assert other.codes == 0.001


def test_windows(series_model, waves):
    assert drift(series_model, waves).p_value > 0.01
    assert drift(series_model, waves + 3).corrected[0] < 0.01


def test_a_model_keeps_what_it_compares_with(model, digits, tmp_path):
    save(model, tmp_path / "model")
    loaded, kept = drift(load(tmp_path / "model"), digits[600:]), drift(model, digits[600:])
    assert loaded.codes == kept.codes
    np.testing.assert_array_equal(loaded.columns, kept.columns)


@pytest.mark.parametrize("name", ["memory", "reference"])
def test_models_of_before(table_model, model, trees, digits, name):
    fitted, data = (table_model, trees) if name == "memory" else (model, digits)
    older = dataclasses.replace(fitted, calibrations={**fitted.calibrations, name: None})
    with pytest.raises(ModelError, match="remembers no items"):
        drift(older, data)


def test_too_few(table_model, trees):
    with pytest.raises(DataError, match="at least 5 items"):
        drift(table_model, trees[:4])
