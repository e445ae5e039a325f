"""Tables to files."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types as pt

from fivefold.atomic import atomic_file, check_free
from fivefold.errors import DataError, UsageError
from fivefold.tables.csv import separator, write_csv
from fivefold.tables.schema import TableSchema
from fivefold.tables.table import decode_rows

TABLE_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".arrow", ".feather")
Write = Callable[[pa.Table], None]


def is_table_path(path: str | Path) -> bool:
    """Whether the path has the ending of a table's file."""
    return Path(path).name.lower().endswith(TABLE_ENDINGS)


@dataclass(frozen=True)
class TableOutput:
    """A place for a table, checked before any work is done."""

    path: Path

    @classmethod
    def at(cls, path: str | Path, force: bool = False, flag: str = "output") -> TableOutput:
        """Raises `UsageError`, which names `flag`, if `path` exists (without `force`) or can't be written by its ending."""
        path = Path(path)
        if not is_table_path(path):
            raise UsageError(f"`{flag}` must be {', '.join(TABLE_ENDINGS[:-1])} or {TABLE_ENDINGS[-1]}; got {path}")
        check_free(path, force)
        if path.is_dir():
            raise UsageError(f"{path} is a folder; give another `{flag}`")
        return cls(path)

    def write(self, tables: Iterable[pa.Table]) -> None:
        """Write tables one below the other; see `writer`."""
        with self.writer() as write:
            for table in tables:
                write(table)

    def write_new(self, schema: TableSchema, values: np.ndarray, labels: Mapping[str, np.ndarray]) -> None:
        """New rows `(n, 1, d, 1)`, encoded."""
        self.write([decode_rows(schema, schema.snap(values)[:, 0, :, 0])])

    @contextmanager
    def writer(self) -> Iterator[Write]:
        """A function that takes tables, to stand one below the other; the first one's types and metadata hold for all.

        Raises `DataError` if there are none, or they don't fit each other or the kind of file.
        """
        first: pa.Schema | None = None
        write: Write | None = None
        with atomic_file(self.path) as temporary, temporary.open("wb") as file, ExitStack() as stack:

            def add(table: pa.Table) -> None:
                nonlocal first, write
                if write is None:
                    first, write = table.schema, self._open(file, table.schema, stack)
                write(self._fit(table, first))

            yield add
            if write is None:
                raise DataError(f"{self.path}: there is nothing to write")

    def _open(self, file: BinaryIO, schema: pa.Schema, stack: ExitStack) -> Write:
        ending = self.path.suffix.lower()
        if ending == ".parquet":
            return stack.enter_context(pq.ParquetWriter(file, schema)).write_table
        if ending in (".arrow", ".feather"):
            write = stack.enter_context(pa.ipc.new_file(file, schema)).write_table
            return _as_one(write, stack) if any(pt.is_dictionary(field.type) for field in schema) else write
        if ending == ".gz":
            file = cast(BinaryIO, stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0)))
        write_csv(file, schema.empty_table(), separator(self.path), header=True)
        return lambda table: write_csv(file, table, separator(self.path), header=False)

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
