"""Pushed and popped: the symbols and the coder's state come back, in the number of bits that the model promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.codec import LOWEST_HEAD, PRECISION
from fivefold.codec.mixtures import Mixtures, even_edges
from fivefold.codec.rans import EmptyCoderError, Rans


def mixtures(n: int, symbols: int, seed: int = 0, k: int = 3, shape="logistic") -> Mixtures:
    """Some wide, some narrow, some all but certain."""
    rng = np.random.default_rng(seed)
    log_weights = -rng.integers(0, 160, (n, k + 2))
    log_weights[np.arange(n), rng.integers(0, k + 2, n)] = 0
    return Mixtures(
        log_weights,
        rng.integers(0, symbols * 32, (n, k)),
        rng.integers(-64, 16 * int(np.log(symbols) + 1), (n, k)),
        even_edges(symbols),
        shape,
    )


def draw(distributions: Mixtures, seed: int = 0) -> np.ndarray:
    """Symbols as likely as the distributions say: random bits, decoded."""
    heads = np.random.default_rng(seed).integers(LOWEST_HEAD, 1 << 63, len(distributions) + 1, np.uint64)
    return Rans.resume(heads, np.zeros(len(distributions), np.uint32)).pop(distributions)


@given(
    lanes=st.integers(1, 9),
    sizes=st.lists(st.integers(0, 40), max_size=4),
    symbols=st.sampled_from([2, 3, 256, 65_536]),
    seed=st.integers(0, 1000),
)
def test_round_trip(lanes, sizes, symbols, seed):
    batches = [mixtures(n, symbols, seed + i) for i, n in enumerate(sizes)]
    drawn = [draw(batch, seed) for batch in batches]
    coder = Rans(lanes)
    for batch, values in zip(reversed(batches), reversed(drawn), strict=True):
        coder.push(values, batch)
    coder = Rans.resume(coder.heads.copy(), coder.words.copy())
    for batch, values in zip(batches, drawn, strict=True):
        np.testing.assert_array_equal(coder.pop(batch), values)
    assert coder.is_empty


def below(batch: Mixtures, i: int, symbol: int) -> int:
    """P(X < symbol) of the i-th distribution as the format's description says, in Python's integers."""
    edges, weights, locations, inverses, farthest, cells = (table.tolist() for table in batch.tables())
    symbols, most = len(edges) - 1, 24 * 64 << 16
    if symbol in (0, symbols):
        return symbol and 1 << 28
    total, inside = sum(weights[i]), weights[i][-2] << 30
    for weight, location, inverse, far in zip(weights[i], locations[i], inverses[i], farthest[i], strict=False):
        place = max(-far, min(far, edges[symbol] - location)) * inverse >> 16
        cell, rest = divmod(max(-most, min(most - 1, place)) + most, 1 << 16)
        inside += weight * (cells[cell] + ((cells[cell + 1] - cells[cell]) * rest >> 16))
    return (inside // total * ((1 << 28) - symbols) >> 30) + symbol


@pytest.mark.parametrize("shape", ["logistic", "normal"])
def test_intervals_are_what_the_definition_says(shape):
    batch = mixtures(300, 1000, shape=shape)
    values = np.random.default_rng(0).integers(0, 1000, 300)
    starts, frequencies = batch.interval(values)
    expected = [(below(batch, i, value), below(batch, i, value + 1)) for i, value in enumerate(values.tolist())]
    assert starts.tolist() == [start for start, _ in expected]
    assert frequencies.tolist() == [end - start for start, end in expected]


def push_one_by_one(lanes: int, symbols: list[int], starts: list[int], frequencies: list[int]):
    """The definition, in Python's integers."""
    heads, words = [LOWEST_HEAD] * lanes, []
    for i in reversed(range(len(symbols))):
        head = heads[i % lanes]
        if head >= frequencies[i] << 36:
            words.append(head & 0xFFFFFFFF)
            head >>= 32
        heads[i % lanes] = (head // frequencies[i] << 28) + starts[i] + head % frequencies[i]
    return heads, words


def test_is_what_the_definition_says():
    batch = mixtures(500, 256)
    values = draw(batch)
    coder = Rans(7)
    coder.push(values, batch)
    heads, words = push_one_by_one(7, *(part.tolist() for part in (values, *batch.interval(values))))
    assert coder.heads.tolist() == heads
    assert coder.words.tolist() == words


def test_takes_the_bits_that_the_frequencies_ask_for():
    batch = mixtures(20_000, 256)
    values = draw(batch)
    coder = Rans(16)
    coder.push(values, batch)
    ideal = PRECISION * len(values) - np.log2(batch.interval(values)[1].astype(float)).sum()
    spent = 32 * len(coder.words) + np.log2(coder.heads / LOWEST_HEAD).sum()
    assert spent == pytest.approx(ideal, rel=1e-4)


def test_a_certain_symbol_is_free():
    certain = Mixtures(np.zeros((5, 3), int), np.zeros((5, 1), int), np.zeros((5, 1), int), even_edges(1))
    coder = Rans(2)
    coder.push(np.zeros(5, int), certain)
    assert coder.is_empty
    assert coder.pop(certain).tolist() == [0] * 5


def test_an_empty_coder_raises():
    batch = mixtures(50, 256)
    with pytest.raises(EmptyCoderError, match="more words were to be popped than the 0"):
        Rans(4).pop(batch)


def test_a_head_too_low_is_refused():
    with pytest.raises(ValueError, match="below"):
        Rans.resume(np.array([LOWEST_HEAD, LOWEST_HEAD - 1], np.uint64), np.zeros(0, np.uint32))
