"""Rows of tables in Arrow's record batches."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from fivefold.tables.cells import arrow_type
from fivefold.tables.schema import TableSchema


def read(schema: TableSchema, batch: pa.RecordBatch) -> pa.Table:
    """All columns; those that are not modelled are left alone."""
    return pa.Table.from_batches([batch])


def fields(schema: TableSchema, *, replace: bool) -> list[pa.Field]:
    """The modelled columns, of the types that were fitted; or numbers about their cells, float64."""
    return [pa.field(column.name, arrow_type(column.dtype) if replace else pa.float64()) for column in schema.columns]


def columns(schema: TableSchema, found: pa.Table) -> Mapping[str, pa.ChunkedArray]:
    """The modelled columns by name."""
    return {name: found[name] for name in schema.names}
