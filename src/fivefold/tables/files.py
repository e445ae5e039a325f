"""Tables in files, text or columnar, read and written whole or part by part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import feather
from pyarrow import types as pt

from fivefold.atomic import atomic_file, check_free
from fivefold.errors import DataError, UsageError
from fivefold.inputs import check_file
from fivefold.tables.csv import CsvFile, CsvText, write_csv
from fivefold.tables.dialect import COMPRESSED, compressed
from fivefold.tables.schema import TableSchema
from fivefold.tables.sheets import WORKBOOKS, WRITTEN, Sheet, write_workbook
from fivefold.tables.table import Table, decode_rows, laid_out

COLUMNAR = (".parquet", ".arrow", ".feather")
OUTPUT_ENDINGS = (*(text + end for text in (".csv", ".tsv", ".txt") for end in ("", *COMPRESSED)), *COLUMNAR, WRITTEN)
TABLE_ENDINGS = (*OUTPUT_ENDINGS, *WORKBOOKS)
Write = Callable[[Any], object]


_ENDINGS = f".csv, .tsv or .txt (also {', '.join(COMPRESSED)}), .parquet, .arrow, .feather or .xlsx"


_FOREIGN = {
    **dict.fromkeys((".xlsb", ".ods"), "a spreadsheet"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "JSON"),
    **dict.fromkeys((".sqlite", ".db", ".sql"), "a database"),
    **dict.fromkeys((".sav", ".dta", ".sas7bdat", ".rds", ".rdata"), "a file of a statistics package"),
    **dict.fromkeys((".pdf", ".doc", ".docx"), "a document"),
    **dict.fromkeys((".h5", ".hdf5", ".pkl", ".pickle", ".orc", ".avro"), "of a format that is not read"),
}


def is_foreign(path: str | Path) -> bool:
    """Whether the path has the ending of what may hold a table, and is not read."""
    return Path(path).suffix.lower() in _FOREIGN


def is_table_path(path: str | Path) -> bool:
    """Whether the path has the ending of a table's file."""
    return Path(path).name.lower().endswith(TABLE_ENDINGS)


def is_table_source(path: str | Path) -> bool:
    """The same, or of an archive of one file, which is then taken for text."""
    return is_table_path(path) or Path(path).suffix.lower() == ".zip"


def check_text(source: Any, dialect: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a dialect of what is no file of a table."""
    is_file = isinstance(source, str | Path) and is_table_source(source)
    if not is_file and (given := sorted(name for name, value in dialect.items() if value is not None)):
        raise UsageError(f"`{given[0]}` goes with {'workbooks' if given[0] == 'sheet' else 'files of text'}")


@dataclass(frozen=True)
class TableOutput:
    """A place for a table, checked before any work is done."""

    path: Path

    @classmethod
    def at(cls, path: str | Path, force: bool = False, flag: str = "output") -> TableOutput:
        """Raises `UsageError`, which names `flag`, if `path` exists (without `force`) or can't be written by its ending."""
        path = Path(path)
        if not path.name.lower().endswith(OUTPUT_ENDINGS):
            raise UsageError(f"`{flag}` must be {_ENDINGS}; got {path}")
        check_free(path, force)
        if path.is_dir():
            raise UsageError(f"{path} is a folder; give another `{flag}`")
        return cls(path)

    def write(self, tables: Iterable[pa.Table]) -> None:
        """Write tables one below the other; see `writer`."""
        with self.writer() as write:
            for table in tables:
                write(table)

    def write_new(
        self, schema: TableSchema, values: np.ndarray, labels: Mapping[str, np.ndarray], record: Mapping[str, Any]
    ) -> None:
        """New rows `(n, 1, d, 1)`, encoded: as text spelled as the fit's were, else of the types of the layout in `record`."""
        layout = None if self.is_text else record.get("layout")
        table = decode_rows(schema, schema.rounded(values[:, 0, :, 0]), spelled=self.is_text or layout is not None)
        self.write([table if layout is None else laid_out(table, layout)])

    @property
    def is_text(self) -> bool:
        """Whether what is written there is text."""
        return self.path.suffix.lower() not in (*COLUMNAR, WRITTEN)

    def continues(self, source: CsvFile | Sheet) -> bool:
        """Whether a table that was read from this can be written in the same dialect, or as the same workbook."""
        if isinstance(source, Sheet):
            return self.path.suffix.lower() == source.path.suffix.lower() == WRITTEN
        return self.is_text and (_separator(self.path) == "," or source.dialect.separator == "\t")

    @contextmanager
    def writer(self, source: CsvFile | Sheet | None = None) -> Iterator[Write]:
        """A function that takes tables, to stand one below the other; the first one's types and metadata hold for all.

        With a `source` that is text it takes rows of that file, UTF-8; with a sheet its new cells.

        Raises `DataError` if there are none, or they don't fit each other or the kind of file.
        """
        first: Any = None
        write: Write | None = None
        with atomic_file(self.path) as temporary, temporary.open("wb") as file, ExitStack() as stack:

            def add(rows: Any) -> None:
                nonlocal first, write
                if write is None and source is not None:
                    write = (
                        source.edit(file, stack) if isinstance(source, Sheet) else self._open_text(file, source, stack)
                    )
                elif write is None:
                    first, write = rows.schema, self._open(file, rows.schema, stack)
                write(rows if first is None else self._fit(rows, first))

            yield add
            if write is None:
                raise DataError(f"{self.path}: there is nothing to write")

    def _open(self, file: BinaryIO, schema: pa.Schema, stack: ExitStack) -> Write:
        ending = self.path.suffix.lower()
        if ending == ".parquet":
            parquet: Write = stack.enter_context(pq.ParquetWriter(file, schema)).write_table
            return parquet
        if ending == WRITTEN:
            return write_workbook(file, self.path, schema.names, stack)
        if ending in (".arrow", ".feather"):
            write: Write = stack.enter_context(pa.ipc.new_file(file, schema)).write_table
            return _as_one(write, stack) if any(pt.is_dictionary(field.type) for field in schema) else write
        opened, separator = compressed(file, self.path, stack), _separator(self.path)
        write_csv(opened, schema.empty_table(), separator, header=True)
        return lambda table: write_csv(opened, table, separator, header=False)

    def _open_text(self, file: BinaryIO, text: CsvFile, stack: ExitStack) -> Write:
        opened = compressed(file, self.path, stack)
        opened.write(text.dialect.mark + text.recoded(text.head))
        return lambda rows: opened.write(text.recoded(rows))

    def _fit(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        try:
            return table.cast(schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise DataError(
                f"{self.path}: rows must be of the first ones' types: {str(error).splitlines()[0]}"
            ) from None


def _as_one(write: Write, stack: ExitStack) -> Write:
    """All tables as one at the end: Arrow's files hold one dictionary for each column."""
    tables: list[pa.Table] = []
    stack.callback(lambda: write(pa.concat_tables(tables).unify_dictionaries()))
    return tables.append


def _separator(path: Path) -> str:
    """Of cells in a file of this ending."""
    return "\t" if ".tsv" in (suffix.lower() for suffix in path.suffixes[-2:]) else ","


class TableReader:
    """A table's file, read whole, or part by part as often as wanted; a CSV's columns get the types of `schema`.

    Other parameters are those of `CsvFile`.

    Raises
    ------
    DataError : if it can't be read, has no rows, or two columns of one name
    UsageError : for parameters that it has no use for

    Attributes
    ----------
    path
    names : of its columns
    rows : how many there are, if that is known without reading them, or once all have been read
    origin : the file, if it is text, or the sheet that is read
    """

    def __init__(
        self, path: str | Path, schema: TableSchema | None = None, batch_rows: int = 65536, **reading: Any
    ) -> None:
        self.path = Path(path)
        self.batch_rows = batch_rows
        if not is_table_source(self.path):
            got = f", got {_FOREIGN[self.path.suffix.lower()]}: save it as .csv or .parquet" if is_foreign(path) else ""
            got = ", got a folder" if self.path.is_dir() else got
            raise DataError(f"{path}: must be a table ({_ENDINGS}){got}")
        if check_file(self.path) == 0:
            raise DataError(f"{path}: is empty")
        given = {name: value for name, value in reading.items() if value}
        self.origin = _open_origin(self.path, schema, given)
        self.rows: int | None = None
        if isinstance(self.origin, CsvFile):
            self.names = self.origin.names
        elif isinstance(self.origin, Sheet):
            self.names, self.rows = tuple(self.origin.table.column_names), self.origin.table.num_rows
        else:
            with _errors(self.path), _columnar(self.path, batch_rows) as (found, self.rows, _):
                self.names = tuple(found.names)
        if twice := [name for name, times in Counter(self.names).items() if times > 1]:
            raise DataError(f"{path}: columns must have names of their own, got {twice[0]!r} more than once")

    def __iter__(self) -> Iterator[Table]:
        first = 0
        for part, text in self.origin.blocks(self.batch_rows) if isinstance(self.origin, CsvFile) else self._batches():
            yield self._checked(part, first, text)
            first += part.num_rows
        if first == 0:
            raise DataError(f"{self.path}: has no rows")
        self.rows = first

    @property
    def source(self) -> str:
        """What to call the table in messages."""
        return str(self.path)

    def read(self) -> Table:
        """The whole file."""
        if isinstance(self.origin, CsvFile):
            table, text = self.origin.read()
            return self._checked(table, text=text)
        if isinstance(self.origin, Sheet):
            return self._checked(self.origin.table)
        with _errors(self.path), _columnar(self.path, self.batch_rows) as (schema, _, batches):
            return self._checked(pa.Table.from_batches(batches, schema))

    def _checked(self, table: pa.Table, first: int = 0, text: CsvText | None = None) -> Table:
        """Rows of the file from number `first` on; raises `DataError` if there are none."""
        if table.num_rows == 0:
            raise DataError(f"{self.path}: has no rows")
        return replace(Table.of(table, str(self.path), first, text), **self._found())

    def _found(self) -> dict[str, Any]:
        """How the file is read, and what may be meant otherwise."""
        if self.origin is None:
            return {}
        found = self.origin.dialect if isinstance(self.origin, CsvFile) else self.origin
        return {"how": found.describe(), "doubts": found.doubts, "file": self.origin}

    def _batches(self) -> Iterator[tuple[pa.Table, None]]:
        if isinstance(self.origin, Sheet):
            table = self.origin.table
            yield from ((table.slice(at, self.batch_rows), None) for at in range(0, table.num_rows, self.batch_rows))
            return
        with _errors(self.path), _columnar(self.path, self.batch_rows) as (schema, _, batches):
            yield from ((part, None) for part in _regroup(batches, schema, self.batch_rows))


def _open_origin(path: Path, schema: TableSchema | None, given: dict[str, Any]) -> CsvFile | Sheet | None:
    """The text or the sheet in a file, read as is `given`; None for columnar files.

    Raises `UsageError` for what is given and does not go with the file.
    """
    ending = path.suffix.lower()
    takes = {"sheet", "header"} if ending in WORKBOOKS else set() if ending in COLUMNAR else given.keys() - {"sheet"}
    if refused := sorted(given.keys() - takes - {"texts"}):
        kind = "workbooks" if refused[0] == "sheet" else "tables that are text"
        raise UsageError(f"`{refused[0]}` goes with {kind}, not with {path}")
    if ending in COLUMNAR:
        return None
    if ending not in WORKBOOKS:
        return CsvFile(path, schema, **given)
    names = () if schema is None else schema.names
    return Sheet.read(path, names, **{name: value for name, value in given.items() if name != "texts"})


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Arrow's errors as ours."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: can't be read as a table, is it damaged? ({reason})") from None


@contextmanager
def _columnar(path: Path, batch_rows: int) -> Iterator[tuple[pa.Schema, int | None, Iterator[pa.RecordBatch]]]:
    """Parquet, or one of Arrow's own formats: that for files, that for streams, and the first Feather.

    Arrow takes offsets and codes on trust, and reads anywhere in memory by them, so batches are validated.
    """
    if path.suffix.lower() == ".parquet":
        with pq.ParquetFile(path) as file:
            yield file.schema_arrow, file.metadata.num_rows, map(_validated, file.iter_batches(batch_rows))
        return
    mapped = pa.memory_map(str(path))
    magic = mapped.read(6)
    mapped.seek(0)
    if magic.startswith(b"FEA1"):
        table = feather.read_table(path)
        yield table.schema, len(table), map(_validated, table.to_batches(batch_rows))
    elif magic == b"ARROW1":
        with pa.ipc.open_file(mapped) as reader:
            rows = reader.count_rows() if hasattr(reader, "count_rows") else None
            yield reader.schema, rows, (_validated(reader.get_batch(at)) for at in range(reader.num_record_batches))
    else:
        with pa.ipc.open_stream(mapped) as reader:
            yield reader.schema, None, map(_validated, reader)


def _validated(batch: pa.RecordBatch) -> pa.RecordBatch:
    batch.validate(full=True)
    return batch


def _regroup(batches: Iterator[pa.RecordBatch], schema: pa.Schema | None, rows: int) -> Iterator[pa.Table]:
    """Batches as tables of `rows` each, but the last."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(waiting, schema)
            yield table.slice(0, rows)
            waiting = table.slice(rows).to_batches()
            count -= rows
    if count:
        yield pa.Table.from_batches(waiting, schema)
