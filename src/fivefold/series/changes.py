"""Where series leave what was fitted for good: another level, or another amplitude, from one step on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fivefold.series.schema import SPREADS, SeriesSchema

_SHARE, _OVER = 0.4, 0.2  # of known steps, flagged: from which on a change begins, and below which it is over
_FAR, _WIDER = 0.5, 1.5  # deviations between levels, and times an amplitude, that are another
_LOOKED = 8  # windows, at most, from which levels and amplitudes are
_FEWEST, _FEWEST_SHARE = 16, 0.5  # steps that two stretches are compared by, and how much of them must be there
_IQR = 1.349  # of the standard normal


@dataclass(frozen=True)
class Change:
    """A stretch of a series that is not as the fit's.

    Attributes
    ----------
    first, last : its steps, among those of all series, the last one not
    kind : `level`, `amplitude`, or `pattern` if it is neither
    shift, scale : `(c,)`, by which its values become like those before: `scale * value + shift`
    """

    first: int
    last: int
    kind: str
    shift: np.ndarray
    scale: np.ndarray

    def undone(self, values: np.ndarray) -> np.ndarray:
        """`values` `(total, c)` with the stretch like what was before."""
        found = values.copy()
        found[self.first : self.last] = self.scale * found[self.first : self.last] + self.shift
        return found


def find_changes(values: np.ndarray, lengths: np.ndarray, anomaly: np.ndarray, schema: SeriesSchema) -> list[Change]:
    """The first change of each series whose steps `(total, c)` are flagged for at least two windows: 40 % of the known ones."""
    ahead = 2 * schema.steps
    known, changes, ends = ~np.isnan(values).all(axis=1), [], np.cumsum(lengths)
    for first, last in zip(ends - lengths, ends, strict=True):
        if last - first < ahead:
            continue
        share = _ahead(anomaly[first:last], known[first:last], ahead)
        begins = np.flatnonzero(anomaly[first : first + len(share)] & (share >= _SHARE))
        if not len(begins):
            continue
        begin = int(first + begins[0])
        over = np.flatnonzero(share[begins[0] :] < _OVER)
        end = int(begin + over[0]) if len(over) else int(last)
        changes.append(_described(values, int(first), begin, end, schema))
    return changes


def _ahead(anomaly: np.ndarray, known: np.ndarray, steps: int) -> np.ndarray:
    """Of each step the share of flagged ones among the known ones of the `steps` that begin with it; 0 if half is missing."""
    flagged, seen = (np.concatenate(([0], np.cumsum(part))) for part in (anomaly & known, known))
    count = seen[steps:] - seen[:-steps]
    share: np.ndarray = (flagged[steps:] - flagged[:-steps]) / np.maximum(count, 1)
    return np.where(2 * count >= steps, share, 0.0)


def _described(values: np.ndarray, first: int, begin: int, end: int, schema: SeriesSchema) -> Change:
    """The change from `begin` to `end` of the series that begins with `first`."""
    looked, columns = _LOOKED * schema.steps, schema.channels.columns
    centre, width = _levels(values[begin : min(end, begin + looked)])
    usual = np.array([column.centre for column in columns]), np.array([column.spread / SPREADS for column in columns])
    before = values[max(first, begin - looked) : begin]
    own = _levels(before) if len(before) >= 2 * schema.steps else usual
    level, deviation = (np.where(np.isnan(part), other, part) for part, other in zip(own, usual, strict=True))
    deviation = np.maximum(deviation, 1e-9 * usual[1])
    centre, width = np.where(np.isnan(centre), level, centre), np.where(np.isnan(width), deviation, width)
    ratio = np.maximum(width, 1e-9 * usual[1]) / deviation
    wider = (ratio > _WIDER) | (ratio < 1 / _WIDER)
    scale = np.where(wider, 1 / ratio, 1.0)
    far = np.abs(centre - level) > _FAR * deviation * np.maximum(ratio, 1)
    kind = "level" if far.any() else "amplitude" if wider.any() else "pattern"
    if kind != "pattern":
        nearby = slice(max(first, begin - schema.steps // 2), min(end, begin + schema.steps))
        begin = nearby.start + _turn(values[nearby], (level, deviation), (centre, np.maximum(width, 1e-9 * usual[1])))
    shift = level - scale * centre
    if kind == "level" and not wider.any():
        shift = -_matched(values[max(first, begin - looked) : begin], values[begin : min(end, begin + looked)], -shift)
    return Change(begin, end, kind, shift, scale)


def _matched(before: np.ndarray, after: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """How far values `(m, c)` are above those `(n, c)` before, in the median, where the two run most alike: whole periods apart,
    so that a part of a period more on one side counts for nothing; if too little is there, what it is `otherwise`, `(c,)`.
    """
    length = min(len(before) // 2, len(after))
    if length < _FEWEST:
        return otherwise
    apart = after[:length].T - np.lib.stride_tricks.sliding_window_view(before, length, axis=0)  # (lags, c, length)
    complete = np.isfinite(apart).mean(axis=2).min(axis=1) > _FEWEST_SHARE
    if not complete.any():
        return otherwise
    medians = np.nanmedian(apart[complete], axis=2)
    unlike = np.nanmedian(np.abs(apart[complete] - medians[..., None]), axis=2)
    best: np.ndarray = medians[np.argmin((unlike / np.maximum(unlike.min(axis=0), 1e-300)).sum(axis=1))]
    return best


def _turn(values: np.ndarray, before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]) -> int:
    """Of which step on values `(n, c)` are rather as after a change than as before, given the levels and deviations of both."""
    costs = [np.log(deviation) + np.abs(values - level) / deviation for level, deviation in (before, after)]
    gained = np.nan_to_num(costs[0] - costs[1]).sum(axis=1)  # log likelihoods of Laplace distributions
    return int(np.argmin(np.concatenate(([0.0], np.cumsum(gained))))) if len(gained) else 0


def _levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians and robust deviations of the columns, NaN where a column is missing."""
    there = ~np.isnan(values).all(axis=0)
    found = np.full((3, values.shape[1]), np.nan)
    if there.any():
        found[:, there] = np.nanquantile(values[:, there], (0.25, 0.5, 0.75), axis=0)
    return found[1], (found[2] - found[0]) / _IQR
