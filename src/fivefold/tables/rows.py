"""Tables, from files or frames, as items. What reads them is imported when it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fivefold.errors import DataError
from fivefold.items import Items
from fivefold.modality import Schema
from fivefold.tables.schema import TableSchema

if TYPE_CHECKING:
    from fivefold.tables.dataset import Table

TABLE_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".arrow", ".feather")


def is_table_path(path: str | Path) -> bool:
    """Whether the path has the ending of a table's file."""
    return Path(path).name.lower().endswith(TABLE_ENDINGS)


def is_table(source: Any) -> bool:
    """Whether it is a frame, or names a file of one."""
    if isinstance(source, str | Path):
        return is_table_path(source)
    return not isinstance(source, np.ndarray)


def read_rows(source: Any, schema: Schema | None = None, overrides: dict[str, Any] | None = None) -> Items:
    """Rows of a table as items; without a `schema`, it is inferred; see `infer_table_schema` for `overrides`.

    Raises `DataError` if they can't be read, or don't fit the schema.
    """
    if schema is not None and not isinstance(schema, TableSchema):
        raise DataError(f"a table: must be images, {schema.describe()}, as the model was fitted")
    from fivefold.tables.dataset import as_items
    from fivefold.tables.inference import infer_table_schema

    table = open_table(source, schema)
    if schema is None:
        schema = infer_table_schema(table, overrides)
    return as_items(table.cells(schema), schema, table.source)


def open_table(source: Any, schema: TableSchema | None = None) -> Table:
    """A frame, or a file of one, as a `Table`."""
    from fivefold.tables.dataset import Table
    from fivefold.tables.files import read_table

    return read_table(Path(source), schema) if isinstance(source, str | Path) else Table.of(source)
