"""The coder's inner loops, compiled by numba: symbol by symbol the arithmetic of `mixtures.py` and `rans.py`.

`mixtures` is what `Mixtures.tables` gives.
"""

from __future__ import annotations

import numba
import numpy as np

from fivefold.codec import LOWEST_HEAD, PRECISION, WORD_BITS

_TOTAL = 1 << PRECISION


def _compiled(function):
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # there is no folder that may be written to
        return numba.njit(nogil=True)(function)


@_compiled
def _below(symbol, i, total, mixtures):
    (
        edges,
        weights,
        locations,
        inverses,
        farthest,
        cells,
        reach,
        (cdf_bits, cell_bits, inverse_bits),
    ) = mixtures
    symbols = len(edges) - 1
    if symbol <= 0:
        return 0
    if symbol >= symbols:
        return _TOTAL
    components = locations.shape[1]
    inside = weights[i, components] << cdf_bits
    for k in range(components):
        distance = min(max(edges[symbol] - locations[i, k], -farthest[i, k]), farthest[i, k])
        place = distance * inverses[i, k] >> inverse_bits - cell_bits
        place = min(max(place, -reach), reach - 1) + reach
        cell, rest = place >> cell_bits, place & ((1 << cell_bits) - 1)
        inside += weights[i, k] * (cells[cell] + ((cells[cell + 1] - cells[cell]) * rest >> cell_bits))
    share = inside // total
    return (share * (_TOTAL - symbols) >> cdf_bits) + symbol


@_compiled
def intervals(chosen, mixtures):
    """Start and frequency of each chosen symbol, `(n,)` uint64."""
    n, weights = len(chosen), mixtures[1]
    starts, frequencies = np.empty(n, np.uint64), np.empty(n, np.uint64)
    for i in range(n):
        total = weights[i].sum()
        start = _below(chosen[i], i, total, mixtures)
        starts[i], frequencies[i] = start, _below(chosen[i] + 1, i, total, mixtures) - start
    return starts, frequencies


@_compiled
def push(heads, words, count, starts, frequencies):
    """Push from the last to the first; `words` has room. Returns the number of words."""
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


@_compiled
def pop(heads, words, count, symbols, mixtures):
    """Pop into `symbols`. Returns the number of words left, or −1 if there were too few.

    The lowest symbol, most often an image's background, is tried first; then by bisection.
    """
    highest, weights = len(mixtures[0]) - 2, mixtures[1]
    for i in range(len(symbols)):
        lane, total = i % len(heads), weights[i].sum()
        slot = np.int64(heads[lane] & np.uint64(_TOTAL - 1))
        low, high = 0, highest
        start, end = 0, _TOTAL
        middle = 1
        while low < high:
            below = _below(middle, i, total, mixtures)
            if below > slot:
                high, end = middle - 1, below
            else:
                low, start = middle, below
            middle = (low + high + 1) >> 1
        symbols[i] = low
        head = np.uint64(end - start) * (heads[lane] >> np.uint64(PRECISION)) + np.uint64(slot - start)
        if head < np.uint64(LOWEST_HEAD):
            if count == 0:
                return -1
            count -= 1
            head = head << np.uint64(WORD_BITS) | np.uint64(words[count])
        heads[lane] = head
    return count
