"""Every number has its bin and its place in it, from which it comes back bit for bit."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.codec.numbers import LARGEST_DIGIT, UNIT, NumberBins

DOUBLE = np.dtype(np.float64)


def places(grid: NumberBins, values: np.ndarray) -> np.ndarray:
    """The values as they come back from bins and digits."""
    whole = grid.whole(values)
    bins = grid.locate(whole)
    assert (bins >= 0).all()
    found = grid.starts[bins]
    for shift, digits in grid.digits(bins):
        digit = whole - grid.starts[bins] >> shift & LARGEST_DIGIT
        assert (digit < digits.sizes).all()
        found = found + (digit << shift)
    return grid.values(found)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
    st.floats(-100, 100),
    st.floats(1e-3, 1e3),
    st.sampled_from(["f2", "f4", "f8"]),
)
def test_floats_come_back_bit_for_bit(numbers, centre, spread, kind):
    grid = NumberBins(centre, spread, 0.0, np.dtype(kind))
    near = np.clip(numbers, centre - 4e6 * spread, centre + 4e6 * spread)
    values = np.clip(near, -6e4, 6e4).astype(kind).astype(float) + 0.0  # no -0
    assert np.array_equal(places(grid, values).view(np.int64), values.view(np.int64))


@given(st.lists(st.integers(-10_000, 10_000), min_size=1, max_size=20), st.sampled_from([0.01, 0.1, 0.25, 1.0, 10.0]))
def test_multiples_of_a_step_come_back(counts, step):
    grid = NumberBins(3.0, 17.0, step, DOUBLE)
    values = grid.values(np.array(counts))
    assert np.array_equal(places(grid, values), values)
    assert np.array_equal(grid.whole(values), counts)


def test_what_is_out_of_reach_has_no_bin():
    grid = NumberBins(0.0, 1.0, 1.0, DOUBLE)
    assert grid.locate(grid.whole(np.array([1e300, -1e300, 1e7, 4e6]))).tolist()[:3] == [-1, -1, -1]
    assert grid.locate(grid.whole(np.array([4e6])))[0] > 0
    real = NumberBins(0.0, 1.0, 0.0, DOUBLE)
    assert real.locate(real.whole(np.array([1e300])))[0] == -1


@pytest.mark.parametrize("step", [0.0, 0.01, 1.0])
def test_bins_lie_where_their_numbers_do(step):
    grid = NumberBins(5.0, 2.0, step, DOUBLE)
    assert (np.diff(grid.starts) > 0).all()
    assert (np.diff(grid.edges) > 0).all()
    middle = len(grid.starts) // 2
    value = grid.values(grid.starts[middle : middle + 1] - (0.5 if step else 0))
    np.testing.assert_allclose(grid.edges[middle], np.arcsinh((value[0] - 5.0) / 2.0) / UNIT, rtol=1e-9)
    if step == 1.0:  # coarser than the grid near the centre: one number in each
        assert (np.diff(grid.starts)[middle - 20 : middle + 20] == 1).all()


def test_the_grids_are_these():
    """Archives depend on them to the last bit."""
    grids = [NumberBins(5.0, 2.0, step, np.dtype(kind)) for step in (0.0, 0.01, 10.0) for kind in ("f4", "f8")]
    digest = hashlib.sha256(b"".join(grid.starts.astype("<i8").tobytes() for grid in grids)).hexdigest()
    assert digest == "be18256d4bd191a0da7b221cbc3e8603e9fa3e7ec0d5fb498dec4806a7ca2998"
