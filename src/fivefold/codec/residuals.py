"""Residual bins: numbers near their expectation, in bins as wide as the model is sure, with uniform digits within a bin.

The bins are those of a line whose unit is a power of two, so that all that writer and reader must agree on is in integers, or
in operations of IEEE 754 that are exact. Numbers far from their expectation are coded by all their digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fivefold.codec import PRECISION
from fivefold.codec.alphabets import Even
from fivefold.codec.mixtures import Mixtures, even_edges, to_mixtures, without_ends
from fivefold.codec.numbers import NumberBins
from fivefold.codec.rans import Distributions, Rans
from fivefold.codec.rounding import Rounder

_SYMBOLS = 1 << 14  # bins, half of them to either side of the expectation; the outermost stand for what is farther
_FINER = 2  # powers of two that a bin is narrower than a distribution
_FARTHEST_BIN = 1 << 62
_DIGIT = 16  # bits
_PLAIN_DIGITS = 4  # of a number that is coded by all its digits
_WIDEST, _WIDEST_STEPS = 1000, 60  # powers of two, of bins of real numbers and of multiples of a step

Intervals = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ResidualBins:
    """The distributions of `n` numbers of a column over bins around their expectations.

    Attributes
    ----------
    numbers : of the column; see `NumberBins.whole` for whole numbers
    widths : `(n,)` int64, binary logarithm of the bins' width, in steps if the column has one
    middles : `(n,)` int64, the bin of the middle symbol
    symbols : the distributions over the bins
    """

    numbers: NumberBins
    widths: np.ndarray
    middles: np.ndarray
    symbols: Mixtures

    @classmethod
    def around(
        cls,
        numbers: NumberBins,
        log_weights: np.ndarray,
        locations: np.ndarray,
        log_scales: np.ndarray,
        rounder: Rounder,
    ) -> ResidualBins:
        """From mixtures of logistics `(n, k)` float64: locations as differences from the column's centre, in its units."""
        unit = numbers.step or 1.0
        locations, log_scales = locations / unit, log_scales - np.log(unit)
        sharpness = np.log2(np.exp(log_weights - log_scales).sum(1))
        finest = _spacing(numbers, (np.exp(log_weights) * locations).sum(1), rounder)
        most = _WIDEST_STEPS if numbers.step else _WIDEST
        widths = np.maximum(rounder(np.clip(-sharpness - _FINER, -_WIDEST, most)), finest)
        per_bin = _scaled(np.ones(len(widths)), -widths)[:, None]
        centre, rest = _centre(numbers, widths)
        half = _scaled(np.full(len(widths), 0.5), finest)  # numbers are rounded ones
        places = ((rest + half)[:, None] + locations) * per_bin - 0.5
        middle = (np.exp(log_weights) * places).sum(1)
        middle = rounder(np.clip(middle, -_FARTHEST_BIN, _FARTHEST_BIN))
        symbols = to_mixtures(
            without_ends(log_weights),
            places - middle[:, None] + _SYMBOLS // 2,
            log_scales + np.log(per_bin),
            even_edges(_SYMBOLS),
            "logistic",
            rounder,
        )
        return cls(numbers, widths, centre + middle, symbols)

    def intervals(self, whole: np.ndarray) -> list[Intervals]:
        """The intervals of whole numbers `(n,)`, in the order in which they are popped."""
        bins = self._bins(whole)
        symbols = np.clip(bins - self.middles, -_SYMBOLS // 2, _SYMBOLS // 2 - 1) + _SYMBOLS // 2
        intervals, far = [self.symbols.interval(symbols)], self._is_far(symbols)
        place = whole - self._first(bins, self.widths)
        for rows, shifts, digits in self._digits(bins, ~far):
            intervals.append(digits.interval((place[rows] >> shifts) % digits.sizes))
        for shift in range(0, _PLAIN_DIGITS * _DIGIT, _DIGIT):
            if far.any():
                plain = Even(np.full(int(far.sum()), 1 << _DIGIT))
                intervals.append(plain.interval(whole[far] >> shift & (1 << _DIGIT) - 1))
        return intervals

    def pop(self, coder: Rans) -> np.ndarray:
        """The whole numbers; raises `EmptyCoderError`."""
        symbols = coder.pop(self.symbols)
        far, bins = self._is_far(symbols), self.middles + symbols - _SYMBOLS // 2
        whole = self._first(bins, self.widths)
        for rows, shifts, digits in self._digits(bins, ~far):
            whole[rows] += coder.pop(digits) << shifts
        if far.any():
            plain: Distributions = Even(np.full(int(far.sum()), 1 << _DIGIT))
            parts = [coder.pop(plain) << shift for shift in range(0, _PLAIN_DIGITS * _DIGIT, _DIGIT)]
            whole[far] = np.bitwise_or.reduce(parts)
        return whole

    @staticmethod
    def _is_far(symbols: np.ndarray) -> np.ndarray:
        return (symbols == 0) | (symbols == _SYMBOLS - 1)

    def _bins(self, whole: np.ndarray) -> np.ndarray:
        """The bin of each number."""
        if self.numbers.step:
            return whole >> self.widths
        values = self.numbers.values(whole)
        with np.errstate(over="ignore", under="ignore"):
            bins = np.floor(_scaled(values, -self.widths))
        bins -= (values < 0) & (bins == 0)  # so small that they were rounded to 0
        return np.clip(bins, -_FARTHEST_BIN, _FARTHEST_BIN).astype(np.int64)

    def _first(self, bins: np.ndarray, widths: np.ndarray) -> np.ndarray:
        """The least whole number of each bin."""
        if self.numbers.step:
            return bins << widths
        with np.errstate(over="ignore"):
            lower = _scaled(bins.astype(np.float64), widths)
        whole = self.numbers.whole(lower)
        return whole + (self.numbers.values(whole) < lower)  # where the type has no such number

    def _digits(self, bins: np.ndarray, near: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, Even]]:
        """The digits of numbers' places within their bins: rows, bits by which to shift, and the digits' distributions."""
        last = self._first(bins + 1, self.widths) - self._first(bins, self.widths) - 1
        rest, shifts = np.where(near, np.maximum(last, 0), 0), np.zeros(len(bins), np.int64)
        while len(rows := np.flatnonzero(rest >> PRECISION)):
            yield rows, shifts[rows], Even(np.full(len(rows), 1 << _DIGIT))
            rest[rows] >>= _DIGIT
            shifts[rows] += _DIGIT
        if len(rows := np.flatnonzero(rest)):
            yield rows, shifts[rows], Even(rest[rows] + 1)


def _scaled(values: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Values times powers of two, exactly."""
    return np.ldexp(values, widths.astype(np.int32))


def _centre(numbers: NumberBins, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bin of the column's centre, and the distance of the centre from its start, in steps if the column has one."""
    if numbers.step:
        multiple = numbers.multiples(np.array([numbers.centre]))
        whole = numbers.whole(np.array([numbers.centre]))
        bins = whole >> widths
        return bins, (whole - (bins << widths)) + (multiple - whole)
    bins = np.clip(np.floor(_scaled(np.full(len(widths), numbers.centre), -widths)), -_FARTHEST_BIN, _FARTHEST_BIN)
    return bins.astype(np.int64), numbers.centre - _scaled(bins, widths)


def _spacing(numbers: NumberBins, expected: np.ndarray, rounder: Rounder) -> np.ndarray:
    """Binary logarithm of the distance between the column's numbers near their expectation, in steps if it has one."""
    if numbers.step:
        return np.zeros(len(expected), np.int64)
    about = np.finfo(numbers.dtype)
    size = np.clip(np.abs(numbers.centre + expected), float(about.tiny), float(about.max))
    return rounder(np.log2(size) - 0.5) - about.nmant
