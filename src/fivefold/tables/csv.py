"""CSV as this package reads and writes it: UTF-8, and empty, NA, NaN and null are missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from pyarrow import types as pt

from fivefold.errors import DataError
from fivefold.tables.cells import FITTED, arrow_type, is_number, is_text
from fivefold.tables.schema import Column, TableSchema

MISSING = ("", "NA", "NaN", "nan", "null", "NULL")
_BLOCK_BYTES = 1 << 22
_CONVERSION = re.compile(r"In CSV column #(\d+): (?:Row #(\d+): )?CSV conversion error to (.+?): (.*)", re.DOTALL)
_RAGGED = re.compile(r"CSV parse error: (?:Row #(\d+): )?Expected (\d+) columns, got (\d+)")


class CsvFile:
    """A CSV or TSV file, plain or gzipped; its first part is looked at.

    With a `schema` the types of columns come from it, and those that it doesn't model stay text.

    Raises `DataError` if it can't be read.
    """

    def __init__(self, path: Path, schema: TableSchema | None = None) -> None:
        self.path = path
        self._separator = separator(path)
        self._types: dict[str, pa.DataType] = {}
        self._fitted = schema is not None
        self._single = False
        with self._open(), self._stream() as stream:
            if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise DataError(f"{path}: must be UTF-8 text, got UTF-16")
        with self._open(), self._stream() as stream, csv.open_csv(stream, *self._options()) as reader:
            met = reader.schema
            self.names: tuple[str, ...] = tuple(met.names)
        self._single = len(self.names) == 1
        if schema is not None:
            columns = {column.name: column for column in schema.columns}
            self._types = {field.name: _csv_type(columns.get(field.name), field.type) for field in met}

    def read(self) -> pa.Table:
        """All of it; the types of columns, if not the schema's, come from all rows."""
        with self._open(), self._stream() as stream:
            table = csv.read_csv(stream, *self._options())
        self._check(table.schema)
        return table

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Part by part, of any number of rows; the types of columns, if not the schema's, come from the first."""
        with self._open(), self._stream() as stream, csv.open_csv(stream, *self._options()) as reader:
            self._check(reader.schema)
            yield from reader

    def _options(self) -> tuple[csv.ReadOptions, csv.ParseOptions, csv.ConvertOptions]:
        # on one thread, so that errors know their row
        return (
            csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            csv.ParseOptions(delimiter=self._separator, newlines_in_values=True, ignore_empty_lines=not self._single),
            csv.ConvertOptions(null_values=list(MISSING), strings_can_be_null=True, column_types=self._types),
        )

    def _stream(self) -> pa.NativeFile:
        gzipped = self.path.name.lower().endswith(".gz")
        return pa.input_stream(self.path, compression="gzip" if gzipped else None)

    def _check(self, schema: pa.Schema) -> None:
        for field in schema:
            if pt.is_binary(field.type):
                raise DataError(f"{self.path}: must be UTF-8 text, got other bytes in column {field.name!r}")

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Arrow's errors as ours."""
        try:
            yield
        except UnicodeDecodeError:
            raise DataError(f"{self.path}: must be UTF-8 text, got other bytes in the names of columns") from None
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path}: {self._explain(str(error))}") from None

    def _explain(self, error: str) -> str:
        if "Empty CSV file" in error:
            return "has no rows"
        if ragged := _RAGGED.search(error):
            number, expected, got = ragged.groups()
            return f"{_row(number)}must have {expected} columns, got {got}"
        if conversion := _CONVERSION.search(error):
            at, number, kind, got = conversion.groups()
            place = f"column {self.names[int(at)]!r}, {_row(number)}"
            if "UTF8" in got:
                return f"{place}must be UTF-8 text, got other bytes"
            value = got.removeprefix("invalid value ").strip()[:80]
            return f"{place}must be {_named(kind)} {FITTED if self._fitted else 'like the rows before'}, got {value}"
        return f"can't be read as CSV: {error.splitlines()[0] if error else 'unknown error'}"


def separator(path: Path) -> str:
    """What stands between the cells of a file of this ending."""
    return "\t" if path.name.lower().removesuffix(".gz").endswith(".tsv") else ","


def write_csv(file: BinaryIO, table: pa.Table, separator: str, header: bool) -> None:
    """Append a table's rows; floats are as short as they can be, missing cells empty, only what must be is quoted.

    Raises `DataError` for a column whose type has no text.
    """
    if header:
        names = _quoted(pa.chunked_array([table.column_names], pa.large_string()), separator)
        file.write(separator.join(names.to_pylist()).encode() + b"\n")
    for batch in table.to_batches(max_chunksize=1 << 16):
        columns = [_texts(column, name, separator) for name, column in zip(batch.schema.names, batch, strict=True)]
        lines = pc.binary_join_element_wise(*columns, pa.scalar(separator, pa.large_string())).to_pylist()
        file.write("".join(f"{line}\n" for line in lines).encode())


def _texts(column: pa.Array, name: str, separator: str) -> pa.Array:
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pt.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    written = is_text(column.type)
    try:
        texts = column.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"column {name!r} of type {column.type} can't be written as CSV; give .parquet") from None
    return pc.fill_null(_quoted(texts, separator) if written else texts, "")


def _quoted(texts: pa.Array | pa.ChunkedArray, separator: str) -> pa.Array | pa.ChunkedArray:
    special = pc.match_substring_regex(texts, f'[{separator}"\r\n]')
    if not pc.any(special).as_py():
        return texts
    doubled = pc.replace_substring(texts, '"', '""')
    quote = pa.scalar('"', pa.large_string())
    return pc.if_else(
        special, pc.binary_join_element_wise(quote, doubled, quote, pa.scalar("", pa.large_string())), texts
    )


def _csv_type(column: Column | None, met: pa.DataType) -> pa.DataType:
    """How to read a column of which the first rows look like `met`."""
    if column is None:
        return pa.string()
    if column.kind == "category":
        return met if is_number(met) and not isinstance(column.categories[0], str) else pa.string()
    if any(isinstance(sentinel, str) for sentinel in column.sentinels):
        return pa.string()
    if column.kind == "real":
        return pa.float64()
    if column.kind == "integer":
        return pa.float64() if pt.is_floating(met) else pa.int64()
    if column.kind == "boolean":
        return met if pt.is_integer(met) else pa.bool_()
    if pt.is_temporal(met):
        return met
    return arrow_type(column.dtype) if pt.is_null(met) else pa.string()


def _row(number: str | None) -> str:
    return "" if number is None else f"row {int(number) - 2}: "  # Arrow counts the header, and from 1


def _named(kind: str) -> str:
    names = {"double": "a number", "int64": "an integer", "bool": "true or false", "string": "text", "null": "empty"}
    return names.get(kind, "a date or time")
