"""Numbers near where a model expects them: in bins as wide as it is sure, and where in its bin a number is.

The bins are those of a line whose unit is a power of two, so that all that writer and reader must agree on is in integers, or
in operations of IEEE 754 that are exact. What is far from what was expected is told by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fivefold.codec.alphabets import Even
from fivefold.codec.mixtures import Mixtures, even_edges, to_mixtures
from fivefold.codec.numbers import NumberGrid
from fivefold.codec.rans import PRECISION, Distributions, Rans
from fivefold.codec.rounding import Rounder

_SYMBOLS = 1 << 14  # bins to either side of what is expected, half of them each; the outermost: what is farther
_FINER = 2  # powers of two that a bin is narrower than a distribution
_FARTHEST_BIN = 1 << 62
_DIGIT = 16  # bits
_PLAIN_DIGITS = 4  # of a number that is told by itself
_WIDEST, _WIDEST_STEPS = 1000, 60  # powers of two, of bins of real numbers and of multiples of a step

Intervals = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Nearby:
    """The distributions of `n` numbers of a column.

    Attributes
    ----------
    grid : of the column; see `NumberGrid.whole` for whole numbers
    widths : `(n,)` int64, binary logarithm of how wide the bins are: in steps, if the column has one
    middles : `(n,)` int64, the bin that the middle symbol is
    symbols : the distributions over the bins
    """

    grid: NumberGrid
    widths: np.ndarray
    middles: np.ndarray
    symbols: Mixtures

    @classmethod
    def of(
        cls,
        grid: NumberGrid,
        log_weights: np.ndarray,
        locations: np.ndarray,
        log_scales: np.ndarray,
        rounder: Rounder,
    ) -> Nearby:
        """From mixtures of logistics `(n, k)` float64: locations as differences from the column's centre, in its units."""
        unit = grid.step or 1.0
        locations, log_scales = locations / unit, log_scales - np.log(unit)
        sharpness = np.log2(np.exp(log_weights - log_scales).sum(1))
        finest = _spacing(grid, (np.exp(log_weights) * locations).sum(1), rounder)
        most = _WIDEST_STEPS if grid.step else _WIDEST
        widths = np.maximum(rounder(np.clip(-sharpness - _FINER, -_WIDEST, most)), finest)
        per_bin = _scaled(np.ones(len(widths)), -widths)[:, None]
        centre, rest = _centre(grid, widths)
        half = _scaled(np.full(len(widths), 0.5), finest)  # numbers are rounded ones
        places = ((rest + half)[:, None] + locations) * per_bin - 0.5
        middle = (np.exp(log_weights) * places).sum(1)
        middle = rounder(np.clip(middle, -_FARTHEST_BIN, _FARTHEST_BIN))
        log_weights = log_weights - log_weights.max(1, keepdims=True)
        weights = np.concatenate((log_weights, np.full((len(log_weights), 2), -np.inf)), axis=1)
        symbols = to_mixtures(
            weights,
            places - middle[:, None] + _SYMBOLS // 2,
            log_scales + np.log(per_bin),
            even_edges(_SYMBOLS),
            "logistic",
            rounder,
        )
        return cls(grid, widths, centre + middle, symbols)

    def intervals(self, whole: np.ndarray) -> list[Intervals]:
        """Of whole numbers `(n,)`, in the order in which they are popped."""
        bins = self._bins(whole)
        symbols = np.clip(bins - self.middles, -_SYMBOLS // 2, _SYMBOLS // 2 - 1) + _SYMBOLS // 2
        found, far = [self.symbols.interval(symbols)], self._is_far(symbols)
        place = whole - self._first(bins, self.widths)
        for which, shifts, digits in self._digits(bins, ~far):
            found.append(digits.interval((place[which] >> shifts) % digits.sizes))
        for shift in range(0, _PLAIN_DIGITS * _DIGIT, _DIGIT):
            if far.any():
                plain = Even(np.full(int(far.sum()), 1 << _DIGIT))
                found.append(plain.interval(whole[far] >> shift & (1 << _DIGIT) - 1))
        return found

    def pop(self, coder: Rans) -> np.ndarray:
        """The whole numbers; raises `EmptyCoderError`."""
        symbols = coder.pop(self.symbols)
        far, bins = self._is_far(symbols), self.middles + symbols - _SYMBOLS // 2
        whole = self._first(bins, self.widths)
        for which, shifts, digits in self._digits(bins, ~far):
            whole[which] += coder.pop(digits) << shifts
        if far.any():
            plain: Distributions = Even(np.full(int(far.sum()), 1 << _DIGIT))
            parts = [coder.pop(plain) << shift for shift in range(0, _PLAIN_DIGITS * _DIGIT, _DIGIT)]
            whole[far] = np.bitwise_or.reduce(parts)
        return whole

    @staticmethod
    def _is_far(symbols: np.ndarray) -> np.ndarray:
        return (symbols == 0) | (symbols == _SYMBOLS - 1)

    def _bins(self, whole: np.ndarray) -> np.ndarray:
        """In which each number is."""
        if self.grid.step:
            return whole >> self.widths
        with np.errstate(over="ignore"):
            bins = np.floor(_scaled(self.grid.values(whole), -self.widths))
        return np.clip(bins, -_FARTHEST_BIN, _FARTHEST_BIN).astype(np.int64)

    def _first(self, bins: np.ndarray, widths: np.ndarray) -> np.ndarray:
        """The least whole number of each bin."""
        if self.grid.step:
            return bins << widths
        with np.errstate(over="ignore"):
            lower = _scaled(bins.astype(np.float64), widths)
        whole = self.grid.whole(lower)
        return whole + (self.grid.values(whole) < lower)  # where the type has no such number

    def _digits(self, bins: np.ndarray, near: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, Even]]:
        """How the places in their bins are told: of which numbers, bits by which to shift, and what is even then."""
        last = self._first(bins + 1, self.widths) - self._first(bins, self.widths) - 1
        rest, shifts = np.where(near, np.maximum(last, 0), 0), np.zeros(len(bins), np.int64)
        while len(which := np.flatnonzero(rest >> PRECISION)):
            yield which, shifts[which], Even(np.full(len(which), 1 << _DIGIT))
            rest[which] >>= _DIGIT
            shifts[which] += _DIGIT
        if len(which := np.flatnonzero(rest)):
            yield which, shifts[which], Even(rest[which] + 1)


def _scaled(values: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Times powers of two, exactly."""
    return np.ldexp(values, widths.astype(np.int32))


def _centre(grid: NumberGrid, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bin that the column's centre is in, and how far it is from where that starts, in steps if there are some."""
    if grid.step:
        multiple = grid.multiples(np.array([grid.centre]))
        whole = grid.whole(np.array([grid.centre]))
        bins = whole >> widths
        return bins, (whole - (bins << widths)) + (multiple - whole)
    bins = np.clip(np.floor(_scaled(np.full(len(widths), grid.centre), -widths)), -_FARTHEST_BIN, _FARTHEST_BIN)
    return bins.astype(np.int64), grid.centre - _scaled(bins, widths)


def _spacing(grid: NumberGrid, expected: np.ndarray, rounder: Rounder) -> np.ndarray:
    """Binary logarithm of the distance between the column's numbers, about where they are expected: in steps, if it has some."""
    if grid.step:
        return np.zeros(len(expected), np.int64)
    about = np.finfo(grid.dtype)
    size = np.clip(np.abs(grid.centre + expected), float(about.tiny), float(about.max))
    return rounder(np.log2(size) - 0.5) - about.nmant
