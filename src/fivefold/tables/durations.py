"""How durations are written as text, and numbers of them: `1:02:03` by a clock without end, `PT1H30M` by ISO 8601.

Patterns are `[h]:mm:ss`, `[hh]:mm`, `[h]:mm:ss.00#` (as spreadsheets have it; two fields may be minutes and seconds), counted in
the last field; and `P#DT#H00M0.0#S`, in seconds: of each unit the digits at least, and # if it is left out where it is 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fivefold.errors import UsageError

_UNITS = {"W": 604800, "D": 86400, "H": 3600, "M": 60, "S": 1}
_PART = r"\d+(?:\.\d+)?"
_ISO = (
    rf"^(?P<sign>-?)P(?:(?P<W>{_PART})W)?(?:(?P<D>{_PART})D)?"
    rf"(?:T(?:(?P<H>{_PART})H)?(?:(?P<M>{_PART})M)?(?:(?P<S>{_PART})S)?)?$"
)
_CLOCK = r"^(?P<sign>-?)(?P<first>\d+)(?P<later>(?::[0-5]\d){%d})(?P<part>(?:\.\d+)?)$"
_CLOCK_PATTERN = re.compile(r"\[(h+)\]:mm(:ss)?(?:\.(0*)(#*))?")
_ISO_PATTERN = re.compile(r"P((?:(?:0+|#)(?:\.0*#*)?[WD])*)(?:T((?:(?:0+|#)(?:\.0*#*)?[HMS])+))?")
_ISO_FIELD = re.compile(r"(0+|#)(?:\.(0*)(#*))?([WDHMS])")


@dataclass(frozen=True)
class _Field:
    """One number of a duration: its unit (empty by a clock), how many of the smallest it is, its digits at least; 0: may lack."""

    unit: str
    size: int
    digits: int


@dataclass(frozen=True)
class DurationSpelling:
    """Durations by a pattern; numbers of seconds, or by a clock of two fields of its last one."""

    pattern: str

    def __post_init__(self) -> None:
        units = [field.unit for field in self._fields]
        if units != sorted(set(units), key=list(_UNITS).index) if self._is_iso else not units:
            raise UsageError(f"a duration's format must be one such as [h]:mm:ss or PT#H#M#S, got {self.pattern!r}")

    @staticmethod
    def is_pattern(pattern: str) -> bool:
        """Whether it is one of durations, and none of numbers."""
        return bool(_CLOCK_PATTERN.fullmatch(pattern) or (pattern[1:] and _ISO_PATTERN.fullmatch(pattern)))

    @property
    def _is_iso(self) -> bool:
        return self.pattern.startswith("P")

    @cached_property
    def _fields(self) -> list[_Field]:
        if self._is_iso:
            found = _ISO_FIELD.findall(self.pattern)
            return [_Field(unit, _UNITS[unit], digits.count("0")) for digits, _, _, unit in found]
        if not (met := _CLOCK_PATTERN.fullmatch(self.pattern)):
            return []
        later = 2 if met[2] else 1
        return [_Field("", 60**later, len(met[1])), *(_Field("", 60**at, 2) for at in range(later - 1, -1, -1))]

    @property
    def least(self) -> int:
        """Decimals of the last field, at least."""
        return self._decimals[0]

    @property
    def most(self) -> int:
        """Decimals of the last field, at most."""
        return sum(self._decimals)

    @cached_property
    def _decimals(self) -> tuple[int, int]:
        met = re.search(r"\.(0*)(#*)[WDHMS]?$", self.pattern)
        return (len(met[1]), len(met[2])) if met else (0, 0)

    def parse(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """Float64; see `Spelling`."""
        texts = pc.utf8_trim_whitespace(texts)
        found = extracted(texts, _ISO if self._is_iso else _CLOCK % (len(self._fields) - 1))
        parts = {field.name: pc.struct_field(found, at) for at, field in enumerate(found.type)}
        valid = np.asarray(found.is_valid())
        if self._is_iso:
            valid &= np.asarray(pc.fill_null(pc.match_substring_regex(texts, r"\d[WDHMS]$"), False))
            numbers = sum(size * _numbers(parts[unit]) for unit, size in _UNITS.items())
        else:
            fields = [parts["first"]]
            for at in range(len(self._fields) - 1):
                fields.append(pc.utf8_slice_codeunits(parts["later"], 3 * at + 1, 3 * at + 3))
            numbers = sum(field.size * _numbers(texts) for field, texts in zip(self._fields, fields, strict=True))
            numbers = numbers + _numbers(parts["part"])
        signs = np.where(np.asarray(pc.equal(parts["sign"], "-").fill_null(False)), -1.0, 1.0)
        return pa.chunked_array([pa.array(np.where(valid, signs * numbers, 0.0), mask=~valid)])

    def write(self, values: pa.Array) -> pa.Array:
        """See `Spelling`."""
        numbers, last = np.asarray(values.cast(pa.float64()).fill_null(0.0)), self._fields[-1]
        rest = np.rint(np.abs(numbers) / last.size * 10**self.most).astype(np.int64)
        sign = pa.array(np.where((numbers < 0) & (rest > 0), "-", "").tolist(), pa.large_string())
        texts = dict[str, pa.Array]()
        for field in self._fields:
            count, rest = np.divmod(rest, 10**self.most * (field.size // last.size))
            text = pc.utf8_lpad(pa.array(count).cast(pa.large_string()), max(field.digits, 1), "0")
            text = _joined(text, self._fraction(rest)) if field is last else text
            lacks = (count == 0) & (rest == 0 if field is last else True) & (field.digits == 0)
            texts[field.unit or str(field.size)] = pc.if_else(pa.array(lacks), "", _joined(text, _text(field.unit)))
        written = self._as_iso(texts) if self._is_iso else _joined(*texts.values(), by=":")
        return pc.if_else(values.is_valid(), _joined(sign, written), _text(None))

    def _fraction(self, rest: np.ndarray) -> pa.Array:
        """The decimals of the last field, from counts of the last of them."""
        texts = pc.utf8_lpad(pa.array(rest).cast(pa.large_string()), self.most, "0")
        texts = pc.utf8_slice_codeunits(texts, 0, self.most)
        texts = pc.replace_substring_regex(texts, rf"^(\d{{{self.least}}}\d*?)0+$", r"\1")
        return pc.utf8_rtrim(_joined(_text("."), texts), characters=".")

    def _as_iso(self, texts: dict[str, pa.Array]) -> pa.Array:
        nothing = pa.array([""] * len(next(iter(texts.values()))), pa.large_string())
        days, clock = (_joined(nothing, *(texts.get(unit, _text("")) for unit in units)) for units in ("WD", "HMS"))
        written = _joined(_text("P"), days, pc.if_else(pc.equal(clock, ""), "", _joined(_text("T"), clock)))
        zero = f"{'T' * (self._fields[-1].unit in 'HMS')}0{'.' * (self.least > 0)}{'0' * self.least}{self._fields[-1].unit}"
        return pc.if_else(pc.equal(written, "P"), f"P{zero}", written)


def find_durations(texts: pa.ChunkedArray) -> DurationSpelling | None:
    """How distinct texts, without nulls, are written if all are durations; None if they are not."""
    if not len(texts) or not re.match(r"\s*-?(?:P[T\d]|\d+:\d\d)", texts[0].as_py()):
        return None
    texts = pc.utf8_trim_whitespace(texts)
    for fields in (2, 3):
        found = extracted(texts, _CLOCK % (fields - 1))
        if not found.null_count:
            digits, part = pc.struct_field(found, 1), pc.struct_field(found, 3)
            padded = pc.any(pc.match_substring_regex(digits, r"^0\d")).as_py()
            width = pc.min(pc.utf8_length(digits)).as_py() if padded else 1
            return DurationSpelling(f"[{'h' * width}]:mm{':ss' * (fields - 2)}{_decimals(part)}")
    found = extracted(texts, _ISO)
    if found.null_count:
        return None
    parts = {field.name: pc.struct_field(found, at) for at, field in enumerate(found.type)}
    shown = {unit: pc.not_equal(parts[unit], "") for unit in _UNITS}
    units = [unit for unit in _UNITS if pc.any(shown[unit]).as_py()]
    decimals = {unit: _decimals(pc.replace_substring_regex(parts[unit], r"^\d*", "")) for unit in units}
    if not units or any(decimals[unit] for unit in units[:-1]):
        return None
    pattern = "P"
    for unit in units:
        pattern += "T" * (unit in "HMS" and "T" not in pattern)
        every = pc.all(shown[unit]).as_py()
        padded = every and pc.all(pc.match_substring_regex(parts[unit], r"^\d\d")).as_py()
        pattern += ("00" if padded else "0" if every else "#") + decimals[unit] + unit
    spelling = DurationSpelling(pattern)
    return spelling if spelling.parse(texts).null_count == 0 else None


def extracted(texts: pa.Array | pa.ChunkedArray, pattern: str) -> pa.StructArray:
    """The named groups of a pattern in texts; null where it is not met."""
    found = pc.extract_regex(texts, pattern)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _decimals(parts: pa.Array) -> str:
    """The pattern of decimals such as `.25`, or nothing."""
    ends = pc.min_max(pc.utf8_length(parts)).as_py()
    least, most = (max(ends[end] - 1, 0) for end in ("min", "max"))
    return f".{'0' * least}{'#' * (most - least)}" if most else ""


def _numbers(texts: pa.Array) -> np.ndarray:
    return np.asarray(pc.if_else(pc.equal(texts, ""), "0", texts).fill_null("0").cast(pa.float64()))


def _joined(*texts: pa.Array | pa.Scalar, by: str = "") -> pa.Array:
    return pc.binary_join_element_wise(*texts, _text(by))


def _text(value: str | None) -> pa.Scalar:
    return pa.scalar(value, pa.large_string())
