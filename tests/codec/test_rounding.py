"""Rounding agrees across machines that differ a little, thanks to the hints alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.codec.rounding import GUARD, GroupedRounder, HintedRounder, HintingRounder, pack_hints, unpack_hints
from fivefold.errors import ModelError


def near_borders(seed: int, n: int = 400) -> np.ndarray:
    """Numbers a hair from the border between two whole ones, and others."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-50, 50, n) + 0.5 + rng.uniform(-1, 1, n) * GUARD * 0.5
    return np.where(rng.random(n) < 0.5, values, rng.normal(0, 30, n))


def elsewhere(values: np.ndarray, seed: int) -> np.ndarray:
    """The same numbers on a machine with another arithmetic."""
    return values + np.random.default_rng(seed).uniform(-0.4, 0.4, values.shape) * GUARD


@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 400), max_size=3))
def test_another_machine_rounds_the_same(seed, cuts):
    values, writer = near_borders(seed), HintingRounder()
    edges = [0, *sorted(cuts), len(values)]
    parts = [values[start:end] for start, end in pairwise(edges)]
    written = [writer(part) for part in parts]
    reader = HintedRounder(unpack_hints(pack_hints(writer.hints)))
    for part, expected in zip(parts, written, strict=True):
        np.testing.assert_array_equal(reader(elsewhere(part, seed)), expected)


def test_without_hints_it_would_not():
    values = near_borders(0)
    assert (HintedRounder(np.empty(0, np.int64))(elsewhere(values, 1)) != HintingRounder()(values)).any()


def test_rounds_to_the_nearest_and_hints_are_few():
    values, writer = np.random.default_rng(0).normal(0, 100, (50, 200)), HintingRounder()
    np.testing.assert_array_equal(writer(values), np.rint(values))
    assert len(writer.hints) <= 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_numbers(bad):
    with pytest.raises(ModelError, match="not finite"):
        HintingRounder()(np.array([0.0, bad]))


@given(st.lists(st.integers(0, 1 << 40), max_size=30))
def test_hints_come_back(numbers):
    hints = np.array(sorted(numbers), np.int64)
    np.testing.assert_array_equal(unpack_hints(pack_hints(hints)), hints)


@given(st.binary(max_size=60))
def test_any_bytes_are_hints_or_refused(packed):
    try:
        hints = unpack_hints(packed)
    except ValueError:
        return
    assert (np.diff(hints, prepend=0) >= 0).all()


def test_hints_of_groups_are_those_of_rounding_group_by_group():
    rng, sizes = np.random.default_rng(0), np.array([3, 0, 5, 1])
    whole = rng.integers(-9, 9, (9, 4)) + np.where(
        rng.random((9, 4)) < 0.4, 0.5 + rng.normal(0, GUARD / 2, (9, 4)), 0.2
    )
    one, other = HintingRounder(), HintingRounder()
    for turn in range(2):
        grouped, begin = GroupedRounder(sizes), 0
        np.testing.assert_array_equal(grouped(whole[:, 0] + turn), np.rint(whole[:, 0] + turn))
        grouped(whole[:, 1:])
        other.add(grouped)
        for size in sizes:
            one(whole[begin : begin + size, 0] + turn)
            one(whole[begin : begin + size, 1:])
            begin += size
    np.testing.assert_array_equal(other.hints, one.hints)
    assert one.count == other.count
    assert len(one.hints) > 10
