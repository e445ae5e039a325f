"""Integer probabilities: complete, monotone, near the real ones, and the same everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, ndtr

from fivefold.codec import LOWEST_HEAD, PRECISION
from fivefold.codec import mixtures as module
from fivefold.codec.mixtures import Mixtures, even_edges
from fivefold.codec.rans import Rans

WHOLE = 1 << PRECISION


def one(log_weights, locations, log_scales, symbols, shape="logistic") -> Mixtures:
    """A single distribution, its parameters in nats and symbols."""
    return Mixtures(
        np.round(16 * np.array([log_weights])).astype(int),
        np.round(32 * np.array([locations])).astype(int),
        np.round(16 * np.array([log_scales])).astype(int),
        even_edges(symbols),
        shape,
    )


def masses(distribution: Mixtures) -> np.ndarray:
    """Of all symbols of a single distribution."""
    symbols = np.arange(distribution.symbols)
    rows = np.zeros(len(symbols), int)
    repeated = Mixtures(
        distribution.log_weights[rows],
        distribution.locations[rows],
        distribution.log_scales[rows],
        distribution.edges,
        distribution.shape,
    )
    return repeated.interval(symbols)[1].astype(np.int64)


@given(
    log_weights=st.lists(st.floats(-12, 0), min_size=4, max_size=4),
    locations=st.lists(st.floats(-50, 400), min_size=2, max_size=2),
    log_scales=st.lists(st.floats(-9, 20), min_size=2, max_size=2),
    symbols=st.sampled_from([1, 2, 17, 256, 4096]),
    shape=st.sampled_from(["logistic", "normal"]),
)
def test_every_symbol_has_a_part_of_the_whole(log_weights, locations, log_scales, symbols, shape):
    parts = masses(one([0, *log_weights[1:]], locations, log_scales, symbols, shape))
    assert parts.min() >= 1
    assert parts.sum() == WHOLE


@pytest.mark.parametrize(("shape", "cumulative"), [("logistic", expit), ("normal", ndtr)])
@pytest.mark.parametrize("log_scale", [-3, -1, 0, 2, 4, 6])
def test_near_the_real_ones(shape, cumulative, log_scale):
    log_weights, locations = [0, -1, -2, -3], [100, 200.5]
    found = masses(one(log_weights, locations, [log_scale, log_scale], 256, shape)) / WHOLE
    weights = np.exp(log_weights) / np.exp(log_weights).sum()
    edges = np.arange(257) - 0.5
    inside = cumulative((edges[:, None] - locations) / np.exp(log_scale)) @ weights[:2] + weights[2]
    inside[0], inside[-1] = 0, 1
    real = np.diff(inside)
    assert np.abs(found - real).max() < 2e-5
    assert (real * np.log2(real.clip(1e-12) / found)).sum() < 1e-4


@given(seed=st.integers(0, 100), symbols=st.sampled_from([2, 256, 65_536]))
def test_slots_find_their_symbols(seed, symbols):
    rng = np.random.default_rng(seed)
    n = 20
    some = Mixtures(
        -rng.integers(0, 50, (n, 4)) * (np.arange(4) > 0),
        rng.integers(0, 32 * symbols, (n, 2)),
        rng.integers(-80, 160, (n, 2)),
        even_edges(symbols),
    )
    values = rng.integers(0, symbols, n)
    starts, frequencies = some.interval(values)
    for slots in (starts, starts + frequencies - 1):
        coder = Rans.resume(slots + np.uint64(LOWEST_HEAD), np.zeros(n, np.uint32))
        np.testing.assert_array_equal(coder.pop(some), values)


@pytest.mark.parametrize("extreme", [10**6, -(10**6)])
def test_parameters_beyond_all_bounds_are_cut(extreme):
    for parameters in (([0, -1, -1], [extreme], [0]), ([0, -1, -1], [5], [extreme / 100]), ([0, -1e5, -1], [5], [1])):
        parts = masses(one(*parameters, 256))
        assert parts.min() >= 1
        assert parts.sum() == WHOLE


def test_tables_are_these():
    """Archives depend on them to the last bit."""
    tables = module.weight_table(), module._inverse_scales(), module._cells("logistic"), module._cells("normal")
    digest = hashlib.sha256(b"".join(table.astype("<i8").tobytes() for table in tables)).hexdigest()
    assert digest == "9e0f8df59372ac3ce28f35301baa352ed22c6e4b06e0473f99d9cb4666567b37"
    for table, real in ((tables[2], expit), (tables[3], ndtr)):
        np.testing.assert_allclose(table, 2**30 * real((np.arange(len(table)) - len(table) // 2) / 64), atol=0.6)
