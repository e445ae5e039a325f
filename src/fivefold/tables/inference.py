"""What a table's columns are, inferred from their values; a user's `schema.json` may overrule it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from fivefold.errors import DataError, UsageError
from fivefold.findings import Doubt
from fivefold.tables.cells import EXACT, blank, encode_column, is_number, is_text, object_types, plain
from fivefold.tables.csv import CsvText
from fivefold.tables.durations import DurationSpelling, find_durations
from fivefold.tables.schema import MOST_CATEGORIES, MOST_COLUMNS, Category, Column, Kind, TableSchema
from fivefold.tables.spelling import (
    NumberSpelling,
    Spelling,
    StampSpelling,
    find_numbers,
    find_stamps,
    find_units,
    spelling_of,
    spelling_of_typed,
)
from fivefold.tables.table import Table

_ASKED = "as `schema` asks"
_FEW = 20  # so many categories are few for any number of rows
_SAMPLE = 200_000
_FARTHEST = 1e150
_TRIED, _FEW_STRANGE = 80, 0.05  # texts looked at for what others are; share of cells that may be something else
_LEAST_SPREAD = 1e-150
_MARKS = "-–—?.*_/~ "  # and words that say that there is nothing
_NOTHING = re.compile(
    r"n\.?[adv]\.?|n/a|nan|nil|none|null|missing|unknown|void|empty|blank|undefined|unspecified", re.I
)
_EARLIEST, _LATEST, _COMPACT = 19000101, 21001231, "%Y%m%d"  # dates as integers
_STEPS: tuple[int, ...] = (1, 2, 4, *(times * 10**tens for tens in range(1, 6) for times in (1, 2)), 10**6)  # 1 / step


class _Carried(Exception):
    """The column can't be modelled; the text says why."""


def infer_table_schema(table: Table, overrides: Mapping[str, Any] | None = None) -> TableSchema:
    """The schema of a table's columns.

    `overrides` is what a user's `schema.json` holds: `{"columns": {"zip": {"kind": "category"}, "age": {"missing":
    [-999, "?"]}, "notes": {"kind": "carried"}, "day": {"format": "%d/%m/%Y"}}}`; for formats see `tables/spelling.py`.

    Raises
    ------
    DataError : if there are no rows, no column can be modelled, one is not what `overrides` say, or has infinite values
    UsageError : if `overrides` are anything else
    """
    asked = _check_overrides({} if overrides is None else overrides, table.names)
    check_width(table.names, table.source)
    if len(table) == 0:
        raise DataError(f"{table.source}: must have rows, got none")
    columns, carried = [], []
    for name, values in zip(table.names, table.arrow.columns, strict=True):
        try:
            columns.append(_infer_column(name, values, asked.get(name, {}), table))
        except _Carried as reason:
            carried.append((name, str(reason)))
    if not columns:
        reasons = "; ".join(f"{name!r}: {why}" for name, why in carried[:4])
        doubts = table.text.file.dialect.doubts if table.text else ()
        found = "".join(f"; {text}: {remedy}?" for text, remedy in doubts if remedy)
        raise DataError(f"{table.source}: none of its columns can be modelled ({reasons or 'there are none'}){found}")
    return TableSchema(tuple(columns), tuple(carried))


def check_width(names: Sequence[str], source: str) -> None:
    """Raise `DataError` for more columns than a model has, before any is looked at."""
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{source}: must have at most {MOST_COLUMNS:,} columns, got {len(names):,}: leave some out")


def merge_overrides(
    overrides: Mapping[str, Any] | None, missing: Mapping[str, Sequence[Any]] | None
) -> Mapping[str, Any] | None:
    """What is asked of columns, with further values that stand for missing."""
    if not missing:
        return overrides
    columns = dict((overrides or {}).get("columns", {}))
    for name, values in missing.items():
        fields = dict(columns.get(name, {}))
        columns[name] = {**fields, "missing": [*fields.get("missing", ()), *values]}
    return {**(overrides or {}), "columns": columns}


def as_texts(overrides: Mapping[str, Any] | None) -> frozenset[str]:
    """The columns that are to be read as text, whatever they look like."""
    columns = overrides.get("columns", {}) if isinstance(overrides, Mapping) else {}
    asked = columns.items() if isinstance(columns, Mapping) else ()
    fields_of = {name: fields for name, fields in asked if isinstance(fields, Mapping)}
    return frozenset(
        name
        for name, fields in fields_of.items()
        if fields.get("kind") in ("category", "carried") or "format" in fields
    )


def as_asked(table: Table, overrides: Mapping[str, Any] | None) -> Table:
    """The table, with what is asked of its columns, which is then in no doubt."""
    return replace(table, asked=(overrides or {}).get("columns", {}))


def find_doubts(table: Table, schema: TableSchema) -> list[Doubt]:
    """What in a table may be meant otherwise than `schema` takes it, from all of its columns; those not modelled last.

    What the user asked of a column, or said of the decimal mark, is not doubted.
    """
    doubts = [Doubt(table.source, *doubt) for doubt in table.doubts]
    for column, at in zip(schema.columns, table.places(schema), strict=True):
        place = f"column {column.name!r}"
        values, asked = table.arrow.column(at), table.asked.get(column.name, {})
        if column.sentinels and is_text(values.type) and "missing" not in asked:
            count = pc.sum(pc.is_in(values, pa.array(list(map(str, column.sentinels)), values.type))).as_py()
            if count:
                words, often = " ".join(map(repr, column.sentinels)), "once" if count == 1 else f"{count:,} times"
                doubts.append(Doubt(place, f"{words}, {often}, is taken for missing"))
        if column.kind in ("real", "integer"):
            doubts += [Doubt(place, text, remedy) for text, remedy in _strays(column, table.cells_of(column, at))]
        if column.kind == "category" and "kind" not in asked and is_text(values.type):
            doubts += [Doubt(place, text) for text in _several_units(list(map(str, column.categories)))]
        if column.hashed:
            count = len(column.categories)
            doubts.append(
                Doubt(place, f"only the {count} most frequent of its categories are modelled, others as one of them")
            )
        if column.spelling and "format" not in asked:
            doubts += [Doubt(place, text, remedy) for text, remedy in _other_readings(column, values, table.text)]
    return doubts + schema.doubts()


def _strays(column: Column, cells: np.ndarray) -> list[tuple[str, str]]:
    """Values that stand apart from all others, and come again."""
    values, counts = np.unique(cells[~np.isnan(cells)], return_counts=True)
    found = []
    for at, inside in ((0, values[1:]), (-1, values[:-1])):
        if len(inside) < 3 or counts[at] < 3:
            continue
        gap = float(np.abs(values[at] - inside[[0, -1]]).min())
        shown = f"{values[at]:g}"
        coded = set(shown.strip("-")) == {"9"} or (values[at] == -1 and inside[0] >= 0)
        if gap > float(np.ptp(inside)) * (0.0 if coded and values[at] < 0 <= inside[0] else 0.5 if coded else 2.0):
            found.append(
                (
                    f"{shown} stands apart from all else, {counts[at]:,} times: missing?",
                    f"`missing` {column.name}={shown}",
                )
            )
    return found


def _other_readings(column: Column, values: pa.ChunkedArray, text: CsvText | None) -> list[tuple[str, str]]:
    """Other ways in which a column's cells can be read, which were read from `text`."""
    dialect = text.file.dialect if text else None
    texts = blank(plain(values), column.sentinels).unique().drop_null().cast(pa.large_string())
    if column.kind == "datetime":
        stamps = find_stamps(texts) if is_text(values.type) else []
        others = [stamp.pattern for stamp in stamps if stamp.pattern != column.spelling]
        remedy = json.dumps({"columns": {column.name: {"format": others[0]}}}) if others else ""
        return (
            [(f"dates are taken as {column.spelling}, and may be {others[0]}", f"`schema` {remedy}")] if others else []
        )
    if dialect and dialect.settled:
        return []
    if not is_text(values.type):
        pointed = dialect is not None and dialect.separator != "," and dialect.decimal == "."
        found = pointed and column.kind == "real" and column.spelling == "0.000" and column.high < 1000
        return [("three digits after each . are taken for decimals", "`decimal` ,")] if found else []
    _, doubtful = find_numbers(texts)
    if not doubtful:
        return []
    mark = NumberSpelling.of(column.spelling).decimal
    shown, other = texts[0].as_py(), "." if mark == "," else ","
    return [(f"{shown} is taken with {mark!r} as the decimal mark", f"`decimal` {other}")]


def _check_overrides(overrides: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    kinds = (*get_args(Kind), "carried")
    columns = overrides.get("columns", {}) if isinstance(overrides, Mapping) else None
    if not isinstance(columns, Mapping) or set(overrides) - {"columns"}:
        raise UsageError(
            '`schema` must hold {"columns": {NAME: {"kind": …, "missing": […], "format": …}}} and nothing else'
        )
    for name, fields in columns.items():
        if name not in names:
            raise UsageError(
                f"`schema` or `missing`: there is no column {name!r}; there are {', '.join(map(repr, names[:12]))}"
            )
        if not isinstance(fields, Mapping) or (unknown := set(fields) - {"kind", "missing", "format"}):
            got = repr(sorted(unknown)[0]) if isinstance(fields, Mapping) else repr(fields)
            raise UsageError(f"`schema`: column {name!r} may have 'kind', 'missing' and 'format', got {got}")
        if "kind" in fields and fields["kind"] not in kinds:
            raise UsageError(
                f"`schema`: column {name!r}: kind must be one of {', '.join(kinds)}, got {fields['kind']!r}"
            )
        missing = fields.get("missing", [])
        if not isinstance(missing, list | tuple) or not all(isinstance(value, str | int | float) for value in missing):
            raise UsageError(f"`schema`: column {name!r}: missing must be a list of values, got {missing!r}")
    return {name: dict(fields) for name, fields in columns.items()}


def _infer_column(name: str, values: pa.ChunkedArray, asked: dict[str, Any], table: Table) -> Column:
    if asked.get("kind") == "carried":
        raise _Carried(_ASKED)
    sentinels = tuple(asked.get("missing", ()))
    coded = pt.is_dictionary(values.type)
    if types := object_types(values.type):
        raise _Carried(f"its cells are {types}")
    if pt.is_nested(values.type) or not _is_scalar(values.type.value_type if coded else values.type):
        raise _Carried(f"its type {values.type} is not modelled")
    values = blank(plain(values), sentinels)
    if pt.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    if values.null_count == len(values):
        raise _Carried("all values are missing")
    texts = is_text(values.type) and not coded and asked.get("kind") != "category"
    if texts and not sentinels:
        sentinels = _lone_words(values)
        values = blank(values, sentinels)
    spelled = _spelled(name, values, asked, table.text) if texts or pt.is_integer(values.type) else None
    if spelled:
        kind, spelling = spelled
        dtype = "string" if texts else str(values.type)
    else:
        spelling = table.text.spellings.get(name, "") if table.text else ""
        if sentinels and is_text(values.type) and "kind" not in asked:
            texts, values = values.unique().drop_null(), _as_numbers(values)
            spelling = spelling_of_typed(texts, values.type) if is_number(values.type) else ""
        kind = asked.get("kind") or _guess(name, values, coded)
        if kind == "category":
            return _category(name, values, sentinels, "kind" in asked, table)
        dtype, spelling = str(_type(values, kind)), spelling if _suits(kind, spelling) else ""
    column = Column(name, kind, dtype, sentinels=sentinels, spelling=spelling)
    return _measure(column, values, encode_column(values, column, table.source, table.row_name, _ASKED), table)


def _lone_words(texts: pa.ChunkedArray) -> tuple[str, ...]:
    """The text among numbers or dates that is none, which so stands for missing; several only if they say that."""
    distinct = texts.unique().drop_null()
    words = distinct.filter(pc.invert(pc.match_substring_regex(distinct, r"\d")))
    others = distinct.filter(pc.match_substring_regex(distinct, r"\d"))
    known = [word for word in words.to_pylist() if _NOTHING.fullmatch(word.strip()) or not word.strip(_MARKS)]
    if not 1 <= len(words) <= max(len(known), 1) or len(others) < 2 or (not known and len(words[0].as_py()) < 3):
        return ()
    typed = find_numbers(others)[0] or find_stamps(others) or find_durations(others)
    return tuple(sorted(words.to_pylist())) if typed else ()


def _spelled(
    name: str, values: pa.ChunkedArray, asked: dict[str, Any], text: CsvText | None
) -> tuple[Kind, str] | None:
    """The kind and the spelling of numbers and dates that are not written plainly."""
    texts = values.unique().drop_null().cast(pa.large_string())
    kind, pattern = asked.get("kind"), asked.get("format")
    if pattern is not None:
        stamp = "%" in pattern and not re.search("[0#]", pattern)
        met: Kind = "datetime" if stamp else kind or _number_kind(spelling_of("real", pattern))
        others = texts.filter(spelling_of(met, pattern).parse(texts).is_null())
        if len(others):
            raise DataError(f"column {name!r}: must be written as {pattern} {_ASKED}, got {others[0].as_py()[:80]!r}")
        return met, pattern
    if pt.is_integer(values.type):
        ends = pc.min_max(values).as_py()
        if kind in (None, "datetime") and _EARLIEST <= ends["min"] and ends["max"] <= _LATEST and len(texts) > 2:
            return ("datetime", _COMPACT) if StampSpelling(_COMPACT).parse(texts).null_count == 0 else None
        return None
    numbers, _ = find_numbers(texts, text.file.dialect.decimal if text else "")
    if numbers and not numbers.is_plain and kind in (None, "real", "integer"):
        return kind or _number_kind(numbers), numbers.pattern
    if kind in (None, "datetime") and (stamps := find_stamps(texts)):
        return "datetime", stamps[0].pattern
    durations = find_durations(texts) if kind in (None, "real", "integer") else None
    return (kind or _number_kind(durations), durations.pattern) if durations else None


def _number_kind(spelling: Spelling) -> Kind:
    whole = isinstance(spelling, NumberSpelling | DurationSpelling) and spelling.most == 0
    return "integer" if whole else "real"


def _suits(kind: Kind, spelling: str) -> bool:
    """Whether a typed column's spelling is one of this kind."""
    if not spelling or kind == "category":
        return False
    try:
        return spelling_of(kind, spelling) is not None
    except UsageError:
        return False


def _is_scalar(kind: pa.DataType) -> bool:
    return (
        pt.is_null(kind)
        or pt.is_boolean(kind)
        or is_number(kind)
        or is_text(kind)
        or (pt.is_temporal(kind) and not pt.is_interval(kind))
    )


def _as_numbers(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as integers or reals if all of it is, else as it is."""
    for kind in (pa.int64(), pa.float64()):
        try:
            return pc.utf8_trim_whitespace(texts).cast(kind)
        except pa.ArrowInvalid:
            continue
    return texts


def _type(values: pa.ChunkedArray, kind: Kind) -> pa.DataType:
    """The column's own type, or what its text stands for."""
    if not is_text(values.type):
        return values.type
    if kind == "datetime":
        try:
            return values.cast(pa.date32()).type
        except pa.ArrowInvalid:
            return pa.timestamp("us")
    return {"integer": pa.int64(), "boolean": pa.bool_()}.get(kind, pa.float64())


def _guess(name: str, values: pa.ChunkedArray, coded: bool) -> Kind:
    kind = values.type
    if pt.is_temporal(kind):
        return "datetime"
    if is_text(kind) or (coded and not pt.is_decimal(kind)):
        return "category"
    if pt.is_boolean(kind):
        return "boolean"
    if not pt.is_integer(kind):
        return "real"
    if re.fullmatch(r"__index_level_\d+__", name):
        raise _Carried("index of a pandas DataFrame")
    present = len(values) - values.null_count
    if _is_key(name) and present > 1 and pc.count_distinct(values).as_py() == present:
        raise _Carried("identifier: all values differ")
    return "category" if _are_codes(values) else "integer"


def _are_codes(values: pa.ChunkedArray) -> bool:
    """Whether integers are few, often, and far from all in their range: they name something rather than count."""
    met = np.sort(values.unique().drop_null().to_numpy())
    if not 2 < len(met) <= min(_FEW, (len(values) - values.null_count) / 10):
        return False
    steps = (met - met[0]) // max(np.gcd.reduce(met - met[0]), 1)
    return bool(2 * (int(steps[-1]) + 1) >= 3 * len(met))


def _is_key(name: str) -> bool:
    lower = name.strip().lower()
    return lower in ("", "id", "index", "uuid", "rowid", "unnamed: 0") or lower.endswith("_id")


def _category(name: str, values: pa.ChunkedArray, sentinels: tuple[Category, ...], asked: bool, table: Table) -> Column:
    counts = values.drop_null().value_counts()
    distinct, present = len(counts), len(values) - values.null_count
    if not asked and distinct > max(_FEW, len(values) / (2 if distinct > MOST_CATEGORIES else 4)):
        texts = counts.field("values").slice(0, _TRIED).to_pylist() if is_text(values.type) else []
        if typed := _nearly_typed(name, counts) if texts else "":
            raise _Carried(typed)
        for reason in _several_units(texts):
            raise _Carried(reason)
        if distinct == present:
            raise _Carried("identifier: all values differ")
        raise _Carried(f"{'free text:' if is_text(values.type) else 'category of'} {distinct:,} different values")
    kept = pt.is_boolean(values.type) or pt.is_integer(values.type) or pt.is_floating(values.type)
    met = [value if kept else str(value) for value in counts.field("values").to_pylist()]
    order = sorted(zip((-count for count in counts.field("counts").to_pylist()), map(str, met), met, strict=True))
    categories = tuple(value for _, _, value in order[:MOST_CATEGORIES])
    dtype = "string" if is_text(values.type) else str(values.type)
    high, hashed = float(len(categories) - 1), distinct > len(categories)
    return Column(name, "category", dtype, categories, high=high, sentinels=sentinels, hashed=hashed)


def _several_units(texts: list[str]) -> list[str]:
    """What to say of texts that are numbers of several units, if they are."""
    units = find_units(texts)
    shown = ", ".join(unit or "none" for unit in units)
    return [f"its numbers are in several units ({shown}): text, unless all are brought to one"] if units else []


def _nearly_typed(name: str, counts: pa.StructArray) -> str:
    """What to say of a column of texts, with their `counts`, of which all but few are numbers or dates; else nothing."""
    texts, times = pa.chunked_array([counts.field("values")]), counts.field("counts").to_numpy()
    for start in range(0, min(len(texts), _TRIED), _TRIED // 4):
        sample = texts.slice(start, _TRIED // 4)
        numbers, _ = find_numbers(sample)
        for what, spelling in [("numbers", numbers), *(("dates", stamp) for stamp in find_stamps(sample)[:1])]:
            strange = np.asarray(spelling.parse(texts).is_null()) if spelling else np.ones(len(texts), bool)
            if 0 < times[strange].sum() <= _FEW_STRANGE * times.sum():
                odd = texts.filter(pa.array(strange)).to_pylist()
                shown = ", ".join(repr(text[:40]) for text in odd[:3]) + (" …" if len(odd) > 3 else "")
                return (
                    f"all but {times[strange].sum():,} of its {times.sum():,} cells are {what}, not {shown}; mend them, or "
                    f"`missing` {name}={'|'.join(odd[:3])}"
                )
    return ""


def _measure(column: Column, values: pa.ChunkedArray, cells: np.ndarray, table: Table) -> Column:
    """The column with its statistics, from its encoded cells `(n,)`."""
    met = cells[~np.isnan(cells)]
    low, high = float(met.min()), float(met.max())
    if pt.is_integer(values.type) and max(-low, high) >= EXACT:
        raise _Carried("its integers are beyond 2^53")
    if max(-low, high) > _FARTHEST:
        raise _Carried(f"its numbers are beyond {_FARTHEST:g}")
    if column.kind == "integer" and len(broken := np.flatnonzero(~np.isnan(cells) & (cells != np.rint(cells)))):
        raise DataError(
            f"{table.source}: column {column.name!r}, {table.row_name(broken[0])}: must be an integer {_ASKED}, "
            f"got {cells[broken[0]]:g}"
        )
    if 0 < high - low < _LEAST_SPREAD:
        raise _Carried(f"its numbers are within {_LEAST_SPREAD:g} of each other")
    column = replace(column, low=low, high=high)
    if column.kind == "boolean":
        return column
    sample = met[:: -(-len(met) // _SAMPLE)]
    step = _whole_step(sample) if column.is_whole else _step(sample, values.type)
    return replace(column, centre=float(np.median(sample)), spread=_spread(sample), step=step)


def _spread(numbers: np.ndarray) -> float:
    quartiles = np.percentile(numbers, [25, 75])
    spreads = float(quartiles[1] - quartiles[0]) / 1.349, float(numbers.std())
    return next((spread for spread in spreads if spread >= _LEAST_SPREAD), 1.0)


def _whole_step(numbers: np.ndarray) -> float:
    """The greatest whole number that divides all."""
    return float(max(np.gcd.reduce(np.abs(numbers).astype(np.int64)), 1))


def _step(numbers: np.ndarray, kind: pa.DataType) -> float:
    """The greatest of a few decimal fractions of which all are multiples to within their type's rounding, or 0."""
    precision = np.finfo(kind.to_pandas_dtype() if pt.is_floating(kind) else np.float64).eps
    error = 4 * float(precision) * np.abs(numbers)
    for parts in _STEPS:
        if error.max(initial=0.0) * parts > 0.01:
            return 0.0
        if (np.abs(np.rint(numbers * parts) / parts - numbers) <= error).all():
            return 1 / parts
    return 0.0
