"""Tables as separated text: read record by record, their cells typed, and written; what spells a missing cell is pandas' list."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from fivefold.errors import DataError
from fivefold.inputs import open_input
from fivefold.tables.cells import FITTED, arrow_type, blank, is_number, is_text, spelling_in
from fivefold.tables.dialect import SAMPLE, find_dialect
from fivefold.tables.records import RecordBlock, Records, count_lines, quoted, scan
from fivefold.tables.schema import Column, TableSchema
from fivefold.tables.spelling import StampSpelling, spelling_of_typed

MISSING = (
    *("", "NA", "NaN", "nan", "null", "NULL", "None", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "-NaN", "-nan"),
    *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
_CHUNK = 1 << 22
_LONGEST_RECORD = 1 << 26
_SPELLED_BY = 10_000  # cells, to see how a column's are written
_FIRST = 1000
_LADDER = (
    pa.int64(),
    pa.bool_(),
    pa.date32(),
    pa.time32("s"),
    *(pa.timestamp(unit, zone) for unit in ("s", "ns") for zone in (None, "UTC")),
    pa.float64(),
)


@dataclass(frozen=True)
class CsvText:
    """What a table was read from.

    Attributes
    ----------
    file
    spellings : how typed columns are written, by name
    block : the rows as they stand there; None if all were read at once
    """

    file: CsvFile
    spellings: Mapping[str, str]
    block: RecordBlock | None = None


class CsvFile:
    """A file of separated text, whose first part is looked at.

    With a `schema` the types of columns come from it, and those that it doesn't model stay text; so do columns that are
    `texts`. Other parameters are those of `find_dialect`.

    Raises `DataError` if it can't be read.

    Attributes
    ----------
    names : of its columns
    dialect
    head : what stands before the first row, UTF-8
    """

    def __init__(
        self, path: Path, schema: TableSchema | None = None, texts: frozenset[str] = frozenset(), **dialect: Any
    ) -> None:
        self.path, self._schema, self._texts = path, schema, texts
        self._columns = {column.name: column for column in (schema.columns if schema else ())}
        with open_input(path) as file:
            sample = file.read(SAMPLE)
        self.dialect = find_dialect(path, sample, () if schema is None else schema.names, **dialect)
        self.head = b""
        self.names: tuple[str, ...] = ()
        self._types: dict[str, pa.DataType] = {}
        next(self.records(), None)  # finds names
        if not self.names:
            raise DataError(f"{path}: has no rows")

    def read(self) -> tuple[pa.Table, CsvText]:
        """All of it; the types of columns, if not the schema's, come from all rows."""
        parts = [pa.table([block.column(at) for at in range(len(self.names))], self.names) for block in self.records()]
        table = (
            pa.concat_tables(parts)
            if parts
            else pa.table({name: pa.array([], pa.large_string()) for name in self.names})
        )
        return self._typed(table.columns, 0), CsvText(self, self._spelled(table.columns))

    def blocks(self, rows: int) -> Iterator[tuple[pa.Table, CsvText]]:
        """`rows` at a time; the types of columns, if not the schema's, come from the first ones."""
        first = 0
        spellings: Mapping[str, str] | None = None
        for block in _regroup(self.records(), rows):
            texts = [pa.chunked_array([block.column(at)]) for at in range(len(self.names))]
            table = self._typed(texts, first)
            spellings = self._spelled(texts) if spellings is None else spellings
            yield table, CsvText(self, spellings, block)
            first += len(block)

    def row_name(self, row: int) -> str:
        """What to call a row, counted from 0, in messages: the line at which it begins, as editors count them."""
        before = count_lines(np.frombuffer(self.head, np.uint8))
        for block in self.records():
            if row < len(block):
                return f"line {before + count_lines(block.text[: block.starts[row, 0]]) + 1}"
            before, row = before + count_lines(block.text), row - len(block)
        raise IndexError(row)

    def recoded(self, text: bytes) -> bytes:
        """UTF-8 in the file's encoding."""
        return text if self.dialect.encoding == "utf-8" else text.decode().encode(self.dialect.encoding)

    def records(self) -> Iterator[RecordBlock]:
        """The rows as they stand there, some at a time."""
        dialect, rest, lines, named = self.dialect, b"", 0, False
        decoder = codecs.getincrementaldecoder(dialect.encoding)()
        with open_input(self.path) as file:
            file.read(len(dialect.mark))
            last = False
            while not last:
                data = file.read(_CHUNK)
                last = len(data) < _CHUNK
                waiting = lines + count_lines(np.frombuffer(rest, np.uint8))
                text = np.frombuffer(rest + self._decoded(decoder, data, last, waiting), np.uint8)
                blank = len(self.names) == 1
                records = scan(text, dialect.separator, dialect.comment, blank=blank, last=last)
                if not named and len(records.counts):
                    named, begin = True, self._name(text, records)
                    lines += count_lines(text[:begin])
                    text = text[begin:]
                    records = scan(text, dialect.separator, dialect.comment, blank=len(self.names) == 1, last=last)
                self._check(text, records, lines, last)
                lines += count_lines(text[: records.consumed])
                rest = text[records.consumed :].tobytes()
                if n := len(records.counts):
                    begins = np.append(0, records.begins[1:])
                    starts, ends = records.starts.reshape(n, -1), records.ends.reshape(n, -1)
                    yield RecordBlock(text[: records.consumed], starts, ends, begins)

    def _check(self, text: np.ndarray, records: Records, lines: int, last: bool) -> None:
        """Raise `DataError` for records that have not the table's columns, or no end, in a text after so many `lines`."""

        def where(begin: int) -> str:
            return f"{self.path}: line {lines + count_lines(text[:begin]) + 1}"

        if len(bad := np.flatnonzero(records.counts != len(self.names))):
            begin = int(records.begins[bad[0]])
            raise DataError(f"{where(begin)}: must have {len(self.names)} columns, got {records.counts[bad[0]]}")
        if last and records.consumed < len(text):
            raise DataError(f"{where(records.consumed)}: its quotes are not closed")
        if len(text) - records.consumed > _LONGEST_RECORD:
            raise DataError(f"{where(records.consumed)}: is longer than {_LONGEST_RECORD:,} bytes")

    def _name(self, text: np.ndarray, records: Records) -> int:
        """Take the names from the first record after the titles; where the rows begin."""
        at = min(self.dialect.titles, len(records.counts) - 1)
        begins = np.append(records.begins, records.consumed)
        cells = np.append(0, np.cumsum(records.counts))
        count = int(records.counts[at])
        if not self.dialect.header:
            self.names = self.names or tuple(f"x{column}" for column in range(count))
            self.head = text[: begins[at]].tobytes() if at else b""
            return int(begins[at]) if at else 0
        own = slice(cells[at], cells[at + 1])
        first = RecordBlock(text, records.starts[own][None], records.ends[own][None], records.begins[at : at + 1])
        names = [first.column(column)[0].as_py() for column in range(count)]
        if len(records.counts) > at + 1 and records.counts[at + 1] == count + 1 > 2:
            names.insert(0, "")  # as R names rows
        unnamed = [column for column, name in enumerate(names) if not name]
        for column in unnamed if len(unnamed) > 1 else ():
            names[column] = f"unnamed: {column}"
        self.names = tuple(names)
        self.head = text[: begins[at + 1]].tobytes()
        return int(begins[at + 1])

    def _decoded(self, decoder: codecs.IncrementalDecoder, data: bytes, last: bool, lines: int) -> bytes:
        """The next `data` as UTF-8, after so many `lines`; raises `DataError`."""
        try:
            return decoder.decode(data, last).encode()
        except UnicodeDecodeError as error:
            name, got = self.dialect.encoding.upper(), error.object[error.start]
            line = lines + count_lines(np.frombuffer(error.object[: error.start], np.uint8)) + 1
            raise DataError(
                f"{self.path}: must be {name} text, got the byte {got:#04x} in line {line}; give its `encoding`"
            ) from None

    def _typed(self, texts: list[pa.ChunkedArray], first: int) -> pa.Table:
        typed = []
        for name, column in zip(self.names, texts, strict=True):
            present = blank_missing(column)
            if name not in self._types:
                met = pa.string() if name in self._texts else infer_type(present, self.dialect.decimal)
                self._types[name] = met if self._schema is None else _fitted_type(self._columns.get(name), met)
            try:
                typed.append(convert(present, self._types[name]))
            except pa.ArrowException:
                self._refuse(name, present, first)
        return pa.table(typed, self.names)

    def _spelled(self, texts: list[pa.ChunkedArray]) -> dict[str, str]:
        spelled = {}
        for name, texts_of in zip(self.names, texts, strict=True):
            present = blank_missing(texts_of.slice(0, _SPELLED_BY)).drop_null().unique()
            if not is_text(self._types[name]):
                spelled[name] = spelling_of_typed(present, self._types[name])
            elif (column := self._columns.get(name)) and column.kind != "category":
                spelling = spelling_in(blank(present, column.sentinels).drop_null(), column)
                spelled[name] = spelling.pattern if spelling else ""
        return {name: spelling for name, spelling in spelled.items() if spelling}

    def _refuse(self, name: str, texts: pa.ChunkedArray, first: int) -> NoReturn:
        """Raise for the first text that is not of the column's type."""
        kind = self._types[name]
        for text in texts.unique().drop_null():
            try:
                convert(pa.chunked_array([[text.as_py()]], pa.large_string()), kind)
            except pa.ArrowException:
                row = self.row_name(first + pc.index(texts, text).as_py())
                like = FITTED if self._schema else "like the rows before"
                raise DataError(
                    f"{self.path}: column {name!r}, {row}: must be {_named(kind)} {like}, got {text.as_py()[:80]!r}"
                ) from None
        raise DataError(f"{self.path}: column {name!r}: must be {_named(kind)}")


def blank_missing(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Null for texts that spell a missing value."""
    missing = pc.is_in(pc.utf8_trim_whitespace(texts), pa.array(MISSING, texts.type))
    return pc.if_else(missing, pa.scalar(None, texts.type), texts)


def infer_type(texts: pa.ChunkedArray, decimal: str = ".") -> pa.DataType:
    """The first type that all can be; text for numbers of more digits than any number has here, or with marks of thousands."""
    if texts.null_count == len(texts):
        return pa.null()
    grouped = r"^\s*[+-]?\d{1,3}(\.\d{3})+\s*$" if decimal == "," else "^$"
    if pc.all(pc.match_substring_regex(texts, grouped)).as_py():
        return pa.string()
    start = pc.drop_null(texts.slice(0, _FIRST))[:1].to_pylist()
    number = bool(start) and re.fullmatch(r"\s*[+-]?(?:[2-9]|\d*\.\d+|\d{2,3})\s*", start[0])
    for kind in (pa.int64(), pa.float64()) if number else _LADDER:
        if pt.is_floating(kind) and pc.any(pc.match_substring_regex(texts, r"^\s*[+-]?\d{17,}\s*$")).as_py():
            continue
        try:
            for part in (texts.slice(0, _FIRST), texts):  # most types are refused soon
                convert(part, kind)
        except pa.ArrowException:
            continue
        return kind
    return pa.string()


def convert(texts: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Texts as values of a type; raises `ArrowInvalid` if they are none."""
    if is_text(kind):
        return texts.cast(kind)
    if pt.is_null(kind) and texts.null_count == len(texts):
        return pa.chunked_array([pa.nulls(len(texts))])
    texts = pc.utf8_trim_whitespace(texts)
    if not pt.is_time(kind):
        return texts.cast(kind)
    for pattern in ("%H:%M", "%H:%M:%S"):
        times = StampSpelling(pattern).parse(texts)
        if times.null_count == texts.null_count:
            return times.cast(kind)
    raise pa.ArrowInvalid(f"must be {kind}")


def write_csv(file: BinaryIO, table: pa.Table, separator: str, header: bool) -> None:
    """Append a table's rows; floats are as short as they can be, missing cells empty, only what must be is quoted.

    Raises `DataError` for a column whose type has no text.
    """
    if header:
        names = quoted(pa.array(table.column_names, pa.large_string()), separator)
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
    return pc.fill_null(quoted(texts, separator) if written else texts, "")


def _fitted_type(column: Column | None, met: pa.DataType) -> pa.DataType:
    """How to read a column of which the first rows look like `met`."""
    if column is None or is_text(fitted := arrow_type(column.dtype)):
        return pa.string()
    if column.kind == "category":
        return met if is_number(met) and not isinstance(column.categories[0], str) else pa.string()
    otherwise_written = column.kind in ("real", "integer") and is_text(met)
    if otherwise_written or any(isinstance(sentinel, str) for sentinel in column.sentinels):
        return pa.string()
    if column.kind == "real":
        return pa.float64()
    if column.kind == "integer":
        return pa.float64() if pt.is_floating(met) else pa.int64()
    if column.kind == "boolean":
        return met if pt.is_integer(met) else pa.bool_()
    if pt.is_temporal(met) or (column.spelling and pt.is_integer(met)):
        return met
    return fitted if pt.is_null(met) else pa.string()


def _regroup(blocks: Iterator[RecordBlock], rows: int) -> Iterator[RecordBlock]:
    """Blocks as such of `rows` each, but the last."""
    waiting: list[RecordBlock] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= rows:
            whole = RecordBlock.joined(waiting)
            for first in range(0, len(whole) - rows + 1, rows):
                yield whole.part(first, rows)
            rest = len(whole) % rows
            waiting = [whole.part(len(whole) - rest, rest)] if rest else []
    if waiting:
        yield RecordBlock.joined(waiting)


def _named(kind: pa.DataType) -> str:
    names = {"double": "a number", "int64": "an integer", "bool": "true or false", "string": "text", "null": "empty"}
    return names.get(str(kind), "a date or time")
