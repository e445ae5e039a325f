"""What windows are like as a whole, and how far they are from those of the fit: what single steps do not show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from fivefold.arrays import Floats
from fivefold.errors import ModelError
from fivefold.series.windows import Windows

_MOST_WINDOWS, _NUMBERS = 4096, 1 << 18  # of the memory, at most
_KNOTS, _EVIDENCE = 200, 1000
_TAIL = 0.9  # share of the normal values beyond which tails are exponential
_FARTHEST = 1e4  # deviations
_LEVEL, _STEP, _SHAPE = 0.01, 0.001, 0.1  # deviations below which spreads, changes, and shapes are hardly told apart
_SAME, _REPEATED = 1e-6, 0.01  # distance of windows that are one; share of the fit's that have a like one
_FEWEST = 0.5  # of a window that must be there
_FEWEST_WINDOWS, _FEWEST_NORMAL = 64, 2  # of the memory, and of those that there are others than
_MOST_NATS = 30.0
_TOGETHER = 128  # windows at once


def tail_nats(values: np.ndarray, normal: np.ndarray) -> Floats:
    """−log of the share of ascending `normal` values `(m,)` that are as high, for `values` of any shape; beyond the highest tenth
    as exponential tails have it."""
    count, start = len(normal), float(np.quantile(normal, _TAIL))
    top = normal[normal >= start] - start
    scale = max(float(top.mean()), 0.1 * (start - float(np.median(normal))), 1e-6 * float(np.abs(normal).max()), 1e-12)
    share = (1 + count - np.searchsorted(normal, values)) / (1 + count)
    beyond: Floats = np.where(values > start, -np.log(1 - _TAIL) + (values - start) / scale, -np.log(share))
    return np.where(np.isnan(values), np.nan, beyond)


@final
@dataclass(frozen=True)
class PatchScore:
    """Windows of the fit, their statistics, and how strange steps of the fit are by these and by their own scores.

    Statistics of a window are, of each channel, its level, spread, and mean change from step to step, which are strange if they
    are high or low; the distance to the nearest window in the memory, and that of its shape alone, without level and spread.
    Each counts for its tail probability in nats, of channels that of the strangest; the mean of the five is added to that of a
    step's own score.

    Attributes
    ----------
    memory : `(m, t, c)` float32, standardised windows, their means where values are missing
    centre, scale : `(c,)` float64, of the channels' encoded values
    knots : `(3 c + 2, 200)` float64, ascending quantiles of the statistics
    evidence : `(1000,)` float64, ascending quantiles of the evidence against normal steps, nats
    """

    memory: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    knots: np.ndarray
    evidence: np.ndarray

    def __post_init__(self) -> None:
        m, c = (len(self.memory), self.memory.shape[-1]) if self.memory.ndim == 3 else (0, 0)
        shapes = self.centre.shape == self.scale.shape == (c,) and self.knots.shape == (3 * c + 2, _KNOTS)
        parts = self.memory, self.centre, self.scale, self.knots, self.evidence
        finite = all(np.isfinite(part).all() for part in parts)
        ascending = all(bool((np.diff(part) >= 0).all()) for part in (self.knots, self.evidence))
        if not (m and shapes and len(self.evidence) == _EVIDENCE and finite and ascending and (self.scale > 0).all()):
            raise ModelError("the windows that others are compared with are damaged")

    @classmethod
    def fit(cls, values: np.ndarray, windows: Windows, own: np.ndarray) -> PatchScore | None:
        """From a fit's encoded values `(total, c)`, and the nats `(n, t)` that steps of windows have by their own scores, NaN but
        for those they are asked for; None if there are too few windows to compare them with."""
        centre, deviation = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        scale = np.where(deviation > 0, deviation, 1.0)
        remembered = _evenly(values, windows)
        memory = _standardised(remembered.cut(values), centre, scale)[0].astype(np.float32)
        others = _compared(memory)

        def describe(some: Windows) -> np.ndarray:
            parts = []
            for rows in some.batches(_TOGETHER):
                starts, theirs = (part.places()[0][:, :1] for part in (some.select(rows), remembered))
                overlap = np.abs(starts - theirs.T) < some.steps
                parts.append(_statistics(some.cut(values, rows), (centre, scale), others, overlap))
            return np.concatenate(parts)

        normal = describe(remembered) if len(remembered) else np.empty((0, 1))
        normal = normal[np.isfinite(normal).all(axis=1)]
        if len(normal) < _FEWEST_NORMAL:
            return None
        knots = np.quantile(normal, (np.arange(_KNOTS) + 0.5) / _KNOTS, axis=0).T
        evidence = own + _mean_nats(describe(windows), knots)[:, None]
        evidence = np.quantile(evidence[np.isfinite(evidence)], (np.arange(_EVIDENCE) + 0.5) / _EVIDENCE)
        return cls(memory, centre, scale, knots, evidence)

    def against(self, values: np.ndarray, windows: Windows) -> np.ndarray:
        """Evidence against each window, `(n,)` nats, given encoded values `(total, c)`: the mean of the five statistics; 1, which
        is usual, where half a window is missing."""
        others, met, scaling = _compared(self.memory), self._distinct, (self.centre, self.scale)
        parts = (
            _statistics(windows.cut(values, rows), scaling, others, met=met) for rows in windows.batches(_TOGETHER)
        )
        return _mean_nats(np.concatenate(list(parts)), self.knots)

    @property
    def _distinct(self) -> bool:
        """Whether hardly any two windows of the fit are alike: one that is like another will then be that one."""
        return bool(self.knots[-2, round(_REPEATED * _KNOTS)] > np.log(_STEP + _SAME))

    def places(self, cut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Windows `(n, t, c)`, encoded, as places `(n, t c)` float32 among those of the memory, `(m, t c)`."""
        standard = _standardised(cut, self.centre, self.scale)[0].astype(np.float32)
        return standard.reshape(len(cut), -1), self.memory.reshape(len(self.memory), -1)


def _evenly(values: np.ndarray, windows: Windows) -> Windows:
    """Windows of the same series at any steps, as many as are remembered, without those of which half is missing."""
    every = Windows.of(windows.lengths, windows.steps, 1)
    most = min(max(_NUMBERS // (windows.steps * values.shape[1]), _FEWEST_WINDOWS), _MOST_WINDOWS)
    some = every.select(np.unique(np.linspace(0, len(every) - 1, most).astype(np.int64)))
    known = np.isfinite(some.cut(values)).mean(axis=(1, 2)) >= _FEWEST
    return some.select(np.flatnonzero(known))


def _standardised(cut: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows `(n, t, c)` in deviations, with their means where values are missing; and which are there."""
    known = np.isfinite(cut)
    standard = np.clip(np.where(known, (cut - centre) / scale, 0.0), -_FARTHEST, _FARTHEST)
    mean = standard.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.where(known, standard, mean), known


def _statistics(
    cut: np.ndarray,
    scaling: tuple[np.ndarray, np.ndarray],
    others: _Compared,
    overlap: np.ndarray | bool = False,
    met: bool = False,
) -> np.ndarray:
    """Of windows `(n, t, c)`: `(n, 3 c + 2)`, NaN where half of one is missing; distances but to windows of the memory that
    `overlap` `(n, m)`, and to like ones if windows may have been `met` in the fit."""
    standard, known = _standardised(cut, *scaling)
    changed = known[:, 1:] & known[:, :-1]
    moves = np.where(changed, np.abs(np.diff(standard, axis=1)), 0.0).sum(axis=1) / np.maximum(changed.sum(axis=1), 1)
    parts = [standard.mean(axis=1), np.log(standard.std(axis=1) + _LEVEL), np.log(moves + _STEP)]
    for own, theirs in zip((standard, _shape(standard)), others, strict=True):
        squares = _squared_distances(own, *theirs)
        if met or overlap is not False:
            squares[((squares < _SAME**2) & met) | overlap] = np.inf
        parts.append(np.log(np.sqrt(squares.min(axis=1, keepdims=True)) + _STEP))
    found = np.concatenate(parts, axis=1)
    seen = known.mean(axis=(1, 2)) >= _FEWEST
    return np.where(seen[:, None], found, np.nan)


def _shape(windows: np.ndarray) -> np.ndarray:
    """Windows `(n, t, c)` of one level and spread."""
    off = windows - windows.mean(axis=1, keepdims=True)
    shape: np.ndarray = off / (off.std(axis=1, keepdims=True) + _SHAPE)
    return shape


_Compared = list[tuple[np.ndarray, np.ndarray]]


def _compared(memory: np.ndarray) -> _Compared:
    """Windows `(m, t, c)` that others are compared with, as they are and their shapes: each `(m, t c)` float64, and its squared
    length `(m,)`."""
    parts = (part.reshape(len(part), -1).astype(np.float64) for part in (memory, _shape(memory)))
    return [(part, np.square(part).sum(axis=1)) for part in parts]


def _squared_distances(windows: np.ndarray, others: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Mean squared differences of windows `(n, t, c)` from others `(m, t c)`, whose squared lengths are `(m,)`: `(n, m)`."""
    own = windows.reshape(len(windows), -1).astype(np.float64)
    squares: np.ndarray = np.square(own).sum(axis=1)[:, None] + lengths
    squares -= 2 * own @ others.T
    squares /= own.shape[1]
    squares[squares < 0] = 0
    return squares


def _mean_nats(statistics: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Of statistics `(n, 3 c + 2)` how strange each is, the strangest channel's, and their mean: `(n,)`; 1 where they are NaN."""
    c = (len(knots) - 2) // 3
    high = np.stack([tail_nats(*pair) for pair in zip(statistics.T, knots, strict=True)])
    low = np.stack([tail_nats(*pair) for pair in zip(-statistics.T[: 3 * c], -knots[: 3 * c, ::-1], strict=True)])
    high[: 3 * c] = np.maximum(high[: 3 * c], low)
    parts = (*high[: 3 * c].reshape(3, c, -1).max(axis=1), *high[3 * c :])
    mean: np.ndarray = np.nan_to_num(np.mean(parts, axis=0), nan=1.0, posinf=_MOST_NATS)
    return mean
