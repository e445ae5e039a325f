"""Categorical and uniform distributions in integers; see `rans.Distributions`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fivefold.codec import PRECISION
from fivefold.codec.mixtures import LOG_WEIGHT_STEPS, NO_WEIGHT, weight_table
from fivefold.codec.rans import Intervals
from fivefold.codec.rounding import Rounder

_TOTAL = 1 << PRECISION


@dataclass(frozen=True)
class Classes:
    """`n` categorical distributions over k symbols.

    Attributes
    ----------
    starts : `(n, k + 1)` int64, where the symbols' intervals start, from 0 to 2 ** PRECISION
    """

    starts: np.ndarray

    def interval(self, symbols: np.ndarray) -> Intervals:
        """See `rans.Distributions`."""
        rows = np.arange(len(self.starts))
        start, end = self.starts[rows, symbols], self.starts[rows, symbols + 1]
        return start.astype(np.uint64), (end - start).astype(np.uint64)

    def pop(self, heads: np.ndarray, words: np.ndarray, count: int) -> tuple[np.ndarray, int]:
        """See `rans.Distributions`."""
        from fivefold.codec import kernels

        return kernels.pop_classes(heads, words, count, self.starts)


def to_classes(log_probabilities: np.ndarray, rounder: Rounder) -> Classes:
    """Log probabilities `(n, k)` float64, nats, rounded to steps of 1/16 nat; each symbol has 1 part at least."""
    steps = rounder(np.maximum(log_probabilities * LOG_WEIGHT_STEPS, -NO_WEIGHT))
    weights = weight_table()[np.clip(-steps, 0, NO_WEIGHT)]
    n, k = weights.shape
    below = np.concatenate((np.zeros((n, 1), np.int64), weights.cumsum(1)), axis=1)
    return Classes(below * (_TOTAL - k) // below[:, -1:] + np.arange(k + 1))


@dataclass(frozen=True)
class Even:
    """`n` uniform distributions over `sizes` symbols, at most 2 ** PRECISION.

    Attributes
    ----------
    sizes : `(n,)` int64
    """

    sizes: np.ndarray

    def interval(self, symbols: np.ndarray) -> Intervals:
        """See `rans.Distributions`."""
        start, end = symbols * _TOTAL // self.sizes, (symbols + 1) * _TOTAL // self.sizes
        return start.astype(np.uint64), (end - start).astype(np.uint64)

    def pop(self, heads: np.ndarray, words: np.ndarray, count: int) -> tuple[np.ndarray, int]:
        """See `rans.Distributions`."""
        from fivefold.codec import kernels

        return kernels.pop_even(heads, words, count, self.sizes)
