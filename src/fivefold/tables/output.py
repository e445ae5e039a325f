"""Tables to files."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types as pt

from fivefold.atomic import atomic_file, check_free
from fivefold.errors import DataError, UsageError
from fivefold.tables.csv import separator, write_csv
from fivefold.tables.rows import TABLE_ENDINGS, is_table_path


@dataclass(frozen=True)
class TableOutput:
    """A place for a table, checked before any work is done."""

    path: Path

    @classmethod
    def at(cls, path: str | Path, force: bool = False, flag: str = "output") -> TableOutput:
        """Raises `UsageError`, which names `flag`, if `path` exists (without `force`) or can't be written by its ending."""
        path = Path(path)
        if not is_table_path(path):
            raise UsageError(f"--{flag} must be {', '.join(TABLE_ENDINGS[:-1])} or {TABLE_ENDINGS[-1]}; got {path}")
        check_free(path, force)
        if path.is_dir():
            raise UsageError(f"{path} is a folder; give another --{flag}")
        return cls(path)

    def write(self, tables: Iterable[pa.Table]) -> None:
        """Write tables one below the other; the first one's types and metadata hold for all.

        Raises `DataError` if there are none, or they don't fit each other or the kind of file.
        """
        parts = iter(tables)
        first = next(parts, None)
        if first is None:
            raise DataError(f"{self.path}: there is nothing to write")
        fitting = chain([first], (self._fit(part, first.schema) for part in parts))
        with atomic_file(self.path) as temporary, temporary.open("wb") as file:
            ending = self.path.suffix.lower()
            if ending == ".parquet":
                with pq.ParquetWriter(file, first.schema) as writer:
                    for part in fitting:
                        writer.write_table(part)
            elif ending in (".arrow", ".feather"):
                with pa.ipc.new_file(file, first.schema) as writer:
                    for part in _whole_dictionaries(fitting, first.schema):
                        writer.write_table(part)
            elif ending == ".gz":
                with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped:
                    self._write_csv(cast(BinaryIO, zipped), fitting)
            else:
                self._write_csv(file, fitting)

    def _write_csv(self, file: BinaryIO, tables: Iterable[pa.Table]) -> None:
        for number, table in enumerate(tables):
            write_csv(file, table, separator(self.path), header=number == 0)

    def _fit(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        try:
            return table.cast(schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise DataError(
                f"{self.path}: rows must be of the first ones' types: {str(error).splitlines()[0]}"
            ) from None


def _whole_dictionaries(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """The tables, or all as one if there are dictionaries: Arrow's files hold one for each column."""
    if any(pt.is_dictionary(field.type) for field in schema):
        yield pa.concat_tables(tables).unify_dictionaries()
    else:
        yield from tables
