"""One column between Arrow and encoded cells; see `Column` for what encoded cells are."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from fivefold.errors import DataError, ModelError
from fivefold.tables.durations import find_durations
from fivefold.tables.schema import Category, Column
from fivefold.tables.spelling import NumberSpelling, Spelling, StampSpelling, find_numbers, find_stamps, spelling_of

RowName = Callable[[int], str]
FITTED = "as the model was fitted"
EXACT = float(1 << 53)  # integers beyond are not all float64
_MUST_BE = {
    "real": "a number",
    "integer": "a number",
    "datetime": "a date or time",
    "boolean": "true or false",
    "category": "a category",
}


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type called `name`; raises `ModelError` if there is none."""
    try:
        if zoned := re.fullmatch(r"timestamp\[(s|ms|us|ns), tz=(.+)\]", name):
            return pa.timestamp(*zoned.groups())
        if decimal := re.fullmatch(r"decimal(32|64|128|256)\((\d+), (-?\d+)\)", name):
            bits, precision, scale = map(int, decimal.groups())
            return getattr(pa, f"decimal{bits}")(precision, scale)
        return pa.type_for_alias(name)
    except (ValueError, AttributeError) as error:
        raise ModelError(f"the model's schema is damaged: {name!r} is no column type ({error})") from None


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this Arrow type are text."""
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this Arrow type are numbers."""
    return bool(pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind))


def plain(array: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values without a dictionary, and text as `large_string`."""
    if pt.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    return array.cast(pa.large_string()) if is_text(array.type) else array


def objects(column: Iterable[Any]) -> pa.Array:
    """A column of Python objects that Arrow has no one type for: of them it only keeps what types they are of."""
    cells = list(column)
    present = (cell for cell in cells if cell is not None and not (isinstance(cell, float) and np.isnan(cell)))
    types = list(dict.fromkeys(type(cell).__name__ for cell in present))
    return pa.StructArray.from_arrays([pa.nulls(len(cells))] * len(types), types)


def object_types(kind: pa.DataType) -> str:
    """The types of the objects in such a column, in words; empty for any other."""
    if not pt.is_struct(kind) or not all(pt.is_null(field.type) for field in kind.fields):
        return ""
    return " and ".join(field.name for field in kind.fields)


def blank(array: pa.ChunkedArray, sentinels: tuple[Category, ...]) -> pa.ChunkedArray:
    """The `plain` array with nulls where it is one of the sentinels; those of other types are not met."""
    for sentinel in sentinels:
        whole = isinstance(sentinel, float) and sentinel.is_integer()
        try:
            value = pa.array([str(int(sentinel) if whole else sentinel)]).cast(array.type)[0]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        array = pc.if_else(pc.fill_null(pc.equal(array, value), False), pa.scalar(None, array.type), array)
    return array


def encode_column(
    array: pa.ChunkedArray, column: Column, source: str, row_name: RowName = "row {}".format, why: str = FITTED
) -> np.ndarray:
    """Encoded cells `(n,)` of one column; a category that was not met gets the code `len(column.categories)`.

    `row_name` says what to call a row in messages, `why` what asks for the column's kind.

    Raises `DataError`, naming column and row, for what is of another kind, or infinite.
    """
    if pt.is_nested(array.type) and array.null_count < len(array):
        got = object_types(array.type) or array.type
        raise DataError(f"{source}: column {column.name!r}: must be {_MUST_BE[column.kind]} {why}, got {got}")
    array = _as_spelled(blank(plain(array), column.sentinels), column)
    if array.null_count == len(array):
        return np.full(len(array), np.nan)
    if column.kind == "category":
        return _codes(array, column)
    target = {"datetime": count_type(column), "boolean": pa.bool_()}.get(column.kind, pa.float64())
    if column.kind == "boolean" and is_number(array.type):
        target = pa.float64()
    if is_text(array.type):
        array = pc.utf8_trim_whitespace(array)
    try:
        if not _convertible(array.type, column.kind):
            raise pa.ArrowInvalid
        converted = array.cast(target, safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        _refuse(array, target, column, source, row_name, why)
    numbers = _numbers(converted)
    if len(bad := np.flatnonzero(np.isinf(numbers))):
        raise DataError(
            f"{source}: column {column.name!r}, {row_name(bad[0])}: must be finite, got {numbers[bad[0]]:g}"
        )
    if column.kind == "boolean" and len(bad := np.flatnonzero(~np.isnan(numbers) & (numbers != 0) & (numbers != 1))):
        _raise(array[int(bad[0])].as_py(), column, source, row_name(bad[0]), why)
    return numbers


def decode_column(column: Column, cells: np.ndarray, target: pa.DataType) -> pa.Array:
    """The inverse, as an array of the Arrow type `target`; null for NaN and for categories that were not met.

    Numbers are rounded if the column or `target` is of whole ones.
    """
    missing = np.isnan(cells)
    if pt.is_null(target):
        return pa.nulls(len(cells))
    if column.kind == "category":
        missing |= cells >= len(column.categories)
        return _categories(column, np.where(missing, 0, cells).astype(np.int64), missing, target)
    cells = np.where(missing, 0.0, cells)
    if column.spelling and (is_text(target) or (column.kind == "datetime" and pt.is_integer(target))):
        own = count_type(column)
        values = decode_column(replace(column, spelling="", dtype=str(own)), np.where(missing, np.nan, cells), own)
        return spelling_of(column.kind, column.spelling).write(values).cast(target)
    if column.kind == "boolean":
        return pa.array(cells >= 0.5, mask=missing).cast(target)
    if column.is_whole or pt.is_integer(target):
        limits = np.iinfo(target.to_pandas_dtype()) if pt.is_integer(target) else np.iinfo(np.int64)
        cells = np.clip(np.rint(cells), max(limits.min, -(2**63)), min(limits.max, 2**63 - 1024))
    if column.kind == "datetime":
        own = count_type(column)
        count = pa.array(cells.astype(np.int64), mask=missing).cast(_count_type(own))
        return count.cast(own).cast(target, safe=False)
    array = pa.array(cells, mask=missing)
    if is_text(target) and column.kind == "integer":
        array = array.cast(pa.int64())
    return array.cast(target, safe=False)


def count_type(column: Column) -> pa.DataType:
    """The type whose counts a column's encoded dates are; of others bool or float64."""
    if column.kind != "datetime":
        return pa.bool_() if column.kind == "boolean" else pa.float64()
    fitted = arrow_type(column.dtype)
    return StampSpelling(column.spelling).kind if column.spelling and not pt.is_temporal(fitted) else fitted


def _as_spelled(array: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Texts that are spelled as the column's are, or in another way that is known, as what they stand for."""
    compact = column.kind == "datetime" and pt.is_integer(array.type)
    if column.kind == "category" or not (is_text(array.type) or compact) or array.null_count == len(array):
        return array
    texts = array.cast(pa.large_string())
    spelling = spelling_in(texts.unique().drop_null(), column)
    return spelling.parse(texts) if spelling else array


def spelling_in(texts: pa.ChunkedArray, column: Column) -> Spelling | None:
    """How distinct texts, without nulls, are written that are all a column's values: as in the fit, or in another known way."""
    spellings: list[Spelling] = [spelling_of(column.kind, column.spelling)] if column.spelling else []
    if column.kind == "datetime":
        spellings += find_stamps(texts)
    elif column.kind in ("real", "integer"):
        numbers, _ = find_numbers(texts)
        own = spellings[0].unit if spellings and isinstance(spellings[0], NumberSpelling) else ""
        numbers = numbers if numbers and numbers.unit in ("", own) else None
        spellings += [found for found in (numbers, find_durations(texts)) if found]
    return next((spelling for spelling in spellings if not spelling.parse(texts).null_count), None)


def _count_type(kind: pa.DataType) -> pa.DataType:
    return pa.int32() if pt.is_date32(kind) or pt.is_time32(kind) else pa.int64()


def _numbers(array: pa.ChunkedArray) -> np.ndarray:
    """`(n,)` float64 of numbers, booleans and times, NaN for null."""
    if pt.is_temporal(array.type):
        array = array.cast(_count_type(array.type))
    return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(), np.float64)


def _codes(array: pa.ChunkedArray, column: Column) -> np.ndarray:
    """Places `(n,)` of the values in a column's categories; what is the same number or reads the same is the same."""
    encoded = array.combine_chunks().dictionary_encode()
    by_value = {value: float(code) for code, value in enumerate(column.categories)}
    by_text = {_text(value): code for value, code in by_value.items()}
    codes = [
        np.nan if value != value else by_value.get(value, by_text.get(_text(value), _other(value, column)))
        for value in encoded.dictionary.to_pylist()
    ]
    at = encoded.indices.fill_null(len(codes)).to_numpy()
    return np.asarray(np.array([*codes, np.nan])[at])


def _other(value: Any, column: Column) -> float:
    """The code of a value that is none of the column's categories."""
    count = len(column.categories)
    return float(zlib.crc32(_text(value).encode()) % count if column.hashed else count)


def _text(value: Any) -> str:
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _categories(column: Column, codes: np.ndarray, missing: np.ndarray, target: pa.DataType) -> pa.Array:
    kind = target.value_type if pt.is_dictionary(target) else target
    values = pa.array(list(column.categories))
    try:
        values = values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        values = pa.array([_text(category) for category in column.categories]).cast(kind)
    if not pt.is_dictionary(target):
        return values.take(pa.array(codes, mask=missing))
    indices = pa.array(codes, mask=missing).cast(target.index_type)
    return pa.DictionaryArray.from_arrays(indices, values, ordered=target.ordered)


def _convertible(given: pa.DataType, kind: str) -> bool:
    if pt.is_null(given) or is_text(given):
        return True
    if kind == "datetime":
        return pt.is_temporal(given) and not pt.is_interval(given)
    return pt.is_boolean(given) or is_number(given)


def can_hold(given: pa.DataType, column: Column) -> bool:
    """Whether a column of nothing but nulls of this type can take a column's values."""
    if is_text(given):
        return True
    own = arrow_type(column.dtype)
    if column.kind == "category":
        return bool((given.value_type if pt.is_dictionary(given) else given) == own)
    if column.kind == "datetime":
        return bool(given.id == own.id) or all(pt.is_timestamp(kind) or pt.is_date(kind) for kind in (given, own))
    if column.kind == "boolean":
        return bool(pt.is_boolean(given))
    return pt.is_floating(given) or pt.is_decimal(given) or (column.kind == "integer" and pt.is_integer(given))


def _refuse(
    array: pa.ChunkedArray, target: pa.DataType, column: Column, source: str, row_name: RowName, why: str
) -> NoReturn:
    """Raise for the first value that isn't a `target`."""
    for value in array.unique().drop_null():
        try:
            if not _convertible(array.type, column.kind):
                raise pa.ArrowInvalid
            value.cast(target, safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            _raise(value.as_py(), column, source, row_name(pc.index(array, value).as_py()), why)
    raise DataError(f"{source}: column {column.name!r}: must be {_MUST_BE[column.kind]} {why}, got {array.type}")


def _raise(value: Any, column: Column, source: str, row: str, why: str) -> NoReturn:
    shown = repr(value) if isinstance(value, str | bool) else str(value)
    raise DataError(f"{source}: column {column.name!r}, {row}: must be {_MUST_BE[column.kind]} {why}, got {shown[:80]}")
