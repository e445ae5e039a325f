"""Where series leave what was fitted for good: another level, or another amplitude, from one step on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from fivefold.series.autoregression import Autoregression
from fivefold.series.schema import SPREADS, SeriesSchema

_SHARE, _OVER = 0.4, 0.2  # of known steps, flagged: from which on a change begins, and below which it is over
_FAR, _WIDER = 0.5, 1.5  # deviations between levels, and times an amplitude, that are another
_LOOKED = 8  # windows, at most, from which levels and amplitudes are
_FEWEST, _FEWEST_SHARE = 16, 0.5  # steps that two stretches are compared by, and how much of them must be there
_AROUND = 2  # windows before where steps are flagged in which a change may begin; twice as many after that
_TRIED = 16  # windows, at most, in which it is tried whether a change explains what is strange
_LEFT, _SAME = 0.5, 0.05  # of what is strange: left at most by a change that explains it, and what does not count
_SIZES, _ROUNDS = (0.2, 0.1, 0.05), 2  # deviations by which a change is moved to be better, and how often
_FEW = 4  # channels that are moved one by one
_LEAST = 1e-9
_IQR = 1.349  # of the standard normal


@dataclass(frozen=True)
class Stretch:
    """Steps from `first` to `last`, the latter not, many of which are flagged; of a series from `start` to `stop`."""

    first: int
    last: int
    start: int
    stop: int


@dataclass(frozen=True)
class Change:
    """A stretch of a series that is not as the fit's.

    Attributes
    ----------
    first, last : its steps, among those of all series, the last one not
    kind : `level` or `amplitude`
    shift, scale : `(c,)`, by which its values become like those before: `scale * value + shift`
    """

    first: int
    last: int
    kind: str
    shift: np.ndarray
    scale: np.ndarray

    def undone(self, values: np.ndarray, first: int = 0) -> np.ndarray:
        """Values `(n, c)` of the steps from `first` on, with those of the stretch like what was before."""
        found = values.copy()
        inside = slice(max(self.first - first, 0), max(self.last - first, 0))
        found[inside] = self.scale * found[inside] + self.shift
        return found

    def nudged(self, level: np.ndarray, shift: np.ndarray, stretched: np.ndarray) -> Change:
        """The same with so much more `shift`, and an amplitude around `level` that is exp(`stretched`) as large, all `(c,)`."""
        factor = np.exp(stretched)
        moved = factor * self.shift + (1 - factor) * level + shift
        return replace(self, shift=moved, scale=factor * self.scale)


def longest(stretches: list[Stretch], most: int) -> list[list[Stretch]]:
    """At most so many stretches of each series, in order."""
    parts = [list(part) for _, part in groupby(stretches, key=lambda stretch: stretch.start)]
    kept = [sorted(part, key=lambda stretch: stretch.first - stretch.last)[:most] for part in parts]
    return [sorted(part, key=lambda stretch: stretch.first) for part in kept]


def find_stretches(values: np.ndarray, lengths: np.ndarray, anomaly: np.ndarray, window: int) -> list[Stretch]:
    """Stretches whose steps `(total, c)` are flagged for at least two windows: 40 % of the known ones; in order."""
    ahead, known, ends, found = 2 * window, ~np.isnan(values).all(axis=1), np.cumsum(lengths), []
    for start, stop in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
        if stop - start < ahead:
            continue
        share = _ahead(anomaly[start:stop], known[start:stop], ahead)
        begins = np.flatnonzero(anomaly[start : start + len(share)] & (share >= _SHARE))
        over = np.append(np.flatnonzero(share < _OVER), stop - start)
        end = 0
        for begin in begins.tolist():
            if begin >= end:
                end = int(over[np.searchsorted(over, begin)])
                found.append(Stretch(start + begin, start + end, start, stop))
    return found


def _ahead(anomaly: np.ndarray, known: np.ndarray, steps: int) -> np.ndarray:
    """Of each step the share of flagged ones among the known ones of the `steps` that begin with it; NaN if half is missing."""
    flagged, seen = (np.concatenate(([0], np.cumsum(part))) for part in (anomaly & known, known))
    count = seen[steps:] - seen[:-steps]
    share: np.ndarray = (flagged[steps:] - flagged[:-steps]) / np.maximum(count, 1)
    return np.where(2 * count >= steps, share, np.nan)


def explanation(
    values: np.ndarray, stretch: Stretch, schema: SeriesSchema, excess: Callable[[list[np.ndarray]], np.ndarray]
) -> Change | None:
    """The change after whose undoing a stretch is least strange; None if at least half of what is strange stays.

    `excess` says by how much each of some versions `(n, c)` of the steps in and around the stretch is stranger than normal ones.
    """
    possible = possible_changes(values, stretch, schema)
    if not possible:
        return None
    window, ends = schema.steps, stretch.last < stretch.stop
    first = max(stretch.start, stretch.first - _AROUND * window)
    last = min(stretch.stop, (stretch.last if ends else stretch.first) + _TRIED * window)

    def measure(changes: list[Change]) -> np.ndarray:
        return excess([change.undone(values[first:last], first) for change in changes])

    strange, costs = float(excess([values[first:last]])[0]), measure(possible)
    if costs.min() >= _LEFT * strange:
        return None
    simplest = int(np.argmax(costs <= costs.min() + _SAME * strange))
    cost, change = float(costs[simplest]), possible[simplest]
    before = values[max(stretch.start, change.first - _LOOKED * window) : change.first]
    return _refined(change, cost, _usual(before, schema), measure)


def _refined(
    change: Change,
    cost: float,
    usual: tuple[np.ndarray, np.ndarray],
    measure: Callable[[list[Change]], np.ndarray],
) -> Change:
    """The change nearby that leaves least that is strange: of all its channels together and, if they are few, of each."""
    level, deviation = usual
    groups = np.ones((1, len(level)))
    if 1 < len(level) <= _FEW:
        groups = np.concatenate((groups, np.eye(len(level))))
    wider = change.scale != 1
    moved = wider | (change.shift != 0)
    directions = [(deviation * group, 0 * group) for group in groups * moved if group.any()]
    directions += [(0 * group, group) for group in groups * wider if group.any()]
    for size in _SIZES:
        for _ in range(_ROUNDS):
            nearby = [
                change.nudged(level, sign * size * shift, sign * size * stretched)
                for shift, stretched in directions
                for sign in (1, -1)
            ]
            costs = measure(nearby)
            if costs.min() >= cost:
                break
            cost, change = float(costs.min()), nearby[int(np.argmin(costs))]
    return change


def kind_of(values: np.ndarray, stretch: Stretch, schema: SeriesSchema) -> str:
    """What is not as before in a stretch, as medians and quartiles say: `level`, `amplitude`, or `pattern` if it is neither."""
    before, after = _sides(values, stretch, schema)
    level, deviation = _usual(before, schema)
    centre, width = _known_levels(after, (level, deviation))
    if (np.abs(centre - level) > _FAR * np.maximum(deviation, width)).any():
        return "level"
    return "amplitude" if ((width > _WIDER * deviation) | (deviation > _WIDER * width)).any() else "pattern"


def possible_changes(values: np.ndarray, stretch: Stretch, schema: SeriesSchema) -> list[Change]:
    """What may have changed in a stretch, or from it on for good, the simplest first; none if level and amplitude did not."""
    found = _possible(values, stretch, schema)
    if stretch.last < stretch.stop:
        found += _possible(values, replace(stretch, last=stretch.stop), schema)
    return found


def _possible(values: np.ndarray, stretch: Stretch, schema: SeriesSchema) -> list[Change]:
    """How far amplitudes differ is told by the values themselves and by what autoregression does not foresee of them; how far
    levels do, by where the two sides run most alike and by the step that autoregression is least surprised by, or by medians.
    """
    looked = _LOOKED * schema.steps
    before, after = _sides(values, stretch, schema)
    enough, usual = len(before) >= 2 * schema.steps, _usual(before, schema)
    centre, width = _known_levels(after, usual)
    linear = Autoregression.fit(before if enough else after, usual[0] if enough else centre, 1e-9 * usual[1])
    found = list[Change]()
    for scale in _scales(linear, before, after, width / usual[1]):
        shift, first, last = usual[0] - scale * centre, stretch.first, stretch.last
        shifts = [shift]
        if enough:
            first, last = _ends(values, stretch, linear, (scale, shift), schema.steps)
            earlier = values[max(stretch.start, first - looked) : first]
            later = scale * values[first : min(last, first + looked)]
            shifts = [-_matched(earlier, later, -shift), linear.step(earlier, later)]
        wide = usual[0], np.maximum(usual[1], scale * width)
        found += [change for shift in shifts for change in _change(first, last, (scale, shift), wide)]
    return found


def _scales(linear: Autoregression, before: np.ndarray, after: np.ndarray, ratio: np.ndarray) -> list[np.ndarray]:
    """What may make values `after` as wide as those `before`, given the `ratio` `(c,)` of deviations: first of all 1."""
    unforeseen = np.nan_to_num(linear.spread_of(after) / linear.spread, nan=1.0)
    ratios = [np.ones_like(ratio), np.maximum(unforeseen, _LEAST), np.maximum(ratio, _LEAST)]
    ratios = [np.where((part > _WIDER) | (part < 1 / _WIDER), part, 1.0) for part in ratios]
    return [1 / part for part in {tuple(part.tolist()): part for part in ratios}.values()]


def _change(
    first: int, last: int, by: tuple[np.ndarray, np.ndarray], usual: tuple[np.ndarray, np.ndarray]
) -> list[Change]:
    """A change that leaves the levels of channels alone which moved less than half a deviation; none if that are all of them."""
    (scale, shift), (level, deviation) = by, usual
    still = level * (1 - scale)
    moved = np.abs(shift - still) > _FAR * deviation
    if not moved.any() and (scale == 1).all():
        return []
    return [Change(first, last, "level" if moved.any() else "amplitude", np.where(moved, shift, still), scale)]


def _ends(
    values: np.ndarray, stretch: Stretch, linear: Autoregression, by: tuple[np.ndarray, np.ndarray], window: int
) -> tuple[int, int]:
    """At which steps a stretch most likely begins and ends, given what values are in it."""
    scale, shift = by
    states = (values, np.ones_like(scale)), (scale * values + shift, scale)

    def turn(step: int, before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]) -> int:
        low = max(step - _AROUND * window - len(linear.weights), stretch.start)
        high = min(step + 2 * _AROUND * window + len(linear.weights), stretch.stop)
        return low + linear.turn(before[0][low:high], after[0][low:high], (before[1], after[1]))

    first = turn(stretch.first, *states)
    if stretch.last == stretch.stop:
        return first, stretch.stop
    return first, max(turn(stretch.last, *states[::-1]), first + 1)


def _sides(values: np.ndarray, stretch: Stretch, schema: SeriesSchema) -> tuple[np.ndarray, np.ndarray]:
    """Values before a stretch, and of it, of at most eight windows."""
    looked = _LOOKED * schema.steps
    before = values[max(stretch.start, stretch.first - looked) : stretch.first]
    return before, values[stretch.first : min(stretch.last, stretch.first + looked)]


def _known_levels(values: np.ndarray, usual: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Levels and deviations of the channels, the usual ones of those that are missing."""
    level, deviation = (
        np.where(np.isnan(part), other, part) for part, other in zip(_levels(values), usual, strict=True)
    )
    return level, deviation


def _usual(before: np.ndarray, schema: SeriesSchema) -> tuple[np.ndarray, np.ndarray]:
    """Levels and deviations of the channels before a change, or those of the fit if that is too short to say."""
    columns = schema.channels.columns
    usual = np.array([column.centre for column in columns]), np.array([column.spread / SPREADS for column in columns])
    level, deviation = _known_levels(before, usual) if len(before) >= 2 * schema.steps else usual
    return level, np.maximum(deviation, 1e-9 * usual[1])


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


def _levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians and robust deviations of the columns, NaN where a column is missing."""
    there = ~np.isnan(values).all(axis=0)
    found = np.full((3, values.shape[1]), np.nan)
    if there.any():
        found[:, there] = np.nanquantile(values[:, there], (0.25, 0.5, 0.75), axis=0)
    return found[1], (found[2] - found[0]) / _IQR
