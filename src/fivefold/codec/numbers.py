"""Number bins: numbers as whole ones, in quantisation bins under a model's distribution and uniform digits within a bin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fivefold.codec.alphabets import Even

UNIT = 1 / 64  # of a column's spread: that of the line on which `Mixtures` lie
_BINS = 256  # per spread
_REACH = 16  # sinh of which, in spreads, is as far as the bins go
_RATIO = float.fromhex("0x1.0100802ab5577p+0")  # e ** (1 / 256)
_DIGIT = 16  # bits
_PLACES = 13  # of decimals, at most, and one
LARGEST_DIGIT = (1 << _DIGIT) - 1
_BITS: dict[int, np.dtype] = {2: np.dtype(np.int16), 4: np.dtype(np.int32), 8: np.dtype(np.int64)}


@dataclass(frozen=True)
class NumberBins:
    """Bins of the numbers of one column; the denser, the nearer to its centre: even on an asinh scale.

    All that writer and reader must agree on is in integers, or in single operations of IEEE 754.

    Attributes
    ----------
    centre, spread, step : see `schema.Column`
    dtype : of floating-point numbers, if the step is 0
    """

    centre: float
    spread: float
    step: float
    dtype: np.dtype

    def whole(self, values: np.ndarray) -> np.ndarray:
        """Values, float64, as multiples of the step, or as their rank among all numbers of the type: int64."""
        if self.step:
            with np.errstate(invalid="ignore", over="ignore"):
                return np.clip(np.rint(self.multiples(values)), -(2.0**62), 2.0**62).astype(np.int64)
        with np.errstate(over="ignore"):
            bits = values.astype(self.dtype).view(_BITS[self.dtype.itemsize]).astype(np.int64)
        return np.where(bits < 0, self._lowest - bits, bits)

    def values(self, whole: np.ndarray) -> np.ndarray:
        """The inverse, float64."""
        if self.step:
            return whole / self._parts if self.step < 1 else whole * self.step
        kind = _BITS[self.dtype.itemsize]
        return np.where(whole < 0, self._lowest - whole, whole).astype(kind).view(self.dtype).astype(np.float64)

    @cached_property
    def starts(self) -> np.ndarray:
        """The whole number with which each bin starts, and the one after the last bin, `(bins + 1,)` int64 ascending."""
        powers = np.multiply.accumulate(np.full(_BINS * _REACH, _RATIO))
        upper = (powers - 1 / powers) / 2
        starts = self.centre + self.spread * np.concatenate((-upper[::-1], [0.0], upper))
        if not self.step:
            starts = starts[np.abs(starts) <= np.finfo(self.dtype).max]
            return np.unique(self.whole(starts))
        return np.unique(np.ceil(np.clip(self.multiples(starts), -(2.0**62), 2.0**62)).astype(np.int64))

    @cached_property
    def edges(self) -> np.ndarray:
        """The bins' edges on the line, in units: `(bins + 1,)` float64; not to the last bit the same everywhere."""
        if not self.step:
            return self.scaled(self.values(self.starts)) / UNIT
        half = self.starts - 0.5
        return self.scaled(half / self._parts if self.step < 1 else half * self.step) / UNIT

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Numbers on the column's own scale."""
        return np.arcsinh((values - self.centre) / self.spread)

    def locate(self, whole: np.ndarray) -> np.ndarray:
        """The bins of numbers, or −1 where there is none."""
        bins = np.searchsorted(self.starts, whole, "right") - 1
        return np.where(bins < len(self.starts) - 1, bins, -1)

    def digits(self, bins: np.ndarray) -> Iterator[tuple[int, Even]]:
        """The digits of numbers' places within their bins, low ones first: bits by which to shift, and their distributions."""
        last = np.diff(self.starts) - 1
        for shift in range(0, int(last.max()).bit_length(), _DIGIT):
            yield shift, Even(np.minimum(last[bins] >> shift, LARGEST_DIGIT) + 1)

    def multiples(self, values: np.ndarray) -> np.ndarray:
        """Numbers in steps, not rounded."""
        return values * self._parts if self.step < 1 else values / self.step

    def resolution(self, values: np.ndarray) -> float:
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
