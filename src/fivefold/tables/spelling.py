"""How a column's numbers, dates and truth values are written as text: found, read, and written again.

A spelling is a pattern: of numbers as in Unicode's number formats (`$#,##0.00`, `0.0#%`, `00000`, `0.00E+00`; negative ones after
a semicolon, if not with a minus before: `0.00;(0.00)`), of durations see `durations.py`, of dates and times as in `strftime`
(`%d.%m.%Y`, `%H:%M`; `%-d` without a leading zero), of truth values their two words (`No|Yes`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from fivefold.errors import UsageError
from fivefold.tables.durations import DurationSpelling, extracted

_MARKS = (
    (".", ""),
    (".", ","),
    (",", ""),
    (",", "."),
    (".", "'"),
    (".", " "),
    (",", " "),
    (".", "\xa0"),
    (",", "\xa0"),
)
_PATTERN = re.compile(r"([^\d#+\-.,]*)(\+?)(?:#([^\d#])##)?(0+|#)(?:([.,])(0*)(#*))?(?:([eE]\+?)(0+))?([^\d#]*)")
_SIGNED = {
    "-": "",
    "()": r"^\s*\((.+)\)\s*$",
    "_-": r"^\s*([^\s+-].*?)\s*-\s*$",
}  # how negative numbers are written that are so
_AFFIX = r"(?:[^\w\s.,'+-]{1,3}|[A-Z]{3}|)"  # a sign of a currency, its code, %
_UNIT = r"°?[^\W\d_][^\W\d_/·]{0,11}(?:[/·][^\W\d_]{1,5}){0,2}"
_AFFIXED = re.compile(
    rf"(\s*)[+-]?({_AFFIX}\s?)[+-]?[\d.,](?:[\d.,' \xa0]*\d)?\.?(?:[eE][+-]?\d+)?(\s?(?:{_AFFIX}|{_UNIT})\s*)"
)
_ORDINALS = ("st", "nd", "rd", "th")
_MOST_UNITS = 8  # that make a column one of numbers in several units
_OF_NUMBERS = re.compile(r"[\w+%$-]+")
_FINEST = 9  # decimals that a spelling without marks is known by
_STAMP = re.compile(
    r"(?:(\d{1,4})([./-])(\d{1,2})\2(\d{1,4}))?(?:([ T]?)(\d{1,2}):\d\d(:\d\d)?( ?[AaPp][Mm])?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)
_NAMED = re.compile(r"(?:\d{1,2}([ /.-]{1,2})([A-Za-z]{3,9})\1|([A-Za-z]{3,9}) \d{1,2}, )\d{4}")
_DIRECTIVE = re.compile(r"%(-?)([YymbBdHIpMS])")
_MONTHS = ["January", "February", "March", "April", "May", "June", "July"]
_MONTHS += ["August", "September", "October", "November", "December"]
_WIDTHS = {"Y": r"\d{4}", "b": "[A-Za-z]{3}", "B": "[A-Za-z]{3,9}", "p": "[AaPp][Mm]"}  # of others one or two digits
_PLAIN = ("0", "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%H:%M:%S", "false|true")  # as Arrow writes
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)$")


class Spelling(Protocol):
    """Between texts and what they stand for, by a `pattern`."""

    @property
    def pattern(self) -> str: ...

    def parse(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """What they stand for; null for what is not written so."""
        ...

    def write(self, values: pa.Array) -> pa.Array:
        """Texts; null for null."""
        ...


@dataclass(frozen=True)
class NumberSpelling:
    """Numbers between a prefix and a suffix, with marks for decimals and thousands.

    Attributes
    ----------
    digits : before the decimal mark, at least; 0 if a zero there is left out
    least, most : decimals
    exponent : the letter before one, and + where it is written; empty if there are none
    power : digits of the exponent, at least
    negative : what is written of negative numbers: `-` before them, `_-` after them, `()` around them
    """

    prefix: str = ""
    plus: bool = False
    group: str = ""
    digits: int = 1
    decimal: str = "."
    least: int = 0
    most: int = 0
    suffix: str = ""
    exponent: str = ""
    power: int = 1
    negative: str = "-"

    @classmethod
    def of(cls, pattern: str) -> NumberSpelling:
        """Raises `UsageError` if it is none."""
        positive, _, other = pattern.partition(";")
        negative = next((mark for mark in _SIGNED if other == _negative(positive, mark)), None)
        if negative is None or not (met := _PATTERN.fullmatch(positive)):
            raise UsageError(f"a number's format must be one such as $#,##0.00, 0.0# or 00000, got {pattern!r}")
        prefix, plus, group, digits, decimal, least, more, exponent, power, suffix = met.groups("")
        places = len(least), len(least) + len(more)
        whole = prefix, bool(plus), group, digits.count("0"), decimal or "."
        return cls(*whole, *places, suffix, exponent, len(power) or 1, negative)

    @property
    def pattern(self) -> str:
        """The inverse of `of`."""
        whole = f"#{self.group}##0" if self.group else "0" * self.digits or "#"
        part = self.decimal + "0" * self.least + "#" * (self.most - self.least) if self.most else ""
        power = self.exponent + "0" * self.power if self.exponent else ""
        positive = f"{self.prefix}{'+' * self.plus}{whole}{part}{power}{self.suffix}"
        return positive if self.negative == "-" else f"{positive};{_negative(positive, self.negative)}"

    @property
    def unit(self) -> str:
        """What the numbers are counted in, such as kW or °C; currencies and per cent are none."""
        return _unit(self.suffix)

    @property
    def is_plain(self) -> bool:
        """Whether such numbers are read without a spelling."""
        marked = (self.prefix + self.suffix).strip() or self.group or self.negative != "-"
        return not marked and self.decimal == "."

    def parse(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """Float64; see `Spelling`."""
        bare = self.bare(texts)
        grouped = rf"\d{{1,3}}(?:{re.escape(self.group)}\d{{3}})*|" if self.group else ""
        part = rf"(?:{re.escape(self.decimal)}\d*)?"
        pattern = rf"^[+-]?(?:(?:{grouped}\d+){part}|{re.escape(self.decimal)}\d+)(?:[eE][+-]?\d+)?$"
        bare = pc.if_else(pc.match_substring_regex(bare, pattern), bare, pa.scalar(None, bare.type))
        bare = pc.replace_substring(bare, self.group, "") if self.group else bare
        bare = pc.replace_substring(bare, ",", ".") if self.decimal == "," else bare
        return bare.cast(pa.float64())

    def write(self, values: pa.Array) -> pa.Array:
        """See `Spelling`."""
        numbers = np.asarray(values.cast(pa.float64()).fill_null(0.0))
        letter = "e" if self.exponent else "f"
        texts = pa.array(np.char.mod(f"%.{self.most}{letter}", np.abs(numbers)).tolist(), pa.large_string())
        powers = _text("")
        if self.exponent:
            powers = self._powers(pc.replace_substring_regex(texts, r"^.*e\+?", ""))
            texts = pc.replace_substring_regex(texts, "e.*$", "")
        if self.most > self.least:
            texts = pc.replace_substring_regex(texts, rf"(\.\d{{{self.least}}}\d*?)0+$", r"\1")
            texts = pc.utf8_rtrim(texts, characters=".")
        if not self.digits:
            texts = pc.replace_substring_regex(texts, r"^0\.", ".")
        elif self.digits > 1:
            texts = pc.utf8_lpad(texts, self.digits + self.most + (self.most > 0), "0")
        texts = pc.replace_substring(texts, ".", ",") if self.decimal == "," else texts
        for _ in range(6 if self.group else 0):
            texts = pc.replace_substring_regex(texts, r"^(\d+)(\d{3})", rf"\1{self.group}\2")
        written = self._signed(numbers, pc.binary_join_element_wise(texts, powers, _text("")))
        return pc.if_else(values.is_valid(), written, _text(None))

    def _powers(self, powers: pa.Array) -> pa.Array:
        """Exponents such as `-05` as they are written here."""
        counts = np.asarray(powers.cast(pa.int64()))
        digits = pc.utf8_lpad(pa.array(np.abs(counts)).cast(pa.large_string()), self.power, "0")
        signs = np.where(counts < 0, "-", self.exponent[1:]).tolist()
        return pc.binary_join_element_wise(
            _text(self.exponent[0]), pa.array(signs, pa.large_string()), digits, _text("")
        )

    def _signed(self, numbers: np.ndarray, texts: pa.Array) -> pa.Array:
        """The texts of absolute numbers with sign, prefix and suffix."""
        plus = "+" if self.plus else ""
        below = (numbers < 0) & np.asarray(
            pc.match_substring_regex(texts, "^[^eE]*[1-9]")
        )  # what is rounded to 0 has no sign
        before, after = {"-": ("-", ""), "_-": (plus, "-"), "()": ("(", ")")}[self.negative]
        before, after = (
            pa.array(np.where(below, *pair).tolist(), pa.large_string()) for pair in ((before, plus), (after, ""))
        )
        mark = self.prefix.lstrip()
        blank = self.prefix[: len(self.prefix) - len(mark)]
        return pc.binary_join_element_wise(
            _text(blank), before, _text(mark), texts, _text(self.suffix), after, _text("")
        )

    def bare(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """Without what stands around them, and a minus before negative ones."""
        bare = pc.utf8_trim_whitespace(texts)
        if self.negative != "-":
            bare = pc.replace_substring_regex(bare, _SIGNED[self.negative], r"-\1")
        if prefix := self.prefix.strip():
            bare = pc.replace_substring_regex(bare, rf"^([+-]?){re.escape(prefix)}\s*", r"\1")
        if suffix := self.suffix.strip():
            bare = pc.replace_substring_regex(bare, rf"\s*{re.escape(suffix)}$", "")
        return bare

    def measured(self, texts: pa.ChunkedArray) -> NumberSpelling:
        """With as many digits as these have that are written so, and only the marks that are met."""
        whole = self.bare(texts)
        powers, bare = _powers(whole), pc.replace_substring_regex(whole, "[eE].*$", "")
        mark = re.escape(self.decimal)
        digits = pc.replace_substring_regex(bare, rf"^[+-]|{mark}.*", "")
        widths = pc.utf8_length(digits).to_numpy()
        places = pc.utf8_length(pc.replace_substring_regex(bare, rf"^[^{mark}]*{mark}?", "")).to_numpy()
        zeros = pc.any(pc.match_substring_regex(digits, r"^0\d")).as_py() and widths.min() == widths.max()
        signed = pc.match_substring_regex(bare, r"^\+")
        every = pc.all(pc.or_(signed, pc.match_substring_regex(bare, "^-"))).as_py()
        grouped = self.group and pc.any(pc.match_substring(bare, self.group)).as_py()
        return replace(
            self,
            plus=bool(every and pc.any(signed).as_py()),
            group=self.group if grouped else "",
            digits=int(widths.min()) if zeros else min(int(widths.min()), 1),
            least=int(places.min()),
            most=int((places + widths).max()) - 1 if powers else int(places.max()),
            exponent=powers[0] if powers else "",
            power=powers[1] if powers else 1,
        )


def _negative(pattern: str, mark: str) -> str:
    """The pattern of negative numbers, if they are not written with a minus before."""
    return {"-": "", "_-": f"{pattern}-", "()": f"({pattern})"}[mark]


def _powers(texts: pa.ChunkedArray) -> tuple[str, int] | None:
    """The letter before exponents, with a + where it is written, and how many digits they have; None if not all have one."""
    parts = extracted(texts, r"(?P<letter>[eE])(?P<sign>[+-]?)(?P<power>\d+)$")
    if parts.null_count or not len(parts):
        return None
    letter, sign, power = (pc.struct_field(parts, at) for at in range(3))
    widths = pc.min_max(pc.utf8_length(power)).as_py()
    plus = pc.any(pc.equal(sign, "+")).as_py()
    padded = pc.any(pc.match_substring_regex(power, "^0.")).as_py()
    return letter[0].as_py() + "+" * plus, widths["min"] if padded else 1


@dataclass(frozen=True)
class StampSpelling:
    """Dates, times of day, or both, by a pattern; a zone or offset at the end is meant as it stands there."""

    pattern: str

    def __post_init__(self) -> None:
        found = [letter for _, letter in _DIRECTIVE.findall(self.pattern)]
        letters = [{"b": "m", "B": "m", "I": "H"}.get(letter, letter) for letter in found if letter != "p"]
        date = {"Y", "m", "d"} if "Y" in letters else {"y", "m", "d"}
        times: tuple[list[str], ...] = ([], ["H", "M"], ["H", "M", "S"])
        clock = [letter for letter in letters if letter in "HMS"]
        if (
            len(set(letters)) < len(letters)
            or not letters
            or clock not in times
            or ("I" in found) != ("p" in found)
            or set(letters) - date not in (set(clock), set())
        ):
            raise UsageError(f"a date's format must be one such as %d.%m.%Y or %Y-%m-%d %H:%M, got {self.pattern!r}")

    @cached_property
    def kind(self) -> pa.DataType:
        """Of what is parsed."""
        if "%Y" not in self.pattern.replace("-", "").replace("y", "Y"):
            return pa.time32("s")
        return pa.timestamp("s", "UTC" if self._is_zoned else None) if "%M" in self.pattern else pa.date32()

    @property
    def is_clock(self) -> bool:
        """Whether they are times of day."""
        return bool(pt.is_time(self.kind))

    @property
    def unit(self) -> str:
        """Of what is parsed, as NumPy calls it."""
        return "D" if pt.is_date32(self.kind) else "s"

    @property
    def _is_zoned(self) -> bool:
        return bool(self.pattern.endswith("Z") or _OFFSET.search(self.pattern))

    @property
    def _shift(self) -> int:
        """Seconds that the clock is ahead of UTC."""
        if not (met := _OFFSET.search(self.pattern)):
            return 0
        return (1 if met[1] == "+" else -1) * (int(met[2]) * 3600 + int(met[3]) * 60)

    def parse(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """Of the type `kind`; see `Spelling`."""
        regex, at = "", 0
        for met in _DIRECTIVE.finditer(self.pattern):
            width = _WIDTHS.get(met[2], r"\d{1,2}" if met[1] else r"\d{2}")
            regex += re.escape(self.pattern[at : met.start()]) + rf"(?P<{met[2]}>{width})"
            at = met.end()
        found = extracted(pc.utf8_trim_whitespace(texts), f"^{regex}{re.escape(self.pattern[at:])}$")
        valid = np.asarray(found.is_valid())
        texts_of = {field.name: pc.struct_field(found, number) for number, field in enumerate(found.type)}
        for name in texts_of.keys() & {"b", "B"}:
            names = pa.array([month[:3] if name == "b" else month for month in _MONTHS], pa.large_string())
            number = pc.add(pc.index_in(pc.utf8_capitalize(texts_of.pop(name)), names), 1)
            texts_of["m"] = number.cast(pa.large_string())
        halves = texts_of.pop("p", None)
        fields = {name: np.asarray(part.fill_null("0").cast(pa.int64())) for name, part in texts_of.items()}
        if halves is not None:
            valid &= (fields["I"] > 0) & (fields["I"] < 13)
            fields["H"] = fields["I"] % 12 + 12 * np.asarray(
                pc.utf8_upper(halves.fill_null("AM")).to_numpy(False) == "PM"
            )
        clock = [fields.get(letter, np.zeros(len(found), np.int64)) for letter in "HMS"]
        seconds = clock[0] * 3600 + clock[1] * 60 + clock[2] - self._shift
        valid &= (clock[0] < 24) & (clock[1] < 60) & (clock[2] < 60)
        days = np.zeros(len(found), np.int64)
        if "d" in fields:
            year = fields["Y"] if "Y" in fields else fields["y"] + np.where(fields["y"] < 69, 2000, 1900)
            month = ((year - 1970) * 12 + fields["m"] - 1).astype("M8[M]")
            day = month.astype("M8[D]") + (fields["d"] - 1)
            valid &= (fields["m"] >= 1) & (fields["m"] <= 12) & (fields["d"] >= 1) & (day.astype("M8[M]") == month)
            days = day.astype(np.int64)
        counts = days if pt.is_date32(self.kind) else days * 86400 + seconds
        count = pa.int64() if pt.is_timestamp(self.kind) else pa.int32()
        return pa.chunked_array([pa.array(np.where(valid, counts, 0), mask=~valid).cast(count).cast(self.kind)])

    def write(self, values: pa.Array) -> pa.Array:
        """Of dates, timestamps or times of day; see `Spelling`."""
        if pt.is_time(values.type):
            counts = values.cast(pa.time64("ns")).cast(pa.int64()).fill_null(0)
            stamps = np.asarray(counts).astype("M8[ns]").astype("M8[s]")
        else:
            zone = getattr(values.type, "tz", None)
            counts = values.cast(pa.timestamp("s", zone), safe=False).cast(pa.int64()).fill_null(0)
            stamps = np.asarray(counts).astype("M8[s]") + self._shift
        day, month, year = (
            stamps.astype("M8[D]"),
            stamps.astype("M8[M]"),
            stamps.astype("M8[Y]").astype(np.int64) + 1970,
        )
        seconds = (stamps - day).astype(np.int64)
        fields = {
            "Y": year,
            "y": year % 100,
            "m": month.astype(np.int64) % 12 + 1,
            "d": (day - month.astype("M8[D]")).astype(np.int64) + 1,
            "H": seconds // 3600,
            "I": (seconds // 3600 + 11) % 12 + 1,
            "M": seconds // 60 % 60,
            "S": seconds % 60,
        }
        parts, at = [], 0
        for met in _DIRECTIVE.finditer(self.pattern):
            if met[2] in "bBp":
                words = ["AM", "PM"] if met[2] == "p" else [name[:3] if met[2] == "b" else name for name in _MONTHS]
                places = seconds // 43200 if met[2] == "p" else fields["m"] - 1
                shown = pa.array(words, pa.large_string()).take(pa.array(places))
            else:
                shown = pa.array(fields[met[2]]).cast(pa.large_string())
                shown = shown if met[1] else pc.utf8_lpad(shown, 4 if met[2] == "Y" else 2, "0")
            parts += [_text(self.pattern[at : met.start()]), shown]
            at = met.end()
        joined = pc.binary_join_element_wise(*parts, _text(self.pattern[at:]), _text(""))
        return pc.if_else(values.is_valid(), joined, _text(None))


@dataclass(frozen=True)
class WordSpelling:
    """Truth values by two words, the false one first: `No|Yes`."""

    pattern: str

    def __post_init__(self) -> None:
        if self.pattern.count("|") != 1:
            raise UsageError(f"a truth value's format must be two words such as No|Yes, got {self.pattern!r}")

    def parse(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """Bool; see `Spelling`."""
        found = pc.index_in(texts, pa.array(self.pattern.split("|"), texts.type))
        return found.cast(pa.bool_())

    def write(self, values: pa.Array) -> pa.Array:
        """See `Spelling`."""
        false, true = self.pattern.split("|")
        return pc.if_else(values, _text(true), _text(false))


def spelling_of(kind: str, pattern: str) -> Spelling:
    """The spelling of a column of this kind; raises `UsageError` if the pattern is none."""
    if kind == "datetime":
        return StampSpelling(pattern)
    if kind == "boolean":
        return WordSpelling(pattern)
    return DurationSpelling(pattern) if DurationSpelling.is_pattern(pattern) else NumberSpelling.of(pattern)


def find_numbers(texts: pa.ChunkedArray, decimal: str = "") -> tuple[NumberSpelling | None, bool]:
    """How distinct texts, without nulls, are written if all are numbers; and whether marks of thousands may be of decimals.

    `decimal` is the mark to believe in where both can be.
    """
    negative = next(
        (mark for mark, form in _SIGNED.items() if form and pc.any(pc.match_substring_regex(texts, form)).as_py()), "-"
    )
    if negative != "-":
        texts = pc.replace_substring_regex(texts, _SIGNED[negative], r"-\1")
    if not len(texts) or not (met := _AFFIXED.fullmatch(texts[0].as_py())):
        return None, False
    prefix, suffix = met[1] + met[2], met[3]
    if (unit := _unit(suffix)) and (
        not _is_unit(suffix) or not pc.all(pc.ends_with(pc.utf8_trim_whitespace(texts), unit)).as_py()
    ):
        return None, False
    if not pc.all(pc.and_(pc.starts_with(texts, met[1]), pc.ends_with(texts, suffix))).as_py():
        prefix, suffix = prefix.strip(), suffix.strip()
    found, met_marks = [], set(_OF_NUMBERS.sub("", "".join(texts.to_pylist())))
    for mark, group in _MARKS:
        if not {group, mark.replace(".", "")} - {""} <= met_marks:
            continue  # reads the same without
        spelling = NumberSpelling(prefix, group=group, decimal=mark, suffix=suffix)
        if spelling.parse(texts).null_count == 0:
            found.append(replace(spelling.measured(texts), negative=negative))
    if not found:
        return None, False
    doubtful = found[0].most + bool(found[0].group) > 0 and len({spelling.decimal for spelling in found}) > 1
    return next((spelling for spelling in found if doubtful and spelling.decimal == decimal), found[0]), doubtful


def find_units(texts: list[str]) -> list[str]:
    """The units, one of them maybe empty, of numbers that have not all the same; none if the texts are anything else."""
    suffixes = [met[3] if (met := _AFFIXED.fullmatch(text)) else None for text in texts]
    if any(suffix is None or (_unit(suffix) and not _is_unit(suffix)) for suffix in suffixes):
        return []
    units = sorted({_unit(suffix or "") for suffix in suffixes})
    return units if 1 < len(units) <= _MOST_UNITS and max(map(len, units)) > 1 else []


def _unit(suffix: str) -> str:
    """See `NumberSpelling.unit`."""
    return "" if re.fullmatch(_AFFIX, suffix.strip()) else suffix.strip()


def _is_unit(suffix: str) -> bool:
    """Whether letters after a number are a unit, not an ordinal's, or those of a code such as 12B."""
    unit = suffix.strip()
    return unit not in _ORDINALS and (suffix[0].isspace() or unit != unit.upper() or "°" in unit)


def find_stamps(texts: pa.ChunkedArray) -> list[StampSpelling]:
    """How distinct texts, without nulls, may be written as dates or times; the likeliest first, none if they are not."""
    if not len(texts):
        return []
    shown = texts[0].as_py().strip()
    named = _NAMED.match(shown)
    if not shown or not (met := _STAMP.fullmatch(shown[named.end() if named else 0 :])):
        return []
    first, mark, _, last, gap, hours, seconds, half, zone = met.groups("")
    dates = [""]
    if named:
        months = ("%b", "%B") if len(named[2] or named[3]) == 3 else ("%B",)
        dates = [f"%d{named[1]}{month}{named[1]}%Y" if named[1] else f"{month} %d, %Y" for month in months]
    elif mark:
        year = "%Y" if len(last) == 4 else "%y"
        orders = ["%d{0}%m{0}" + year, "%m{0}%d{0}" + year]
        dates = [order.format(mark) for order in (orders[::-1] if mark == "/" else orders)]
        dates = [f"%Y{mark}%m{mark}%d"] if len(first) == 4 else dates if len(last) in (2, 4) else []
    hour = f"%I:%M{':%S' * bool(seconds)}{half[:-2]}%p" if half else f"%H:%M{':%S' * bool(seconds)}"
    clock = f"{gap}{hour}{zone}" if hours else ""
    found = []
    for date in dates:
        padded = date + clock
        bare = re.sub(r"%([mdHI])", r"%-\1", padded)
        spellings = (StampSpelling(pattern) for pattern in (padded, bare))
        if spelling := next((spelling for spelling in spellings if spelling.parse(texts).null_count == 0), None):
            found.append(spelling)
    return found


def spelling_of_typed(texts: pa.ChunkedArray, kind: pa.DataType) -> str:
    """How distinct texts, without nulls, are written that were read as this type; empty if that is as Arrow writes them."""
    if pt.is_boolean(kind):
        words = {text.strip().lower(): text for text in texts.to_pylist()}
        if len(words) < len(texts) or "true" not in words or "|" in "".join(words.values()):
            return ""
        found: Any = WordSpelling(f"{words.get('false', 'false')}|{words['true']}").pattern
    elif pt.is_temporal(kind):
        stamps = find_stamps(texts)
        found = stamps[0].pattern if stamps else ""
    else:
        found, _ = find_numbers(texts)
        powers = pc.any(pc.match_substring_regex(texts, "[eE]")).as_py()
        exact = found is not None and (found.exponent or (found.most <= _FINEST and not powers))
        found = found.pattern if exact else ""
    return "" if found in _PLAIN else found


def _text(value: str | None) -> pa.Scalar:
    return pa.scalar(value, pa.large_string())
