import numpy as np
import pytest

from fivefold.series.autoregression import Autoregression


@pytest.fixture
def wandering():
    """Autoregressive values `(900, 2)`, and what was fitted to their first 600."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(900, 2))
    for step in range(1, len(values)):
        values[step] += 0.9 * values[step - 1]
    return values, Autoregression.fit(values[:600], np.median(values[:600], axis=0), np.full(2, 1e-9))


def test_weights_and_residuals_are_those_of_the_series(wandering):
    values, linear = wandering
    np.testing.assert_allclose(linear.weights[0], 0.9, atol=0.1)
    assert np.std(linear.residuals(values[600:])) < 0.6 * values.std()


def test_a_step_is_what_brings_the_level_back(wandering):
    values, linear = wandering
    shift = np.array([20.0, -50.0])
    np.testing.assert_allclose(linear.step(values[:600], values[600:] + shift), -shift, atol=3)


def test_a_turn_is_where_the_shift_is(wandering):
    values, linear = wandering
    shifted = np.where(np.arange(900)[:, None] >= 450, values + 15, values)
    one = np.ones(2)
    assert abs(linear.turn(shifted, shifted - 15, (one, one)) - 450) <= 1
