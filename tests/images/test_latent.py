"""Numbers of a code, each given those before, are together what the mixture says of the code."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fivefold.codec import PRECISION
from fivefold.codec.rounding import HintingRounder
from fivefold.images.exact import LatentDistributions, LatentGrid
from fivefold.model.calibrations import FittedPrior


@pytest.fixture
def prior() -> FittedPrior:
    rng = np.random.default_rng(0)
    roots = np.tril(rng.normal(0, 0.3, (4, 3, 3)))
    roots[:, np.arange(3), np.arange(3)] = rng.uniform(0.3, 1, (4, 3))
    return FittedPrior(np.array([0.4, 0.3, 0.2, 0.1]), rng.normal(0, 1, (4, 3)), roots)


def distributions(grid: LatentGrid, prior: FittedPrior, n: int) -> LatentDistributions:
    return LatentDistributions(grid, prior.weights, prior.means, prior.roots, n)


def test_a_chain_of_conditionals_is_the_mixture(prior):
    grid = LatentGrid(np.array([0.05, 0.1, 0.03]))
    symbols = grid.nearest(prior.sample(200, np.random.default_rng(1)))
    chain, rounder, found = distributions(grid, prior, 200), HintingRounder(), np.zeros(200)
    for number, column in enumerate(symbols.T):
        frequency = chain.distribution(number, rounder).interval(column)[1]
        found += np.log(frequency.astype(float)) - PRECISION * math.log(2)
        chain.observe(number, column)
    expected = prior.log_prob(grid.codes(symbols)) + np.log(grid.steps).sum()
    assert np.abs(found - expected).mean() < 0.05
    assert np.abs(found - expected).max() < 0.5  # parameters are rounded to sixteenths of a nat


def test_the_grid_rounds_to_the_nearest(prior):
    grid = LatentGrid(np.array([0.5, 0.25, 4.0]))
    z = prior.sample(100, np.random.default_rng(0))
    assert (np.abs(grid.codes(grid.nearest(z)) - z) <= grid.steps / 2 + 1e-12).all()
    assert (grid.nearest(np.array([[0.0, 0.0, 0.0]])) == grid.reach).all()


def test_far_codes_stay_on_the_grid():
    grid = LatentGrid(np.array([0.5]))
    symbols = grid.nearest(np.array([[1e9], [-1e9]]))
    assert symbols.tolist() == [[2 * 32 - 1], [0]]


@pytest.mark.parametrize("steps", [[0.0], [np.nan], [np.inf], [-1.0], [1e-9]])
def test_steps_out_of_range(steps):
    with pytest.raises(ValueError, match="out of range"):
        LatentGrid(np.array(steps))
