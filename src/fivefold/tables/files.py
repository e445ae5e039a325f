"""Tables in files: .csv, .tsv (.gz too), .parquet, .arrow and .feather, whole or part by part."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import feather

from fivefold.errors import DataError
from fivefold.tables.csv import CsvFile
from fivefold.tables.output import TABLE_ENDINGS, is_table_path
from fivefold.tables.schema import TableSchema
from fivefold.tables.table import Table


class _File(Protocol):
    @property
    def names(self) -> tuple[str, ...] | list[str]: ...

    @property
    def rows(self) -> int | None: ...

    @property
    def schema(self) -> pa.Schema | None: ...

    def read(self) -> pa.Table: ...

    def batches(self, rows: int) -> Generator[pa.RecordBatch]: ...


class TableReader:
    """A table's file, read whole, or part by part as often as wanted; a CSV's columns get the types of `schema`.

    Raises `DataError` if it can't be read, has no rows, or two columns of one name.

    Attributes
    ----------
    path
    names : of its columns
    rows : how many there are, if that is known without reading them, or once all have been read
    """

    def __init__(self, path: str | Path, schema: TableSchema | None = None, batch_rows: int = 65536) -> None:
        self.path = Path(path)
        self.batch_rows = batch_rows
        if not is_table_path(self.path):
            raise DataError(f"{path}: must be a table ({' '.join(TABLE_ENDINGS)})")
        if not self.path.is_file():
            raise DataError(f"{path}: {'is a folder' if self.path.is_dir() else 'no such file'}")
        if self.path.stat().st_size == 0:
            raise DataError(f"{path}: is empty")
        with _errors(self.path):
            self.file = self._open(schema)
            self.names: tuple[str, ...] = tuple(self.file.names)
            self.rows = self.file.rows
        if twice := [name for name in dict.fromkeys(self.names) if self.names.count(name) > 1]:
            raise DataError(f"{path}: columns must have names of their own, got {twice[0]!r} more than once")

    def __iter__(self) -> Iterator[Table]:
        first = 0
        with _errors(self.path), closing(self.file.batches(self.batch_rows)) as batches:
            for part in _regroup(batches, self.file.schema, self.batch_rows):
                yield self.checked(part, first)
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
        with _errors(self.path):
            return self.checked(self.file.read())

    def checked(self, table: pa.Table, first: int = 0) -> Table:
        """Rows of the file from number `first` on as a `Table`; raises `DataError` if there are none."""
        if table.num_rows == 0:
            raise DataError(f"{self.path}: has no rows")
        return Table.of(table, str(self.path), first)

    def _open(self, schema: TableSchema | None) -> _File:
        ending = self.path.suffix.lower()
        if ending == ".parquet":
            return _ParquetFile(self.path)
        return _ArrowFile(self.path) if ending in (".arrow", ".feather") else CsvFile(self.path, schema)


class _ParquetFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        with pq.ParquetFile(path) as file:
            self.schema = file.schema_arrow
            self.names: list[str] = self.schema.names
            self.rows: int | None = file.metadata.num_rows

    def read(self) -> pa.Table:
        with pq.ParquetFile(self._path) as file:
            return file.read()

    def batches(self, rows: int) -> Generator[pa.RecordBatch]:
        with pq.ParquetFile(self._path) as file:
            yield from file.iter_batches(rows)


class _ArrowFile:
    """Arrow's own formats: that for files, that for streams, and the first Feather."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._old = file.read(4) == b"FEA1"
        if self._old:
            table = self.read()
            self.schema, self.rows = table.schema, table.num_rows
        else:
            with self._reader() as reader:
                self.schema = reader.schema
                self.rows = reader.count_rows() if hasattr(reader, "count_rows") else None
        self.names: list[str] = self.schema.names

    def read(self) -> pa.Table:
        if self._old:
            return feather.read_table(self._path)
        with self._reader() as reader:
            return reader.read_all()

    def batches(self, rows: int) -> Generator[pa.RecordBatch]:
        if self._old:
            yield from self.read().to_batches(rows)
            return
        with self._reader() as reader:
            if isinstance(reader, pa.RecordBatchStreamReader):
                yield from reader
            else:
                yield from (reader.get_batch(at) for at in range(reader.num_record_batches))

    def _reader(self) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
        mapped = pa.memory_map(str(self._path))
        if mapped.read(6) == b"ARROW1":
            return pa.ipc.open_file(mapped)
        mapped.seek(0)
        return pa.ipc.open_stream(mapped)


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


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Arrow's errors as ours."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: can't be read as a table, is it damaged? ({reason})") from None
