"""When the steps of series are: from a table's rows to a grid of equal steps, and time stamps for those that lack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from fivefold.errors import DataError
from fivefold.series.schema import Unit
from fivefold.tables.cells import is_number, is_text
from fivefold.tables.table import Table

_UNEVEN = 0.1  # of a step, that time stamps may be off
_MONTH = 27 * 86400e6  # microseconds, that steps of months are apart at least
_LONGEST = 1 << 28  # steps of all series


@dataclass(frozen=True)
class Grid:
    """Where a table's rows are among the steps of its series.

    Attributes
    ----------
    lengths : `(s,)` steps of each series
    places : `(rows,)` the step of each row, series after series; without gaps `0, 1, 2, …`
    names : `(s,)` what series are called; None if there is one without a name
    interval, unit : how far apart steps are
    stamps : `(total,)` time of each step, as `ticks` of `time`; None without time stamps
    time : Arrow's type of those
    """

    lengths: np.ndarray
    places: np.ndarray
    names: pa.Array | None
    interval: float
    unit: Unit
    stamps: np.ndarray | None
    time: pa.DataType | None

    @property
    def total(self) -> int:
        """Steps of all series."""
        return int(self.lengths.sum())

    @property
    def is_whole(self) -> bool:
        """Whether there is a row for each step."""
        return self.total == len(self.places)

    def rows(self) -> pa.Array:
        """The row of each step, `(total,)`; null where there is none."""
        rows, lacking = np.zeros(self.total, np.int64), np.ones(self.total, bool)
        rows[self.places], lacking[self.places] = np.arange(len(self.places)), False
        return pa.array(rows, mask=lacking)

    def written(self) -> pa.Array | None:
        """The time stamps of all steps, as a column of the type that was read."""
        if self.stamps is None or self.time is None:
            return None
        if pt.is_temporal(self.time):
            return pa.array(self.stamps, pa.int64()).cast(_counted(self.time)).cast(self.time)
        if pt.is_integer(self.time) or pt.is_floating(self.time):
            whole = pt.is_integer(self.time)
            return pa.array(np.rint(self.stamps).astype(np.int64) if whole else self.stamps).cast(self.time)
        texts = pa.array(self.stamps, pa.int64()).cast(pa.timestamp("us"))
        dates = (self.stamps % (86400 * 10**6) == 0).all()
        return pc.strftime(texts, format="%Y-%m-%d" if dates else "%Y-%m-%d %H:%M:%S").cast(self.time)


def arrange(table: Table, time: str | None, ids: str | None) -> Grid:
    """Where the rows of a table are: series by series, as `ids` has them, and by `time`.

    Without `time` rows are one step apart. With it, gaps are steps without rows: time stamps must be a whole number of
    steps apart, or of months.

    Raises `DataError`, which names the row, if there is no such column, series are not in one piece, or time stamps are
    missing, out of order, twice, or not of one step.
    """
    for flag, name in (("time", time), ("ids", ids)):
        if name is not None and name not in table.names:
            raise DataError(f"{table.source}: must have a column {name!r} (`{flag}`), got {', '.join(table.names)}")
    begins, names = _begins(table, ids)
    lengths = np.diff(np.append(begins, len(table)))
    if time is None:
        return Grid(lengths, np.arange(len(table)), names, 0.0, "", None, None)
    column = table.arrow.column(time)
    ticks, unit = _ticks(column, table, time)
    new = np.zeros(len(ticks), bool)
    new[begins] = True
    apart = np.diff(ticks, prepend=ticks[:1])
    inner = np.flatnonzero(~new)
    for wrong, what in (
        (apart[inner] < 0, "is before the one above it: sort the rows"),
        (apart[inner] == 0, "comes twice"),
    ):
        if wrong.any():
            row = int(inner[np.flatnonzero(wrong)[0]])
            raise DataError(f"{table.source}: column {time!r}, row {table.first + row}: {column[row]} {what}")
    if len(inner) == 0:
        return Grid(lengths, np.arange(len(table)), names, 0.0, unit, ticks, column.type)
    interval, counts = float(np.median(apart[inner])), np.zeros(len(ticks))
    counts[inner] = apart[inner] / interval
    months = None
    if unit == "second" and interval >= _MONTH:
        months = _months(ticks)
        if months is not None:
            unit, apart = "month", np.diff(months, prepend=months[:1])
            interval = float(apart[inner].min())
            counts[inner] = apart[inner] / interval
    if not _even(counts[inner]):
        row = int(inner[np.flatnonzero(~_near(counts[inner]))[0]])
        raise DataError(
            f"{table.source}: column {time!r}, row {table.first + row}: time stamps must be a whole number of steps "
            f"apart, most are {_told(interval, unit)}, got {counts[row]:.3g} of those before {column[row]}"
        )
    steps = np.rint(counts).astype(np.int64)
    steps[begins] = 0
    within = np.cumsum(steps) - np.repeat(np.cumsum(steps)[begins], lengths)
    ends = within[np.append(begins[1:], len(ticks)) - 1] + 1
    if (total := int(ends.sum())) > min(_LONGEST, 1000 * len(ticks) + 1000):
        raise DataError(
            f"{table.source}: column {time!r}: {total:,} steps for {len(ticks):,} rows are too many to fill in"
        )
    first = np.concatenate(([0], np.cumsum(ends)[:-1]))
    places = np.repeat(first, lengths) + within
    stamps = _filled(ticks, months, places, ends, first, begins, interval)
    scale = 1e-6 if unit == "second" else 1.0
    return Grid(ends, places, names, interval * scale, unit, stamps, column.type)


def _begins(table: Table, ids: str | None) -> tuple[np.ndarray, pa.Array | None]:
    """The first row of each series, and the series' names."""
    if ids is None:
        return np.zeros(1, np.int64), None
    column = table.arrow.column(ids).combine_chunks()
    if pt.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"{table.source}: column {ids!r}, row {table.first + row}: must say which series, got nothing")
    codes = column.dictionary_encode()
    numbers = codes.indices.to_numpy()
    begins = np.flatnonzero(np.diff(numbers, prepend=-1))
    if len(begins) > len(codes.dictionary):
        again = begins[~np.isin(np.arange(len(begins)), np.unique(numbers[begins], return_index=True)[1])][0]
        raise DataError(
            f"{table.source}: column {ids!r}, row {table.first + again}: rows of one series must follow each other, "
            f"{column[int(again)]} has rows further up: sort the rows"
        )
    return begins, column.take(pa.array(begins))


def _ticks(column: pa.ChunkedArray, table: Table, name: str) -> tuple[np.ndarray, Unit]:
    """Time stamps as microseconds since 1970, int64; numbers as float64."""
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise DataError(f"{table.source}: column {name!r}, row {table.first + row}: must be a time stamp, got nothing")
    try:
        if is_text(column.type):
            return _of_texts(column), "second"
        if pt.is_temporal(column.type):
            kind = pa.timestamp("us") if not pt.is_time(column.type) else pa.time64("us")
            plain = (
                column.cast(pa.timestamp("us", column.type.tz)) if pt.is_timestamp(column.type) else column.cast(kind)
            )
            return plain.cast(pa.int64()).to_numpy(), "second"
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{table.source}: column {name!r} must hold time stamps: {str(error).splitlines()[0]}"
        ) from None
    if not is_number(column.type):
        raise DataError(f"{table.source}: column {name!r} must hold time stamps, got {column.type}")
    ticks = column.cast(pa.float64()).to_numpy()
    if not np.isfinite(ticks).all():
        row = int(np.flatnonzero(~np.isfinite(ticks))[0])
        raise DataError(f"{table.source}: column {name!r}, row {table.first + row}: must be finite, got {ticks[row]}")
    return ticks, "number"


def _of_texts(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()


def _counted(kind: pa.DataType) -> pa.DataType:
    """What a count of microseconds is cast to first, on the way to a kind of time."""
    if pt.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return pa.time64("us") if pt.is_time(kind) else pa.timestamp("us")


def _near(counts: np.ndarray) -> np.ndarray:
    return (np.rint(counts) >= 1) & (np.abs(counts - np.rint(counts)) <= _UNEVEN)


def _even(counts: np.ndarray) -> bool:
    return bool(_near(counts).all())


def _months(ticks: np.ndarray) -> np.ndarray | None:
    """Months since 1970, if all time stamps are at the same place of one, or at its end."""
    moments = ticks.astype("M8[us]")
    months = moments.astype("M8[M]")
    since, left = (moments - months).astype(np.int64), ((months + 1) - moments).astype(np.int64)
    return months.astype(np.int64) if (since == since[0]).all() or (left == left[0]).all() else None


def _filled(
    ticks: np.ndarray,
    months: np.ndarray | None,
    places: np.ndarray,
    ends: np.ndarray,
    first: np.ndarray,
    begins: np.ndarray,
    interval: float,
) -> np.ndarray:
    """The time stamps of all steps."""
    if len(places) == ends.sum():
        return ticks
    within = np.arange(ends.sum()) - np.repeat(first, ends)
    if months is None:
        regular = np.repeat(ticks[begins], ends) + (within * interval).astype(ticks.dtype)
    else:
        shown = (np.repeat(months[begins], ends) + within * round(interval)).astype("M8[M]")
        moments = ticks.astype("M8[us]")
        since = (moments - moments.astype("M8[M]")).astype(np.int64)
        if (since == since[0]).all():
            regular = shown.astype("M8[us]").astype(np.int64) + since[0]
        else:
            left = ((moments.astype("M8[M]") + 1) - moments).astype(np.int64)[0]
            regular = (shown + 1).astype("M8[us]").astype(np.int64) - left
    regular[places] = ticks
    return regular


def _told(interval: float, unit: Unit) -> str:
    if unit == "month":
        return f"{interval:g} month{'s' * (interval != 1)}"
    return str(np.timedelta64(round(interval), "us").astype(object)) if unit == "second" else f"{interval:g}"
