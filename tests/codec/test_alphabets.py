"""Integer probabilities of few symbols, and even ones: complete, near the real ones, and found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.codec import LOWEST_HEAD, PRECISION
from fivefold.codec.alphabets import Classes, Even, to_classes
from fivefold.codec.rans import Rans
from fivefold.codec.rounding import HintingRounder

WHOLE = 1 << PRECISION


def classes(n: int, k: int, seed: int) -> tuple[Classes, np.ndarray]:
    logits = np.random.default_rng(seed).normal(0, 4, (n, k))
    log_probabilities = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return to_classes(log_probabilities, HintingRounder()), log_probabilities


def popped(distributions, slots: np.ndarray) -> np.ndarray:
    """The symbols in whose intervals the slots lie."""
    words = np.zeros(len(slots), np.uint32)
    return Rans.resume(slots.astype(np.uint64) + np.uint64(LOWEST_HEAD), words).pop(distributions)


@given(n=st.integers(1, 20), k=st.sampled_from([1, 2, 9, 256]), seed=st.integers(0, 100))
def test_every_class_has_a_part_of_the_whole(n, k, seed):
    found, log_probabilities = classes(n, k, seed)
    parts = np.diff(found.starts)
    assert parts.min() >= 1
    assert (found.starts[:, 0] == 0).all()
    assert (found.starts[:, -1] == WHOLE).all()
    real = np.exp(log_probabilities)
    divergence = (real * (log_probabilities - np.log(parts / WHOLE))).sum(1)
    assert divergence.max() < 2e-3


def test_impossible_classes_can_be_told_too():
    found = to_classes(np.array([[0.0, -np.inf, -1e9]]), HintingRounder())
    assert np.diff(found.starts).tolist() == [[WHOLE - 2, 1, 1]]


@given(
    sizes=st.lists(st.sampled_from([1, 2, 3, 1000, 65_535, 65_536, 1 << 28]), min_size=1, max_size=50),
    seed=st.integers(0, 100),
)
def test_even_parts_are_found_from_both_ends(sizes, seed):
    even = Even(np.array(sizes))
    symbols = np.random.default_rng(seed).integers(0, sizes)
    starts, frequencies = even.interval(symbols)
    assert abs(frequencies.astype(float) - WHOLE / np.array(sizes)).max() <= 1
    for slots in (starts, starts + frequencies - 1):
        np.testing.assert_array_equal(popped(even, slots), symbols)


@pytest.mark.parametrize("lanes", [1, 7])
def test_they_go_through_a_coder(lanes):
    distributions, even = classes(100, 5, 0)[0], Even(np.arange(1, 101))
    rng = np.random.default_rng(1)
    drawn, places = popped(distributions, rng.integers(0, WHOLE, 100)), rng.integers(0, np.arange(1, 101))
    coder = Rans(lanes)
    coder.push(places, even)
    coder.push(drawn, distributions)
    np.testing.assert_array_equal(coder.pop(distributions), drawn)
    np.testing.assert_array_equal(coder.pop(even), places)
    assert coder.is_empty
