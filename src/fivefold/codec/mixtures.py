"""Mixtures of discretised logistics or normals, with masses at both ends, in integers from their parameters on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import cache
from typing import Literal

import numpy as np

from fivefold.arrays import Floats, Ints
from fivefold.codec import CDF_BITS, CELL_BITS, CELLS_PER_SCALE, FULL_REACH, INVERSE_BITS, REACH
from fivefold.codec.rans import Intervals
from fivefold.codec.rounding import Rounder

Shape = Literal["logistic", "normal"]

LOG_WEIGHT_STEPS = 16  # grid points per nat
LOCATION_STEPS = 32  # per unit of the line
LOG_SCALE_STEPS = 16  # per nat
LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE = -4, 14  # of scales, in units of the line

LOGISTIC_LOG_SCALES = (-7.0, 2.0)  # bounds of networks' logistics over integer levels, of the levels' range
FEW_LEVELS = 32  # up to which such a mixture's mean is a sum; of more, an integral
MOST_SYMBOLS = 1 << 16  # with more, a step of a location would be finer than what machines agree on
_FARTHEST = 2.0**24  # on the line, that a location may be from 0
NO_WEIGHT = 299  # steps below 0 at which a weight is 0
_WEIGHT_BITS = 24
_EXACT = Context(prec=40)  # decimal arithmetic is the same everywhere, unlike a platform's exp
_NOTHING = Decimal("1e-20")
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494")


@dataclass(frozen=True)
class Mixtures:
    """`n` distributions over symbols 0 … `symbols` − 1, that lie one after the other on a line.

    P(X < j) = Σ weightₖ F((edgeⱼ − locationₖ) / scaleₖ) + weight of the low end, and 1 beyond the high end: the tails
    belong to the ends. All arithmetic is in integers, so that every machine finds the same; each symbol has at least
    one of the 2 ** PRECISION parts of the whole.

    Attributes
    ----------
    log_weights : `(n, k + 2)` int64 ≤ 0 in steps of 1/16 nat, of the k components, the low end and the high one; they
        need not be normalised, but the largest of a row must be near 0
    locations : `(n, k)` int64 in steps of 1/32 on the line
    log_scales : `(n, k)` int64 in steps of 1/16 nat
    edges : `(symbols + 1,)` int64, likewise in steps of 1/32: symbol j lies between the edges j and j + 1; at most
        `MOST_SYMBOLS`. See `even_edges`
    shape : `logistic` or `normal`
    """

    log_weights: np.ndarray
    locations: np.ndarray
    log_scales: np.ndarray
    edges: np.ndarray
    shape: Shape = "logistic"

    def __len__(self) -> int:
        return len(self.locations)

    @property
    def symbols(self) -> int:
        """The number of symbols."""
        return len(self.edges) - 1

    def interval(self, symbols: np.ndarray) -> Intervals:
        """See `rans.Distributions`."""
        from fivefold.codec import kernels

        return kernels.intervals(symbols, self.tables())

    def pop(self, heads: np.ndarray, words: np.ndarray, count: int) -> tuple[np.ndarray, int]:
        """See `rans.Distributions`."""
        from fivefold.codec import kernels

        return kernels.pop_mixtures(heads, words, count, self.tables())

    def tables(self) -> tuple[np.ndarray, ...]:
        """For the compiled loops: edges, weights, locations, inverses of scales, how far those reach, cumulative cells."""
        weights = weight_table()[np.clip(-self.log_weights, 0, NO_WEIGHT)]
        scales = np.clip(self.log_scales - LOWEST_LOG_SCALE * LOG_SCALE_STEPS, 0, len(_inverse_scales()) - 1)
        inverses, farthest = _inverse_scales()[scales], _farthest_distances()[scales]
        return self.edges, weights, self.locations, inverses, farthest, _cells(self.shape)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e⁻ˣ)."""
    with np.errstate(over="ignore"):
        exponential: Floats = np.exp(-x)
    return 1 / (1 + exponential)


def log_softmax(logits: Floats) -> Floats:
    """Normalised log weights, along the last axis."""
    shifted: Floats = logits - logits.max(-1, keepdims=True)
    total: Floats = np.exp(shifted).sum(-1, keepdims=True)
    return shifted - np.log(total)


def without_ends(log_weights: np.ndarray) -> np.ndarray:
    """Log weights `(n, k)` of components for `to_mixtures`, with no mass at either end: `(n, k + 2)`, the largest 0."""
    log_weights = log_weights - log_weights.max(axis=1, keepdims=True)
    return np.concatenate((log_weights, np.full((len(log_weights), 2), -np.inf)), axis=1)


@cache
def even_edges(symbols: int) -> np.ndarray:
    """Those of symbols j that lie from j − ½ to j + ½."""
    return np.arange(symbols + 1) * LOCATION_STEPS - LOCATION_STEPS // 2


def to_mixtures(
    log_weights: np.ndarray,
    locations: np.ndarray,
    log_scales: np.ndarray,
    edges: np.ndarray,
    shape: Shape,
    rounder: Rounder,
) -> Mixtures:
    """Parameters in real numbers, as in `Mixtures` but in nats and on the line, rounded to its steps; all float64.

    Log weights may be −∞. What is out of range is cut off before, where no rounding is in doubt.
    """
    k = locations.shape[1]
    steps = (
        np.maximum(log_weights * LOG_WEIGHT_STEPS, -NO_WEIGHT),
        np.clip(locations, -_FARTHEST, _FARTHEST) * LOCATION_STEPS,
        np.clip(log_scales, LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE) * LOG_SCALE_STEPS,
    )
    parts = np.split(rounder(np.concatenate(steps, axis=1)), (k + 2, 2 * k + 2), axis=1)
    weights, places, scales = map(np.ascontiguousarray, parts)
    return Mixtures(weights, places, scales, edges, shape)


@cache
def weight_table() -> Ints:
    """Weights by minus their logarithm's steps: 2 ** 24 · exp(−i / 16), int64, down to 0."""
    return _rounded([2**_WEIGHT_BITS * _decimal(-i, LOG_WEIGHT_STEPS).exp(_EXACT) for i in range(NO_WEIGHT + 1)])


def lookup_tables(shape: Shape) -> tuple[Ints, Ints, Ints, Ints]:
    """Weights, inverses of scales, how far those reach, and cumulative cells: what `Mixtures.tables` looks up."""
    return weight_table(), _inverse_scales(), _farthest_distances(), _cells(shape)


@cache
def _inverse_scales() -> Ints:
    """Cells per step of a location, in 2 ** -32, by log scale."""
    lowest, highest = LOWEST_LOG_SCALE * LOG_SCALE_STEPS, HIGHEST_LOG_SCALE * LOG_SCALE_STEPS
    unit = _decimal(CELLS_PER_SCALE << INVERSE_BITS, LOCATION_STEPS)
    return _rounded([unit * _decimal(-i, LOG_SCALE_STEPS).exp(_EXACT) for i in range(lowest, highest + 1)])


@cache
def _farthest_distances() -> Ints:
    """Steps of a location, by log scale, beyond which nothing changes: cut there, a product can't overflow."""
    return (FULL_REACH << INVERSE_BITS - CELL_BITS) // _inverse_scales() + 1


@cache
def _cells(shape: Shape) -> Ints:
    """F at the corners of the cells, from −24 scales to 24, in 2 ** -30."""
    corners = [_decimal(i, CELLS_PER_SCALE) for i in range(REACH * CELLS_PER_SCALE + 1)]
    cumulative = _logistic if shape == "logistic" else _normal
    upper = _rounded([2**CDF_BITS * cumulative(x) for x in corners])
    return np.concatenate(((1 << CDF_BITS) - upper[:0:-1], upper))


def _logistic(x: Decimal) -> Decimal:
    with localcontext(_EXACT):
        return 1 / (1 + (-x).exp())


def _normal(x: Decimal) -> Decimal:
    """By its series (Abramowitz & Stegun 26.2.10); beyond 9 it is 1 to 18 places."""
    if x > 9:
        return Decimal(1)
    with localcontext(_EXACT):
        term = total = x
        n = 0
        while abs(term) > _NOTHING:
            n += 1
            term = -term * x * x * (2 * n - 1) / (2 * n * (2 * n + 1))
            total += term
        return Decimal("0.5") + total / (2 * _PI).sqrt()


def _decimal(numerator: int, denominator: int) -> Decimal:
    with localcontext(_EXACT):
        return Decimal(numerator) / denominator


def _rounded(values: Iterable[Decimal]) -> Ints:
    return np.array([int(value.to_integral_value(ROUND_HALF_EVEN)) for value in values], np.int64)
