"""Numbers near what was expected, and far from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import expit

from fivefold.codec import PRECISION
from fivefold.codec.numbers import NumberBins, ResidualBins
from fivefold.codec.rans import Rans
from fivefold.codec.rounding import HintedRounder, HintingRounder


def _expecting(grid, locations, scales, rounder):
    """One logistic each, at `locations` from the column's centre."""
    n = len(locations)
    return ResidualBins.around(grid, np.zeros((n, 1)), locations[:, None], np.log(scales)[:, None], rounder)


def _there_and_back(grid, values, locations, scales):
    """The bits that numbers take; asserts that they come back, and the coder's state with them."""
    rounder, whole, coder = HintingRounder(), grid.whole(values), Rans(4)
    intervals = _expecting(grid, locations, scales, rounder).intervals(whole)
    for starts, frequencies in reversed(intervals):
        coder.push_intervals(starts, frequencies)
    back = _expecting(grid, locations, scales, HintedRounder(rounder.hints)).pop(coder)
    assert coder.is_empty
    np.testing.assert_array_equal(back, whole)
    np.testing.assert_array_equal(grid.values(back), grid.values(whole))
    return sum(float((PRECISION - np.log2(each)).sum()) for _, each in intervals)


@pytest.mark.parametrize(
    ("scale", "step"), [(3.0, 1.0), (500.0, 1.0), (1e7, 1.0), (0.3, 1.0), (0.7, 0.1), (40.0, 25.0)]
)
def test_multiples_of_a_step_take_as_many_bits_as_their_distribution_has(scale, step):
    rng = np.random.default_rng(0)
    n = 4000
    locations = rng.normal(0, 1000, n)
    values = np.rint((1234.5 + locations + rng.logistic(0, scale, n)) / step) * step
    grid = NumberBins(1234.5, 100.0, step, np.dtype(np.float64))
    bits = _there_and_back(grid, values, locations, np.full(n, scale))
    lower, upper = ((values - 1234.5 - locations + end * step) / scale for end in (-0.5, 0.5))
    ideal = -np.log2(expit(upper) - expit(lower)).sum()
    assert bits == pytest.approx(ideal, rel=0.012)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("centre", "scale"), [(0.0, 1.0), (300.0, 0.5), (-7.0, 1e-6), (2000.0, 30.0)])
def test_floats_take_as_many_bits_as_their_distribution_has(dtype, centre, scale):
    rng = np.random.default_rng(0)
    n = 4000
    locations = rng.normal(0, 4, n)
    values = (centre + locations + rng.logistic(0, scale, n)).astype(dtype).astype(np.float64)
    grid = NumberBins(centre, 1.0, 0.0, np.dtype(dtype))
    bits = _there_and_back(grid, values, locations, np.full(n, scale))
    spacing = np.spacing(np.abs(values).astype(dtype)).astype(np.float64)
    off = (values - centre - locations) / scale
    within = expit(off + spacing / scale / 2) - expit(off - spacing / scale / 2)
    dense = expit(off) * expit(-off) * spacing / scale
    ideal = -np.log2(
        np.maximum(np.where(spacing < 0.1 * scale, dense, within), 2.0**-PRECISION * spacing / scale)
    ).sum()
    assert bits <= ideal + (0.1 if abs(centre) > 100 else 0.8) * n  # near 0 a bin has numbers of several spacings


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    st.floats(-1e6, 1e6),
    st.floats(1e-9, 1e9),
)
@example([-5e-324, 5e-324, -1e-310], 0.0, 6.0)
def test_any_floats_come_back(values, location, scale):
    values = np.array(values) + 0.0  # without −0
    grid = NumberBins(3.0, 2.0, 0.0, np.dtype(np.float64))
    _there_and_back(grid, values, np.full(len(values), location), np.full(len(values), scale))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-(2**52), 2**52), min_size=1, max_size=20),
    st.floats(-1e6, 1e6),
    st.floats(1e-9, 1e15),
)
def test_any_integers_come_back(values, location, scale):
    grid = NumberBins(3.0, 2.0, 1.0, np.dtype(np.float64))
    _there_and_back(grid, np.array(values, float), np.full(len(values), location), np.full(len(values), scale))


def test_results_that_differ_in_the_last_bits_are_the_same():
    rng = np.random.default_rng(0)
    n, rounder = 3000, HintingRounder()
    grid = NumberBins(1e4, 1.0, 0.0, np.dtype(np.float32))
    locations, scales = rng.normal(0, 1, n), np.exp(rng.normal(-3, 2, n))
    written = _expecting(grid, locations, scales, rounder)
    other = _expecting(grid, locations * (1 + 3e-16), scales * (1 - 3e-16), HintedRounder(rounder.hints))
    for mine, theirs in ((written.widths, other.widths), (written.middles, other.middles)):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(written.symbols.locations, other.symbols.locations)
