"""Time stamps: Arrow's times, numbers, and texts of many layouts, to numbers in which steps are even, and back."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from fivefold.errors import DataError, UsageError
from fivefold.tables.cells import is_number, is_text

DAY = 86400 * 10**6
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d")
_MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%m.%Y", "%G-W%V", "%GW%V")
_TIMES = ("", " %H:%M", "T%H:%M", " %H:%M:%S", "T%H:%M:%S", "T%H%M", "T%H%M%S", " %H%M")
_PARTS = {"%Y": r"\d{4}", "%G": r"\d{4}", "%V": r"\d\d", "%S": r"\d\d(?:[.,]\d{1,9})?", "%m": r"\d\d?", "%d": r"\d\d?"}
_OFFSET = r"(?P<z>Z|[+-]\d\d:?\d\d)?"
_GRAINS = (DAY, 3600 * 10**6, 60 * 10**6, 10**6, 10**3, 1)


@dataclass(frozen=True)
class Stamps:
    """Time stamps of one column.

    Attributes
    ----------
    ticks : `(n,)` microseconds since 1970, int64, in UTC if the zone is known; or numbers, float64
    type : Arrow's, of the column
    layout : of texts, and of integers that are dates, for `strftime`; else None
    zone : in which they are given, or None
    offset : of texts with an offset from UTC, that of the first, and how it is written
    ambiguous : whether days and months could be the other way round
    """

    ticks: np.ndarray
    type: pa.DataType
    layout: str | None = None
    zone: str | None = None
    offset: tuple[int, str] = (0, "")
    ambiguous: bool = False

    @property
    def are_times(self) -> bool:
        """Whether they are moments, not numbers."""
        return self.ticks.dtype.kind == "i"

    @property
    def grain(self) -> int:
        """The largest of a day, an hour, … of which all are multiples, microseconds; 0 for numbers."""
        return next(grain for grain in _GRAINS if not (self.ticks % grain).any()) if self.are_times else 0

    def local(self, ticks: np.ndarray) -> np.ndarray:
        """Ticks as clocks in the zone show them."""
        if not self.zone:
            return ticks
        moments = pa.array(ticks, pa.timestamp("us", "UTC")).cast(pa.timestamp("us", self.zone))
        return _integers(pc.local_timestamp(moments))

    def moments(self, local: np.ndarray) -> np.ndarray:
        """The inverse; of what clocks show twice the first, of what they never show the next."""
        if not self.zone:
            return local
        wall_clock = pa.array(local, pa.timestamp("us"))
        return _integers(pc.assume_timezone(wall_clock, self.zone, ambiguous="earliest", nonexistent="latest"))

    def written(self, ticks: np.ndarray) -> pa.Array:
        """Ticks in the type and the layout of the column."""
        if not self.are_times:
            whole = pt.is_integer(self.type)
            return pa.array(np.rint(ticks).astype(np.int64) if whole else ticks).cast(self.type)
        if pt.is_time(self.type):
            return pa.array(ticks, pa.int64()).cast(pa.time64("us")).cast(self.type)
        if pt.is_timestamp(self.type) and self.type.tz is not None:
            return pa.array(ticks, pa.timestamp("us", self.type.tz)).cast(self.type)
        local = ticks + self.offset[0] if self.offset[1] else self.local(ticks)
        if self.layout is None:
            return pa.array(local, pa.timestamp("us")).cast(self.type)
        unit = next(unit for unit, grain in (("s", 10**6), ("ms", 10**3), ("us", 1)) if not (local % grain).any())
        texts = pc.strftime(pa.array(local, pa.timestamp("us")).cast(pa.timestamp(unit)), format=self.layout)
        texts = pc.binary_join_element_wise(texts, self.offset[1], "")
        return texts.cast(self.type)


def read_stamps(column: pa.ChunkedArray, name: str, source: str, first: int, zone: str | None) -> Stamps:
    """Time stamps of the column called `name`, whose rows are numbered from `first`; local ones are of `zone`.

    Raises `DataError`, which names the row, for what is no time stamp, `UsageError` for a zone that there is not.
    """
    where = f"{source}: column {name!r}"
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise DataError(f"{where}, row {first + row}: must be a time stamp, got nothing")
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_text(column.type) or (pt.is_integer(column.type) and _are_compact(column)):
        stamps = _of_texts(column, where, first)
    elif pt.is_timestamp(column.type):
        stamps = Stamps(
            _integers(column.cast(pa.timestamp("us", column.type.tz), safe=False)), column.type, zone=column.type.tz
        )
    elif pt.is_temporal(column.type):
        kind = pa.time64("us") if pt.is_time(column.type) else pa.timestamp("us")
        stamps = Stamps(_integers(column.cast(kind, safe=False)), column.type)
    elif is_number(column.type):
        ticks = column.cast(pa.float64()).to_numpy()
        if len(bad := np.flatnonzero(~np.isfinite(ticks))):
            raise DataError(f"{where}, row {first + bad[0]}: must be finite, got {ticks[bad[0]]}")
        return Stamps(ticks, column.type)
    else:
        raise DataError(f"{where} must hold time stamps, got {column.type}")
    return stamps if zone is None else replace(stamps, zone=zone)


def resolved(stamps: Stamps, begins: np.ndarray, where: str) -> Stamps:
    """Stamps whose ticks are local times of a zone as UTC; what clocks show twice is the second once time went back.

    `begins` are the rows at which series begin. Raises `DataError` for times that the zone skips.
    """
    aware = (pt.is_timestamp(stamps.type) and stamps.type.tz is not None) or stamps.offset[1]
    if stamps.zone is None or aware or not stamps.are_times:
        return stamps
    wall_clock = pa.array(stamps.ticks, pa.timestamp("us"))
    try:
        early, late = (
            _integers(pc.assume_timezone(wall_clock, stamps.zone, ambiguous=side)) for side in ("earliest", "latest")
        )
    except (pa.ArrowInvalid, KeyError) as error:
        if "timezone" in str(error) and "locate" in str(error):
            raise UsageError(f"`time_zone` must be a name such as Europe/Berlin, got {stamps.zone!r}") from None
        raise DataError(f"{where}: {str(error).splitlines()[0]}") from None
    twice = early != late
    back = np.diff(early, prepend=early[:1]) <= 0
    back[begins] = False
    turns = np.cumsum(back & twice)
    before = np.maximum.accumulate(np.where(twice, 0, turns))  # those up to the last time that is shown once
    return replace(stamps, ticks=np.where(twice & (turns > before), late, early))


def _integers(times: pa.Array | pa.ChunkedArray) -> np.ndarray:
    numbers: np.ndarray = times.cast(pa.int64()).to_numpy()
    return numbers


def _are_compact(column: pa.ChunkedArray) -> bool:
    """Whether integers are dates such as 20240131."""
    numbers = column.cast(pa.int64()).to_numpy()
    return bool(((numbers >= 19000101) & (numbers <= 21001231)).all()) and _parsed(column, "%Y%m%d") is not None


def _of_texts(column: pa.ChunkedArray, where: str, first: int) -> Stamps:
    """Of the layouts that all texts have, that under which steps are the most even."""
    texts = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    found = []
    for date, time in (*product(_DATES, _TIMES), *((month, "") for month in _MONTHS)):
        if re.fullmatch(_pattern(date + time), texts[0].as_py()) and (parsed := _parsed(texts, date + time)):
            found.append((len(np.unique(np.diff(parsed[0]))), date + time, *parsed))
    if not found:
        wrong = next((row for row in range(min(len(texts), 1000)) if not _known(texts[row].as_py())), 0)
        raise DataError(
            f"{where}, row {first + wrong}: must hold time stamps of one layout, such as 2026-01-31 12:00, got "
            f"{column[wrong].as_py()!r}"
        )
    evenness, layout, ticks, offset = min(found, key=lambda layout: layout[0])
    tied = sum(other[0] == evenness for other in found) > 1
    return Stamps(ticks, column.type, layout, offset=offset, ambiguous=tied)


def _known(text: str) -> bool:
    layouts = (*(date + time for date, time in product(_DATES, _TIMES)), *_MONTHS)
    return any(re.fullmatch(_pattern(layout), text) for layout in layouts)


def _pattern(layout: str) -> str:
    escaped = layout.replace(".", r"\.")
    spelled = re.sub(r"%([A-Za-z])", lambda part: f"(?P<{part[1]}>{_PARTS.get(part[0], r'[0-9]{2}')})", escaped)
    return spelled + (_OFFSET if "%H" in layout else "")


def _parsed(texts: pa.ChunkedArray, layout: str) -> tuple[np.ndarray, tuple[int, str]] | None:
    """Ticks in UTC, and the first text's offset; None if a text has another layout."""
    parts = pc.extract_regex(texts.cast(pa.string()), f"^{_pattern(layout)}$")
    parts = parts.combine_chunks() if isinstance(parts, pa.ChunkedArray) else parts
    if parts.null_count:
        return None
    names = {field.name for field in parts.type}

    def number(name: str, default: int) -> np.ndarray:
        return _integers(pc.struct_field(parts, name)) if name in names else np.full(len(parts), default)

    hours, minutes, seconds = number("H", 0), number("M", 0), np.zeros(len(parts))
    if "S" in names:
        seconds = pc.replace_substring(pc.struct_field(parts, "S"), ",", ".").cast(pa.float64()).to_numpy()
    if np.any(hours > 23) or np.any(minutes > 59) or np.any(seconds >= 61):
        return None
    by_week = "G" in names
    days = _weeks(number("G", 0), number("V", 1)) if by_week else _days(*map(number, "Ymd", (0, 1, 1)))
    if days is None:
        return None
    ticks = days * DAY + (hours * 60 + minutes) * 60 * 10**6 + np.rint(seconds * 1e6).astype(np.int64)
    if "z" not in names:
        return ticks, (0, "")
    offsets = pc.struct_field(parts, "z").dictionary_encode()
    texts = offsets.dictionary.to_pylist()
    if "" in texts:
        return (ticks, (0, "")) if texts == [""] else None
    shifts = np.array([_offset(text) for text in texts], np.int64)[offsets.indices.to_numpy()]
    return ticks - shifts, (int(shifts[0]), texts[0])


def _offset(text: str) -> int:
    """Of an offset from UTC its microseconds."""
    if text == "Z":
        return 0
    digits = text[1:].replace(":", "")
    return (int(digits[:2]) * 60 + int(digits[2:])) * 60 * 10**6 * (-1 if text[0] == "-" else 1)


def _days(years: np.ndarray, months: np.ndarray, days: np.ndarray) -> np.ndarray | None:
    """Days since 1970; None if one is not in the calendar."""
    if np.any((months < 1) | (months > 12)):
        return None
    begins = ((years - 1970) * 12 + months - 1).astype("M8[M]")
    moments = begins.astype("M8[D]") + (days - 1)
    return None if np.any((days < 1) | (moments.astype("M8[M]") != begins)) else moments.astype(np.int64)


def _weeks(years: np.ndarray, weeks: np.ndarray) -> np.ndarray | None:
    """Days since 1970 of ISO weeks' Mondays."""
    fourth = ((years - 1970).astype("M8[Y]").astype("M8[D]") + 3).astype(np.int64)  # is in the first week
    return None if np.any((weeks < 1) | (weeks > 53)) else fourth - (fourth + 3) % 7 + (weeks - 1) * 7
