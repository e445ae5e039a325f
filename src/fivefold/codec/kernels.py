"""The coder's inner loops, compiled by numba, symbol by symbol: the arithmetic that makes an archive's bytes.

`tables` is what `Mixtures.tables` gives; `heads`, `words` and `count` are the state of a coder, whose heads are changed. What
pops gives the symbols and the number of words left, or −1 if there were too few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np

from fivefold.codec import CDF_BITS, CELL_BITS, FULL_REACH, INVERSE_BITS, LOWEST_HEAD, PRECISION, WORD_BITS

F = TypeVar("F", bound=Callable[..., object])
Tables = tuple[np.ndarray, ...]
_TOTAL = 1 << PRECISION


def compiled(function: F) -> F:
    """The function, compiled when it is first called, and kept on disk where that may be written to."""
    try:
        return cast(F, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # there is no folder that may be written to
        return cast(F, numba.njit(nogil=True)(function))


@compiled
def _below(symbol: int, i: int, total: int, tables: Tables) -> int:
    """2 ** PRECISION · P(X < symbol) under the i-th distribution, at least `symbol`."""
    edges, weights, locations, inverses, farthest, cells = tables
    symbols = len(edges) - 1
    if symbol <= 0:
        return 0
    if symbol >= symbols:
        return _TOTAL
    components = locations.shape[1]
    inside = weights[i, components] << CDF_BITS
    for k in range(components):
        distance = min(max(edges[symbol] - locations[i, k], -farthest[i, k]), farthest[i, k])
        place = distance * inverses[i, k] >> INVERSE_BITS - CELL_BITS  # in cells of 2 ** -CELL_BITS
        place = min(max(place, -FULL_REACH), FULL_REACH - 1) + FULL_REACH
        cell, rest = place >> CELL_BITS, place & ((1 << CELL_BITS) - 1)
        inside += weights[i, k] * (cells[cell] + ((cells[cell + 1] - cells[cell]) * rest >> CELL_BITS))
    below: int = ((inside // total) * (_TOTAL - symbols) >> CDF_BITS) + symbol
    return below


@compiled
def intervals(symbols: np.ndarray, tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """Start and frequency of each symbol, `(n,)` uint64."""
    n, weights = len(symbols), tables[1]
    starts, frequencies = np.empty(n, np.uint64), np.empty(n, np.uint64)
    for i in range(n):
        total = weights[i].sum()
        start = _below(symbols[i], i, total, tables)
        starts[i], frequencies[i] = start, _below(symbols[i] + 1, i, total, tables) - start
    return starts, frequencies


@compiled
def push(heads: np.ndarray, words: np.ndarray, count: int, starts: np.ndarray, frequencies: np.ndarray) -> int:
    """Push symbols by their intervals, from the last to the first; `words` has room. Returns the number of words."""
    for i in range(len(starts) - 1, -1, -1):
        lane = i % len(heads)
        head, frequency = heads[lane], frequencies[i]
        if head >> np.uint64(64 - PRECISION) >= frequency:
            words[count] = head & np.uint64(LOWEST_HEAD - 1)
            count += 1
            head >>= np.uint64(WORD_BITS)
        turns = head // frequency
        heads[lane] = (turns << np.uint64(PRECISION)) + starts[i] + (head - turns * frequency)
    return count


@compiled
def _take(heads: np.ndarray, lane: int, words: np.ndarray, count: int, start: int, end: int) -> int:
    """Drop the symbol of an interval, in which the lane's head is. Returns the number of words left, or −1."""
    slot = np.int64(heads[lane] & np.uint64(_TOTAL - 1))
    head = np.uint64(end - start) * (heads[lane] >> np.uint64(PRECISION)) + np.uint64(slot - start)
    if head < np.uint64(LOWEST_HEAD):
        if count == 0:
            return -1
        count -= 1
        head = head << np.uint64(WORD_BITS) | np.uint64(words[count])
    heads[lane] = head
    return count


@compiled
def pop_mixtures(heads: np.ndarray, words: np.ndarray, count: int, tables: Tables) -> tuple[np.ndarray, int]:
    """The lowest symbol, most often an image's background, is tried first; then by bisection."""
    highest, weights = len(tables[0]) - 2, tables[1]
    symbols = np.empty(len(weights), np.int64)
    for i in range(len(symbols)):
        lane, total = i % len(heads), weights[i].sum()
        slot = np.int64(heads[lane] & np.uint64(_TOTAL - 1))
        low, high = 0, highest
        start, end = 0, _TOTAL
        middle = 1
        while low < high:
            below = _below(middle, i, total, tables)
            if below > slot:
                high, end = middle - 1, below
            else:
                low, start = middle, below
            middle = (low + high + 1) >> 1
        symbols[i] = low
        count = _take(heads, lane, words, count, start, end)
        if count < 0:
            break
    return symbols, count


@compiled
def pop_classes(heads: np.ndarray, words: np.ndarray, count: int, starts: np.ndarray) -> tuple[np.ndarray, int]:
    """`starts` are those of `alphabets.Classes`."""
    symbols = np.empty(len(starts), np.int64)
    for i in range(len(symbols)):
        lane = i % len(heads)
        slot = np.int64(heads[lane] & np.uint64(_TOTAL - 1))
        symbol = np.searchsorted(starts[i], slot, side="right") - 1
        symbols[i] = symbol
        count = _take(heads, lane, words, count, starts[i, symbol], starts[i, symbol + 1])
        if count < 0:
            break
    return symbols, count


@compiled
def pop_even(heads: np.ndarray, words: np.ndarray, count: int, sizes: np.ndarray) -> tuple[np.ndarray, int]:
    """`sizes` are those of `alphabets.Even`."""
    symbols = np.empty(len(sizes), np.int64)
    for i in range(len(symbols)):
        lane = i % len(heads)
        slot = np.int64(heads[lane] & np.uint64(_TOTAL - 1))
        symbol = (slot + 1) * sizes[i] - 1 >> PRECISION
        symbols[i] = symbol
        start, end = symbol * _TOTAL // sizes[i], (symbol + 1) * _TOTAL // sizes[i]
        count = _take(heads, lane, words, count, start, end)
        if count < 0:
            break
    return symbols, count
