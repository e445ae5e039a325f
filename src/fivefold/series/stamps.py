"""Time stamps: Arrow's times, numbers, and texts of many layouts, to numbers in which steps are even, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from fivefold.errors import DataError, UsageError
from fivefold.tables.cells import is_number, is_text
from fivefold.tables.spelling import NumberSpelling, Spelling, find_numbers, find_stamps
from fivefold.tables.table import Table

DAY = 86400 * 10**6
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d")
_MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%m.%Y", "%G-W%V", "%GW%V")
_TIMES = ("", " %H:%M", "T%H:%M", " %H:%M:%S", "T%H:%M:%S", "T%H%M", "T%H%M%S", " %H%M")
_COMPACT = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # by their digits
_LAYOUTS = (*(date + time for date, time in product(_DATES, _TIMES)), *_MONTHS, *list(_COMPACT.values())[1:])
_PARTS = {"%Y": r"\d{4}", "%G": r"\d{4}", "%V": r"\d\d", "%M": r"\d\d", "%S": r"\d\d(?:[.,]\d{1,9})?"}
_OFFSET = r"(?P<z> ?(?:Z|UTC|[+-]\d\d(?::?\d\d)?))?"
_GRAINS = (DAY, 3600 * 10**6, 60 * 10**6, 10**6, 10**3, 1)
_YEARS = 1600, 2400  # that time stamps may be of
_FINEST = 9  # decimals that a spelling of numbers is known by


@dataclass(frozen=True)
class Layout:
    """How texts are written that are time stamps.

    Attributes
    ----------
    pattern : for `strftime`; `%-d` is without a leading zero
    decimals : of seconds, at least and at most; the mark before them
    blank : what stands before
    spelling : of texts that are no even layout of digits: numbers, names of months; else None
    """

    pattern: str = ""
    decimals: tuple[int, int, str] = (0, 0, ".")
    blank: str = ""
    spelling: Spelling | None = None

    def write(self, local: np.ndarray) -> pa.Array:
        """Of ticks as clocks show them, or numbers, `(n,)`."""
        if self.spelling is not None:
            kind = pa.timestamp("us") if local.dtype.kind == "i" else pa.float64()
            texts = self.spelling.write(pa.array(local, kind)).cast(pa.string())
            return pc.binary_join_element_wise(self.blank, texts, "")
        least, most, mark = self.decimals
        seconds, fraction = np.divmod(local, 10**6)
        if most or fraction.any():
            most = next(digits for digits in (most, 3, 6, 9) if not (fraction * 10 ** min(digits, 6) % 10**6).any())
        moments, parts = pa.array(seconds, pa.timestamp("s")), [pa.scalar(self.blank)]
        for piece in re.split(r"(%-?[A-Za-z])", self.pattern):
            if not piece.startswith("%"):
                parts.append(pa.scalar(piece))
                continue
            shown = pc.strftime(moments, format=piece.replace("-", ""))
            parts.append(pc.replace_substring_regex(shown, "^0", "") if "-" in piece else shown)
            if piece == "%S" and most:
                digits = pc.utf8_slice_codeunits(pc.utf8_rpad(_digits(fraction, 6), 9, "0"), 0, most)
                bare = pa.array((fraction == 0) & (least == 0))
                parts.append(pc.if_else(bare, "", pc.binary_join_element_wise(mark, digits, "")))
        return pc.binary_join_element_wise(*parts, "")


@dataclass(frozen=True)
class Stamps:
    """Time stamps of one column.

    Attributes
    ----------
    ticks : `(n,)` microseconds since 1970, int64, in UTC if the zone is known; or numbers, float64
    type : Arrow's, of the column
    layout : of texts, and of integers that are dates; else None
    zone : in which they are given, or None
    shifts : of texts with an offset from UTC, `(n,)` microseconds that their clocks are ahead; else None
    offsets : how offsets are written, by shift
    ambiguous : whether days and months could be the other way round
    """

    ticks: np.ndarray
    type: pa.DataType
    layout: Layout | None = None
    zone: str | None = None
    shifts: np.ndarray | None = None
    offsets: dict[int, str] = field(default_factory=dict)
    ambiguous: bool = False

    @property
    def are_times(self) -> bool:
        """Whether they are moments, not numbers."""
        return self.ticks.dtype.kind == "i"

    @property
    def grain(self) -> float:
        """The largest of a day, an hour, … of which all are multiples, microseconds; of numbers what they are rounded to."""
        if not self.are_times:
            spelling = self.layout.spelling if self.layout else None
            return 10.0**-spelling.most if isinstance(spelling, NumberSpelling) else float(pt.is_integer(self.type))
        return next(grain for grain in _GRAINS if not (self.ticks % grain).any())

    @property
    def is_local(self) -> bool:
        """Whether clocks may be put forward and back between them."""
        return bool(self.zone) or len(self.offsets) > 1

    def taken(self, rows: np.ndarray) -> Stamps:
        """Those of some rows."""
        return replace(self, ticks=self.ticks[rows], shifts=None if self.shifts is None else self.shifts[rows])

    def local(self, ticks: np.ndarray, like: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Ticks as clocks show them: those of the zone, or of the stamps numbered `like`, of which one each is near."""
        if self.shifts is not None:
            shown: np.ndarray = ticks + self.shifts[like]
            return shown
        if not self.zone:
            return ticks
        moments = pa.array(ticks, pa.timestamp("us", "UTC")).cast(pa.timestamp("us", self.zone))
        return _integers(pc.local_timestamp(moments))

    def moments(self, local: np.ndarray, like: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The inverse; of what clocks show twice the first, of what they never show the next."""
        if self.shifts is not None:
            ticks: np.ndarray = local - self.shifts[like]
            return ticks
        if not self.zone:
            return local
        wall_clock = pa.array(local, pa.timestamp("us"))
        return _integers(pc.assume_timezone(wall_clock, self.zone, ambiguous="earliest", nonexistent="latest"))

    def written(self, ticks: np.ndarray, like: np.ndarray) -> pa.Array:
        """Ticks in the type and the layout of the column, each as the stamp numbered `like` is."""
        if self.layout is not None:
            texts = self.layout.write(self.local(ticks, like) if self.are_times else ticks)
            if self.shifts is not None:
                shown = pa.array(list(self.offsets.values()))
                code = np.searchsorted(list(self.offsets), self.shifts[like])
                texts = pc.binary_join_element_wise(texts, shown.take(pa.array(code)), "")
            return texts.cast(self.type)
        if not self.are_times:
            whole = pt.is_integer(self.type)
            return pa.array(np.rint(ticks).astype(np.int64) if whole else ticks).cast(self.type, safe=False)
        if pt.is_time(self.type):
            return pa.array(ticks, pa.int64()).cast(pa.time64("us")).cast(self.type, safe=False)
        zone = self.type.tz if pt.is_timestamp(self.type) else None
        shown_ticks = ticks if zone else self.local(ticks, like)
        return pa.array(shown_ticks, pa.timestamp("us", zone)).cast(self.type, safe=False)


def read_stamps(table: Table, name: str, zone: str | None) -> Stamps:
    """Time stamps of the table's column called `name`; local ones are of `zone`.

    Raises `DataError`, which names the row, for what is no time stamp, `UsageError` for a zone that there is not.
    """
    column, where = table.arrow.column(name), f"{table.source}: column {name!r}"
    decimal = table.text.file.dialect.decimal if table.text else ""
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise DataError(f"{where}, {table.row_name(row)}: must be a time stamp, got nothing")
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_text(column.type):
        stamps = _of_texts(column) or _of_spelled(column, decimal) or _refuse(column, where, table)
    elif pt.is_integer(column.type) and (compact := _of_texts(column.cast(pa.string()), tuple(_COMPACT.values()))):
        stamps = replace(compact, type=column.type)
    elif pt.is_timestamp(column.type):
        stamps = Stamps(
            _integers(column.cast(pa.timestamp("us", column.type.tz), safe=False)), column.type, zone=column.type.tz
        )
    elif pt.is_temporal(column.type):
        kind = pa.time64("us") if pt.is_time(column.type) else pa.timestamp("us")
        stamps = Stamps(_integers(column.cast(kind, safe=False)), column.type)
    elif is_number(column.type):
        stamps = Stamps(column.cast(pa.float64()).to_numpy(), column.type)
    else:
        raise DataError(f"{where} must hold time stamps, got {column.type}")
    if not stamps.are_times:
        if len(bad := np.flatnonzero(~np.isfinite(stamps.ticks))):
            raise DataError(f"{where}, {table.row_name(bad[0])}: must be finite, got {stamps.ticks[bad[0]]}")
        return stamps
    return stamps if zone is None else replace(stamps, zone=zone)


def resolved(stamps: Stamps, begins: np.ndarray, where: str) -> Stamps:
    """Stamps whose ticks are local times of a zone as UTC; what clocks show twice is the second once time went back.

    `begins` are the rows at which series begin. Raises `DataError` for times that the zone skips.
    """
    aware = (pt.is_timestamp(stamps.type) and stamps.type.tz is not None) or stamps.shifts is not None
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


def _digits(numbers: np.ndarray, width: int) -> pa.Array:
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")


def _of_texts(column: pa.ChunkedArray, layouts: Sequence[str] = _LAYOUTS) -> Stamps | None:
    """Of the layouts that all texts have, that under which steps are the most even; None if there is none."""
    texts = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    found = []
    for pattern in layouts:
        if re.fullmatch(_pattern(pattern), texts[0].as_py()) and (parsed := _parsed(texts, pattern)) is not None:
            found.append((len(np.unique(np.diff(parsed.ticks))), parsed))
    if not found:
        return None
    evenness, stamps = min(found, key=lambda candidate: candidate[0])
    tied, blank = sum(other[0] == evenness for other in found) > 1, _blank(column)
    layout = None if stamps.layout is None else replace(stamps.layout, blank=blank)
    return replace(stamps, type=column.type, layout=layout, ambiguous=tied)


def _of_spelled(column: pa.ChunkedArray, decimal: str) -> Stamps | None:
    """Texts that are numbers, or dates with names of months or two digits of a year."""
    texts = column.cast(pa.large_string())
    distinct, blank = pc.utf8_trim_whitespace(texts).unique(), _blank(column)
    numbers, _ = find_numbers(distinct, decimal)
    if numbers is not None:
        odd = numbers.most > _FINEST or pc.any(pc.match_substring_regex(distinct, "[eE]")).as_py()
        layout = None if odd else Layout(blank=blank, spelling=numbers)
        return Stamps(numbers.parse(texts).to_numpy(), column.type, layout)
    dates = [spelling for spelling in find_stamps(distinct) if not spelling.is_clock]
    if not dates:
        return None
    parsed = [_integers(date.parse(texts).cast(pa.timestamp("us"))) for date in dates]
    steps = [len(np.unique(np.diff(ticks))) for ticks in parsed]
    best = int(np.argmin(steps))
    layout = Layout(blank=blank, spelling=dates[best])
    return Stamps(parsed[best], column.type, layout, ambiguous=steps.count(steps[best]) > 1)


def _blank(column: pa.ChunkedArray) -> str:
    """The spaces before the first text."""
    text: str = column[0].as_py() if is_text(column.type) else ""
    return text[: len(text) - len(text.lstrip())]


def _refuse(column: pa.ChunkedArray, where: str, table: Table) -> NoReturn:
    patterns = [re.compile(_pattern(layout)) for layout in _LAYOUTS]

    def is_known(text: str) -> bool:
        return any(pattern.fullmatch(text.strip()) for pattern in patterns)

    wrong = next((row for row in range(min(len(column), 1000)) if not is_known(column[row].as_py())), 0)
    raise DataError(
        f"{where}, {table.row_name(wrong)}: must hold time stamps of one layout, such as 2026-01-31 12:00, got "
        f"{column[wrong].as_py()!r}"
    )


def _pattern(layout: str) -> str:
    width = "{2}" if layout.startswith("%Y%m") else "{1,2}"

    def part(met: re.Match[str]) -> str:
        return f"(?P<{met[1]}>{_PARTS.get(met[0], rf'[0-9]{width}')})"

    return re.sub(r"%([A-Za-z])", part, layout.replace(".", r"\.")) + (_OFFSET if "%H" in layout else "")


def _parsed(texts: pa.ChunkedArray, layout: str) -> Stamps | None:
    """Time stamps of texts; None if one has another layout."""
    parts = pc.extract_regex(texts.cast(pa.string()), f"^{_pattern(layout)}$")
    parts = parts.combine_chunks() if isinstance(parts, pa.ChunkedArray) else parts
    if parts.null_count:
        return None
    shown = {field.name: pc.struct_field(parts, number) for number, field in enumerate(parts.type)}

    def number(name: str, default: int) -> np.ndarray:
        return _integers(shown[name]) if name in shown else np.full(len(parts), default)

    hours, minutes, seconds = number("H", 0), number("M", 0), np.zeros(len(parts))
    if "S" in shown:
        seconds = pc.replace_substring(shown["S"], ",", ".").cast(pa.float64()).to_numpy()
    if np.any(hours > 23) or np.any(minutes > 59) or np.any(seconds >= 61):
        return None
    years = number("G" if "G" in shown else "Y", 0)
    if np.any((years < _YEARS[0]) | (years > _YEARS[1])):
        return None
    days = _weeks(years, number("V", 1)) if "G" in shown else _days(years, number("m", 1), number("d", 1))
    if days is None:
        return None
    ticks = days * DAY + (hours * 60 + minutes) * 60 * 10**6 + np.rint(seconds * 1e6).astype(np.int64)
    style = Layout(_unpadded(layout, shown), _decimals(shown["S"]) if "S" in shown else (0, 0, "."))
    if "z" not in shown:
        return Stamps(ticks, texts.type, style)
    offsets = shown["z"].dictionary_encode()
    spelled = offsets.dictionary.to_pylist()
    if "" in spelled:
        return Stamps(ticks, texts.type, style) if spelled == [""] else None
    shifts = np.array([_shift(text) for text in spelled], np.int64)
    written = dict(sorted(zip(shifts[::-1].tolist(), spelled[::-1], strict=True)))
    shifts = shifts[offsets.indices.to_numpy()]
    return Stamps(ticks - shifts, texts.type, style, shifts=shifts, offsets=written)


def _unpadded(layout: str, shown: Mapping[str, pa.Array]) -> str:
    """The layout with `%-d` for `%d`, and so on, where numbers below ten have one digit."""
    narrow = {name: pc.min(pc.utf8_length(shown[name])).as_py() == 1 for name in "mdH" if name in shown}
    padded = {name: pc.any(pc.starts_with(shown[name], "0")).as_py() and not narrow[name] for name in narrow}
    for name in narrow:
        if narrow[name] or (any(narrow.values()) and not padded[name]):
            layout = layout.replace(f"%{name}", f"%-{name}")
    return layout


def _decimals(seconds: pa.Array) -> tuple[int, int, str]:
    """See `Layout`."""
    digits = np.maximum(pc.utf8_length(seconds).to_numpy() - 3, 0)
    return int(digits.min()), int(digits.max()), "," if pc.any(pc.match_substring(seconds, ",")).as_py() else "."


def _shift(text: str) -> int:
    """Of an offset from UTC its microseconds."""
    digits = re.sub(r"\D", "", text).ljust(4, "0")
    return (int(digits[:2]) * 60 + int(digits[2:])) * 60 * 10**6 * (-1 if "-" in text else 1)


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
