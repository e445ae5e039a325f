"""A table's rows among the steps of its series: an even grid in time, with holes, and time stamps for those."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
from pyarrow import types as pt

from fivefold.errors import DataError
from fivefold.findings import Doubt
from fivefold.series.schema import Unit
from fivefold.series.stamps import DAY, Stamps, read_stamps, resolved
from fivefold.tables.table import Table

_EVEN = 0.1  # of a step that differences may be off, on which steps are counted from row to row
_MONTH = 27 * DAY  # that steps of months are apart at least
_LONGEST = 1 << 28  # steps of all series
_FINER = (*range(2, 13), 15, 20, 24, 30, 60)  # how many steps the usual difference may be
_SMOOTH = 25  # rows to either side that jitter is averaged over
_STEADY = 0.02  # of a step: jitter that is none
_RUN = 8  # differences that are a rate of their own


@dataclass(frozen=True)
class Asked:
    """How time stamps are to be read.

    Attributes
    ----------
    interval, unit : how far apart steps are, as fitted; 0 if that is to be found out
    tolerance : of a step, that a time stamp may be off the grid
    zone : of local times, or None
    """

    interval: float = 0.0
    unit: Unit = ""
    tolerance: float = 0.5
    zone: str | None = None


@dataclass(frozen=True)
class Grid:
    """Where a table's rows are among the steps of its series.

    Attributes
    ----------
    lengths : `(s,)` steps of each series
    places : `(rows,)` the step of each row, series after series
    names : `(s,)` what series are called; None if there is one without a name
    interval, unit : how far apart steps are
    stamps : of all steps, `(total,)`, as the column of the time has them; None without time stamps
    ticks : when all steps are, `(total,)`, as numbers; None without time stamps
    source : the column of the time, in order of series and steps; None without one
    doubts : what may be meant otherwise
    """

    lengths: np.ndarray
    places: np.ndarray
    names: pa.Array | None
    interval: float = 0.0
    unit: Unit = ""
    stamps: pa.Array | None = None
    ticks: np.ndarray | None = None
    source: Stamps | None = None
    doubts: list[Doubt] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Steps of all series."""
        return int(self.lengths.sum())

    @property
    def is_whole(self) -> bool:
        """Whether there is a row for each step."""
        return self.total == len(self.places)

    @cached_property
    def rows(self) -> pa.Array:
        """The row of each step, `(total,)`; null where there is none."""
        rows, lacking = np.zeros(self.total, np.int64), np.ones(self.total, bool)
        rows[self.places], lacking[self.places] = np.arange(len(self.places)), False
        return pa.array(rows, mask=lacking)

    def ahead(self, steps: int) -> pa.Array | None:
        """Time stamps of so many steps after the last of each series, `(s * steps,)`, as the column has them; None without."""
        stamps, ticks = self.source, self.ticks
        if stamps is None or ticks is None or not self.interval:
            return None
        ends, further = np.cumsum(self.lengths) - 1, np.arange(1, steps + 1) * self.interval
        near = _rows_before(np.sort(self.places), self.total)[ends]
        like, last = np.repeat(near, steps), ticks[ends, None]
        if self.unit == "month":
            months = stamps.local(ticks[ends], near).astype("M8[us]").astype("M8[M]").astype(np.int64)
            shown = _month_ticks((months[:, None] + further.astype(np.int64)).ravel(), stamps.local(stamps.ticks))
            return stamps.written(stamps.moments(shown, like), like)
        if not stamps.are_times:
            return stamps.written((last + further).ravel(), like)
        apart = np.rint(further * 1e6).astype(np.int64)
        if stamps.is_local and apart[0] % DAY == 0:
            shown = (stamps.local(ticks[ends], near)[:, None] + apart).ravel()
            return stamps.written(stamps.moments(shown, like), like)
        return stamps.written((last + apart).ravel(), like)

    def order(self, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where those steps without rows belong that are `new`, `(total,)` bool: their numbers `(m,)`, in order, and before which
        row each is; among the others by time, if these are, else beside their neighbours of the same series."""
        steps, moments = np.flatnonzero(new), np.zeros(self.total) if self.ticks is None else self.ticks
        shown, own = moments[self.places], moments[steps]
        if (np.diff(shown) >= 0).all():
            before, along = np.searchsorted(shown, own, side="right"), own
        elif (np.diff(shown) <= 0).all():
            before, along = len(shown) - np.searchsorted(shown[::-1], own, side="right"), -own
        else:
            rows = np.argsort(self.places, kind="stable")  # in order of their steps
            follows = np.searchsorted(self.places[rows], steps)
            last, following = rows[follows - 1], rows[follows]
            forward = following > last
            before, along = np.where(forward, last + 1, last), np.where(forward, steps, -steps)
        order = np.lexsort((steps, along, before))
        return steps[order], before[order]


def arrange(table: Table, time: str | None, ids: str | None, asked: Asked) -> Grid:
    """Where the rows of a table are: series by series, as `ids` has them, and by `time`.

    Without `time` rows are one step apart. With it, gaps are steps without rows.

    Raises `DataError`, which names the row, if there is no such column, time stamps are missing, or two are in one step.
    """
    for flag, name in (("time", time), ("ids", ids)):
        if name is not None and name not in table.names:
            raise DataError(f"{table.source}: must have a column {name!r} (`{flag}`), got {', '.join(table.names)}")
    series, names = _series(table, ids)
    order = np.argsort(series, kind="stable")
    doubts = []
    if ids is not None and (np.diff(series) < 0).any():
        doubts.append(Doubt(ids, "rows of several series alternate: taken series by series"))
    lengths = np.bincount(series)
    if time is None:
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        return Grid(lengths, places, names, doubts=doubts)
    stamps = read_stamps(table, time, asked.zone)
    begins = np.cumsum(lengths) - lengths
    where = f"{table.source}: column {time!r}"
    stamps = resolved(stamps.taken(order), begins, where)
    if (np.diff(stamps.ticks) < 0)[np.diff(series[order]) == 0].any():
        doubts.append(Doubt(time, "rows are not in order of time: sorted"))
        inner = np.lexsort((stamps.ticks, series[order]))
        order, stamps = order[inner], stamps.taken(inner)
    return _Rows(table, time, order, begins, lengths, names, stamps, asked, doubts).grid()


def _series(table: Table, ids: str | None) -> tuple[np.ndarray, pa.Array | None]:
    """The number of each row's series, in the order in which they come up, and the series' names."""
    if ids is None:
        return np.zeros(len(table), np.int64), None
    column = table.arrow.column(ids).combine_chunks()
    column = column.dictionary_decode() if pt.is_dictionary(column.type) else column
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"{table.source}: column {ids!r}, {table.row_name(row)}: must say which series, got nothing")
    codes = column.dictionary_encode()
    return codes.indices.to_numpy().astype(np.int64), codes.dictionary


@dataclass
class _Rows:
    """Rows in order of series and time, on their way to a grid.

    Attributes
    ----------
    order : `(n,)` the rows' numbers in the table
    begins, lengths : `(s,)` where series begin, and how many rows they have
    """

    table: Table
    time: str
    order: np.ndarray
    begins: np.ndarray
    lengths: np.ndarray
    names: pa.Array | None
    stamps: Stamps
    asked: Asked
    doubts: list[Doubt]

    def grid(self) -> Grid:
        """Steps counted from row to row where that is sure, else from where an even grid fits best."""
        stamps, asked = self.stamps, self.asked
        inner = np.ones(len(self.order), bool)
        inner[self.begins] = False
        self.inner = np.flatnonzero(inner)
        unit: Unit = "second" if stamps.are_times else "number"
        scale = 1e-6 if stamps.are_times else 1.0
        apart = np.diff(stamps.ticks, prepend=stamps.ticks[:1])[self.inner]
        self._refuse_twice(self.inner[apart == 0], "comes twice")
        fitted = asked.interval / scale if asked.unit == unit else 0.0
        if asked.interval and asked.unit not in (unit, "month" if stamps.are_times else ""):
            raise DataError(f"{self._where()}: must be in {asked.unit}s as the model was fitted, got {unit}s")
        interval = fitted or (_usual(apart) if len(apart) else 0.0)
        calendar = stamps.are_times and (asked.unit == "month" or (not fitted and interval >= _MONTH))
        if calendar and (months := _months(stamps.local(stamps.ticks))) is not None:
            return self._of_months(months)
        if asked.unit == "month":
            raise DataError(f"{self._where()}: must be at the same place of each month, as the model was fitted")
        local = stamps.is_local and interval and interval % DAY == 0
        ticks = stamps.local(stamps.ticks) if local else stamps.ticks
        if not interval:
            return self._found(np.arange(len(ticks)), self.lengths, 0.0, unit, ticks)
        steps, interval = self._steps(ticks, interval, bool(fitted))
        places, ends = self._spread(steps)
        filled = _between(ticks, places, ends, interval, stamps.grain)
        if local:
            filled = stamps.moments(filled, _rows_before(places, len(filled))).copy()
            filled[places] = stamps.ticks
        self._doubt(steps, ticks, interval)
        return self._found(places, ends, asked.interval if fitted else interval * scale, unit, filled)

    def _found(self, places: np.ndarray, lengths: np.ndarray, interval: float, unit: Unit, ticks: np.ndarray) -> Grid:
        """The grid, of rows at `places` among steps at `ticks`."""
        stamps = self.stamps.written(ticks, _rows_before(places, len(ticks)))
        return Grid(lengths, self._placed(places), self.names, interval, unit, stamps, ticks, self.stamps, self.doubts)

    def _where(self, row: int | None = None) -> str:
        place = "" if row is None else f", {self.table.row_name(int(self.order[row]))}"
        return f"{self.table.source}: column {self.time!r}{place}"

    def _placed(self, places: np.ndarray) -> np.ndarray:
        """Of rows in the table's order."""
        found = np.empty(len(places), np.int64)
        found[self.order] = places
        return found

    def _stamp_text(self, row: int) -> str:
        return str(self.table.arrow.column(self.time)[int(self.order[row])])

    def _refuse_twice(self, rows: np.ndarray, what: str) -> None:
        if len(rows):
            local = self.stamps.are_times and self.stamps.zone is None
            hint = "; if they are local times around a change of clocks, give `time_zone`" if local else ""
            raise DataError(f"{self._where(rows[0])}: {self._stamp_text(rows[0])} {what}{hint}")

    def _spread(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From the steps of rows in their series, those among all steps, and how many steps series have."""
        ends = steps[np.append(self.begins[1:], len(steps)) - 1] + 1
        if (total := int(ends.sum())) > min(_LONGEST, 1000 * len(steps) + 1000):
            raise DataError(f"{self._where()}: {total:,} steps for {len(steps):,} rows are too many to fill in")
        return np.repeat(np.cumsum(ends) - ends, self.lengths) + steps, ends

    def _steps(self, ticks: np.ndarray, interval: float, fitted: bool) -> tuple[np.ndarray, float]:
        """The step of each row in its series, and the interval, more exactly."""
        starts = np.repeat(self.begins, self.lengths)
        apart = np.diff(ticks, prepend=ticks[:1])
        counts = apart[self.inner] / interval
        if fitted and len(counts):
            self._refuse_rate(apart[self.inner], interval)
        even = (np.rint(counts) >= 1) & (np.abs(counts - np.rint(counts)) <= min(_EVEN, self.asked.tolerance))
        if even.all():
            steps = np.zeros(len(ticks), np.int64)
            steps[self.inner] = np.rint(counts).astype(np.int64)
            steps = np.cumsum(steps)
            return steps - steps[starts], interval
        longest = int(np.argmax(self.lengths))
        first = self.begins[longest]
        interval = _refined(ticks[first : first + self.lengths[longest]] - ticks[first], interval)
        along = (ticks - ticks[starts]) / interval
        phase = np.add.reduceat(np.exp(2j * np.pi * along), self.begins)
        along -= np.repeat(np.angle(phase) / (2 * np.pi), self.lengths)
        steps = np.rint(along).astype(np.int64)
        steps -= np.repeat(steps[self.begins], self.lengths)
        off = np.abs(along - np.rint(along))
        if (far := off > self.asked.tolerance).any():
            row = int(np.argmax(far))
            raise DataError(
                f"{self._where(row)}: time stamps must be a whole number of steps of {_duration(interval, self.stamps)} apart, "
                f"give or take {self.asked.tolerance:g} of one (`tolerance`); {self._stamp_text(row)} is {off[row]:.2g} off"
            )
        near = self.inner[np.diff(steps)[self.inner - 1] < 1]
        self._refuse_twice(near, f"is in one step of {_duration(interval, self.stamps)} with the one before it")
        self.doubts.append(
            Doubt(
                self.time,
                f"time stamps are up to {off.max():.2g} of a step off an even grid: snapped",
                "`tolerance` 0.1",
            )
        )
        return steps, interval

    def _refuse_rate(self, apart: np.ndarray, interval: float) -> None:
        """Raise `DataError` if rows are even, but not a whole number of fitted steps apart."""
        usual = float(np.quantile(apart, 0.5, method="lower"))
        ratio, steady = usual / interval, np.abs(apart - usual).mean() < 0.02 * usual
        if ratio < 0.5 or (steady and abs(ratio - np.rint(ratio)) > _EVEN):
            raise DataError(
                f"{self.table.source}: steps must be {_duration(interval, self.stamps)} apart as the model was fitted, got "
                f"{_duration(usual, self.stamps)}: resample the rows to that, or fit a model to them"
            )

    def _of_months(self, months: np.ndarray) -> Grid:
        apart = np.diff(months, prepend=months[:1])[self.inner]
        interval = int(self.asked.interval) if self.asked.unit == "month" else max(int(apart.min(initial=1 << 20)), 1)
        starts = np.repeat(self.begins, self.lengths)
        along, rest = np.divmod(months - months[starts], interval)
        if rest.any() or (np.diff(along)[self.inner - 1] < 1).any():
            row = int(np.argmax(rest)) if rest.any() else int(self.inner[np.argmin(np.diff(along)[self.inner - 1])])
            raise DataError(
                f"{self._where(row)}: must be {interval} month(s) or a multiple after those before, got {self._stamp_text(row)}"
            )
        places, ends = self._spread(along)
        within = np.arange(ends.sum()) - np.repeat(np.cumsum(ends) - ends, ends)
        local = self.stamps.local(self.stamps.ticks)
        filled = _month_ticks(np.repeat(months[self.begins], ends) + within * interval, local)
        filled = self.stamps.moments(filled, _rows_before(places, len(filled))).copy()
        filled[places] = self.stamps.ticks
        return self._found(places, ends, float(interval), "month", filled)

    def _doubt(self, steps: np.ndarray, ticks: np.ndarray, interval: float) -> None:
        """What of the rows' rhythm may be meant otherwise."""
        counts = np.diff(steps)[self.inner - 1]
        if self.stamps.ambiguous:
            self.doubts.append(
                Doubt(self.time, "days and months could be the other way round", "write dates as 2026-01-31")
            )
        if self.stamps.are_times and interval == DAY and len(ticks) >= 10:
            weekday = (ticks // DAY + 3) % 7
            if (weekday < 5).all() and (counts == 3).sum() * 5 >= 0.5 * len(counts):
                text = "there are no rows at weekends: these are steps to be filled in"
                self.doubts.append(Doubt(self.time, text, "without `time` rows are steps"))
                return
        turns = np.flatnonzero(np.diff(counts, prepend=-1, append=-1) != 0)
        rates = sorted({int(counts[start]) for start, end in pairwise(turns) if end - start >= _RUN})
        if len(rates) > 1:
            spacings = " and ".join(_duration(count * interval, self.stamps) for count in rates[:3])
            text = f"rows come at several rates, {spacings} apart: what lies between is missing"
            self.doubts.append(Doubt(self.time, text, "resample to one rate, or fit to each part"))


def _rows_before(places: np.ndarray, total: int) -> np.ndarray:
    """Of each step the last row, of those at `places`, that is not after it."""
    return np.searchsorted(places, np.arange(total), side="right") - 1


def _usual(apart: np.ndarray) -> float:
    """The difference of which most are multiples, the usual one or a part of it."""
    usual = float(np.quantile(apart, 0.5, method="lower"))

    def off(interval: float) -> float:
        counts = apart / interval
        return float(np.abs(counts - np.maximum(np.rint(counts), 1)).mean())

    if (coarse := off(usual)) <= 0.02:
        return usual
    finer = {usual / part: off(usual / part) for part in _FINER}
    exact = (interval for interval, left in finer.items() if left <= 0.02)
    near = (interval for interval, left in finer.items() if left <= min(0.3 * coarse, 0.1))
    return next(exact, next(near, usual))


def _refined(ticks: np.ndarray, interval: float) -> float:
    """The interval of jittered ticks: the one near `interval` at which they cohere most, then regressed on steps of ever more."""
    count = 256
    near = interval * np.arange(0.65, 1.35, 0.25 / count)
    interval = float(near[np.argmax(np.abs(np.exp(2j * np.pi * ticks[:count] / near[:, None]).mean(axis=1)))])
    while True:
        part = ticks[:count].astype(np.float64)
        along = part / interval
        steps = np.rint(along - np.angle(np.exp(2j * np.pi * along).mean()) / (2 * np.pi))
        centred = steps - steps.mean()
        if (square := (centred**2).sum()) > 0:
            interval = float((centred * part).sum() / square) or interval
        if count >= len(ticks):
            return interval
        count *= 2


def _between(ticks: np.ndarray, places: np.ndarray, ends: np.ndarray, interval: float, grain: float) -> np.ndarray:
    """Ticks of all steps: those of rows, and in between along lines; where they jitter, by what they are off in the mean."""
    if len(places) == ends.sum():
        return ticks
    at, base = np.arange(ends.sum()), float(ticks[0])
    shown = (ticks - base).astype(np.float64)
    series = np.repeat(np.arange(len(ends)), ends)
    off = shown - places * interval
    own = np.bincount(series[places], off) / np.bincount(series[places])  # of each series
    off, rough = off - own[series[places]], np.diff(off)
    jitter = float(np.median(np.abs(rough - np.median(rough)))) if len(rough) else 0.0
    filled = np.interp(at, places, shown)
    if jitter > _STEADY * interval:
        row = np.searchsorted(places, at)
        low, high = np.maximum(row - _SMOOTH, 0), np.minimum(row + _SMOOTH, len(off))
        sums = np.concatenate(([0.0], np.cumsum(off)))
        smooth = at * interval + own[series] + (sums[high] - sums[low]) / (high - low)
        before, after = shown[np.maximum(row - 1, 0)], shown[np.minimum(row, len(shown) - 1)]
        edge = 0.01 * interval
        filled = np.where(after - before > 2 * edge, np.clip(smooth, before + edge, after - edge), filled)
    return _as_rounded(ticks, base + filled, grain, places, series)


def _as_rounded(
    ticks: np.ndarray, filled: np.ndarray, grain: float, places: np.ndarray, series: np.ndarray
) -> np.ndarray:
    """Filled ticks as coarse as those of rows, unless some would then be at one time."""
    finest = 1.0 if ticks.dtype.kind == "i" else 0.0
    for unit in (grain, finest):
        rounded = ticks[0] + np.rint((filled - ticks[0]) / unit) * unit if unit else filled.copy()
        rounded = rounded.astype(ticks.dtype)
        rounded[places] = ticks
        if (np.diff(rounded) > 0)[np.diff(series) == 0].all():
            break
    return rounded


def _months(ticks: np.ndarray) -> np.ndarray | None:
    """Months since 1970, if all time stamps are at the same place of one, or at its end."""
    moments = ticks.astype("M8[us]")
    months = moments.astype("M8[M]")
    since, left = (moments - months).astype(np.int64), ((months + 1) - moments).astype(np.int64)
    return months.astype(np.int64) if (since == since[0]).all() or (left == left[0]).all() else None


def _month_ticks(months: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Ticks of months since 1970, at the place where those of `like` are."""
    moments = like.astype("M8[us]")
    begins, ends = moments.astype("M8[M]"), moments.astype("M8[M]") + 1
    steady = ((moments - begins) == (moments - begins)[0]).all()
    shown = months.astype("M8[M]") + (0 if steady else 1)
    ticks: np.ndarray = shown.astype("M8[us]") + (moments[0] - (begins if steady else ends)[0])
    return ticks.astype(np.int64)


def _duration(interval: float, stamps: Stamps) -> str:
    return (
        str(np.timedelta64(round(min(interval, 2.0**62)), "us").astype(object)) if stamps.are_times else f"{interval:g}"
    )
