"""Numbers of a column as whole ones, in bins under a model's distribution, and uniform digits within a bin.

`NumberBins` are even on an asinh scale; `ResidualBins` lie around each number's expectation, as wide as the model is sure.
All that writer and reader must agree on is in integers, or in single operations of IEEE 754.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fivefold.arrays import Bools, Floats, Ints
from fivefold.codec import PRECISION
from fivefold.codec.alphabets import Even
from fivefold.codec.mixtures import Mixtures, even_edges, to_mixtures, without_ends
from fivefold.codec.rans import Intervals, Rans
from fivefold.codec.rounding import Rounder

UNIT = 1 / 64  # of a column's spread: that of the line on which `Mixtures` lie
_BINS = 256  # per spread
_REACH = 16  # sinh of which, in spreads, is as far as the bins go
_RATIO = float.fromhex("0x1.0100802ab5577p+0")  # e ** (1 / 256)
_DIGIT = 16  # bits
_PLACES = 13  # of decimals, at most, and one
LARGEST_DIGIT = (1 << _DIGIT) - 1
_BITS: dict[int, np.dtype] = {2: np.dtype(np.int16), 4: np.dtype(np.int32), 8: np.dtype(np.int64)}

_SYMBOLS = 1 << 14  # bins of residuals, half of them to either side; the outermost stand for what is farther
_FINER = 2  # powers of two that a bin is narrower than a distribution
_FARTHEST_BIN = 1 << 62
_PLAIN_DIGITS = 4  # of a number that is coded by all its digits
_WIDEST, _WIDEST_STEPS = 1000, 60  # powers of two, of bins of real numbers and of multiples of a step


@dataclass(frozen=True)
class NumberBins:
    """Bins of the numbers of one column, the denser, the nearer to its centre.

    Attributes
    ----------
    centre, spread, step : see `schema.Column`
    dtype : of floating-point numbers, if the step is 0
    """

    centre: float
    spread: float
    step: float
    dtype: np.dtype

    def whole(self, values: Floats) -> Ints:
        """Values as multiples of the step, or as their rank among all numbers of the type."""
        if self.step:
            with np.errstate(invalid="ignore", over="ignore"):
                return np.clip(np.rint(self.multiples(values)), -(2.0**62), 2.0**62).astype(np.int64)
        with np.errstate(over="ignore"):
            bits = values.astype(self.dtype).view(_BITS[self.dtype.itemsize]).astype(np.int64)
        return np.where(bits < 0, self._lowest - bits, bits)

    def values(self, whole: Ints) -> Floats:
        """The inverse."""
        if self.step:
            return self._in_units(whole.astype(np.float64))
        kind = _BITS[self.dtype.itemsize]
        return np.where(whole < 0, self._lowest - whole, whole).astype(kind).view(self.dtype).astype(np.float64)

    @cached_property
    def starts(self) -> Ints:
        """The whole number with which each bin starts, and the one after the last bin, `(bins + 1,)` ascending."""
        powers = np.multiply.accumulate(np.full(_BINS * _REACH, _RATIO))
        upper = (powers - 1 / powers) / 2
        starts = self.centre + self.spread * np.concatenate((-upper[::-1], [0.0], upper))
        if not self.step:
            starts = starts[np.abs(starts) <= np.finfo(self.dtype).max]
            return np.unique(self.whole(starts))
        return np.unique(np.ceil(np.clip(self.multiples(starts), -(2.0**62), 2.0**62)).astype(np.int64))

    @cached_property
    def edges(self) -> Floats:
        """The bins' edges on the line, in units: `(bins + 1,)`; not to the last bit the same everywhere."""
        if not self.step:
            return self.scaled(self.values(self.starts)) / UNIT
        return self.scaled(self._in_units(self.starts - np.float64(0.5))) / UNIT

    def scaled(self, values: Floats) -> Floats:
        """Numbers on the column's own scale."""
        return np.arcsinh((values - self.centre) / self.spread)

    def locate(self, whole: Ints) -> Ints:
        """The bins of numbers, or −1 where there is none."""
        bins = np.searchsorted(self.starts, whole, "right") - 1
        return np.where(bins < len(self.starts) - 1, bins, -1)

    def digits(self, bins: Ints) -> Iterator[tuple[int, Even]]:
        """The digits of numbers' places within their bins, low ones first: bits by which to shift, and their distributions."""
        last = np.diff(self.starts) - 1
        for shift in range(0, int(last.max()).bit_length(), _DIGIT):
            yield shift, Even(np.minimum(last[bins] >> shift, LARGEST_DIGIT) + 1)

    def multiples(self, values: Floats) -> Floats:
        """Numbers in steps, not rounded."""
        return values * self._parts if self.step < 1 else values / self.step

    def _in_units(self, multiples: Floats) -> Floats:
        return multiples / self._parts if self.step < 1 else multiples * self.step

    def resolution(self, values: Floats) -> float:
        """The distance of neighbouring numbers about the mean size of `values`; NaN if that is too large for the type."""
        if self.step:
            return self.step
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.spacing(np.abs(values).mean().astype(self.dtype)))

    @property
    def forms(self) -> list[NumberBins]:
        """This one, and others of the same centre: of ever finer decimals, and of ever wider floating-point numbers."""
        decimals = [replace(self, step=10.0**-places) for places in range(_PLACES)]
        kinds = [np.dtype(kind) for kind in (np.float16, np.float32, np.float64)]
        wider = [replace(self, step=0.0, dtype=kind) for kind in kinds if kind.itemsize <= self.dtype.itemsize]
        return [self, *decimals, *wider]

    @property
    def _parts(self) -> float:
        """The number of steps in 1, if they are smaller."""
        return float(np.rint(1 / self.step))

    @property
    def _lowest(self) -> int:
        """The bits of −0."""
        return -(1 << 8 * self.dtype.itemsize - 1)


@dataclass(frozen=True)
class ResidualBins:
    """The distributions of `n` numbers of a column over bins around their expectations.

    The bins are those of a line whose unit is a power of two. Numbers far from their expectation are coded by all their digits.

    Attributes
    ----------
    numbers : of the column; see `NumberBins.whole` for whole numbers
    widths : `(n,)`, binary logarithm of the bins' width, in steps if the column has one
    middles : `(n,)`, the bin of the middle symbol
    symbols : the distributions over the bins
    """

    numbers: NumberBins
    widths: Ints
    middles: Ints
    symbols: Mixtures

    @classmethod
    def around(
        cls, numbers: NumberBins, log_weights: Floats, locations: Floats, log_scales: Floats, rounder: Rounder
    ) -> ResidualBins:
        """From mixtures of logistics `(n, k)`: locations as differences from the column's centre, in its units."""
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

    def intervals(self, whole: Ints) -> list[Intervals]:
        """The intervals of whole numbers `(n,)`, in the order in which they are popped."""
        return [intervals for _, intervals in self.numbered_intervals(whole)]

    def numbered_intervals(self, whole: Ints) -> list[tuple[Ints, Intervals]]:
        """Likewise, with the numbers, ascending, of those of `whole` that they are of."""
        bins = self._bins(whole)
        symbols = np.clip(bins - self.middles, -_SYMBOLS // 2, _SYMBOLS // 2 - 1) + _SYMBOLS // 2
        intervals, far = [(np.arange(len(whole)), self.symbols.interval(symbols))], _is_far(symbols)
        place = whole - self._first(bins)
        for rows, shifts, digits in self._digits(bins, ~far):
            intervals.append((rows, digits.interval((place[rows] >> shifts) % digits.sizes)))
        for shift in _plain_shifts(far):
            intervals.append((np.flatnonzero(far), _plain(far).interval(whole[far] >> shift & LARGEST_DIGIT)))
        return intervals

    def pop(self, coder: Rans) -> Ints:
        """The whole numbers; raises `EmptyCoderError`."""
        symbols = coder.pop(self.symbols)
        far, bins = _is_far(symbols), self.middles + symbols - _SYMBOLS // 2
        whole = self._first(bins)
        for rows, shifts, digits in self._digits(bins, ~far):
            whole[rows] += coder.pop(digits) << shifts
        whole[far] = 0
        for shift in _plain_shifts(far):
            whole[far] |= coder.pop(_plain(far)) << shift
        return whole

    def _bins(self, whole: Ints) -> Ints:
        """The bin of each number."""
        if self.numbers.step:
            return whole >> self.widths
        values = self.numbers.values(whole)
        with np.errstate(over="ignore", under="ignore"):
            bins = np.floor(_scaled(values, -self.widths))
        bins -= (values < 0) & (bins == 0)  # so small that they were rounded to 0
        return np.clip(bins, -_FARTHEST_BIN, _FARTHEST_BIN).astype(np.int64)

    def _first(self, bins: Ints) -> Ints:
        """The least whole number of each bin."""
        if self.numbers.step:
            return bins << self.widths
        with np.errstate(over="ignore"):
            lower = _scaled(bins.astype(np.float64), self.widths)
        whole = self.numbers.whole(lower)
        return whole + (self.numbers.values(whole) < lower)  # where the type has no such number

    def _digits(self, bins: Ints, near: Bools) -> Iterator[tuple[Ints, Ints, Even]]:
        """The digits of numbers' places within their bins: rows, bits by which to shift, and the digits' distributions."""
        last = self._first(bins + 1) - self._first(bins) - 1
        rest, shifts = np.where(near, np.maximum(last, 0), 0), np.zeros(len(bins), np.int64)
        while len(rows := np.flatnonzero(rest >> PRECISION)):
            yield rows, shifts[rows], Even(np.full(len(rows), 1 << _DIGIT))
            rest[rows] >>= _DIGIT
            shifts[rows] += _DIGIT
        if len(rows := np.flatnonzero(rest)):
            yield rows, shifts[rows], Even(rest[rows] + 1)


def _is_far(symbols: Ints) -> Bools:
    far: Bools = (symbols == 0) | (symbols == _SYMBOLS - 1)
    return far


def _plain_shifts(far: Bools) -> range:
    return range(0, _PLAIN_DIGITS * _DIGIT if far.any() else 0, _DIGIT)


def _plain(far: Bools) -> Even:
    return Even(np.full(int(far.sum()), 1 << _DIGIT))


def _scaled(values: Floats, widths: Ints) -> Floats:
    """Values times powers of two, exactly."""
    return np.ldexp(values, widths.astype(np.int32))


def _centre(numbers: NumberBins, widths: Ints) -> tuple[Ints, Floats]:
    """The bin of the column's centre, and the distance of the centre from its start, in steps if the column has one."""
    if numbers.step:
        multiple = numbers.multiples(np.array([numbers.centre]))
        whole = numbers.whole(np.array([numbers.centre]))
        bins = whole >> widths
        return bins, (whole - (bins << widths)) + (multiple - whole)
    start = np.clip(np.floor(_scaled(np.full(len(widths), numbers.centre), -widths)), -_FARTHEST_BIN, _FARTHEST_BIN)
    return start.astype(np.int64), numbers.centre - _scaled(start, widths)


def _spacing(numbers: NumberBins, expected: Floats, rounder: Rounder) -> Ints:
    """Binary logarithm of the distance between the column's numbers near their expectation, in steps if it has one."""
    if numbers.step:
        return np.zeros(len(expected), np.int64)
    about = np.finfo(numbers.dtype)
    size = np.clip(np.abs(numbers.centre + expected), float(about.tiny), float(about.max))
    return rounder(np.log2(size) - 0.5) - about.nmant
