"""Tables, seen as columns: to encoded cells, and back to a table of the same kind."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.errors import DataError
from fivefold.items import Items
from fivefold.tables import frames as table_frames
from fivefold.tables.cells import FITTED, decode_column, decode_type, encode_column
from fivefold.tables.frames import TableKind
from fivefold.tables.schema import TableSchema


@dataclass(frozen=True)
class Table:
    """What the user gave, seen as columns; never changed.

    Attributes
    ----------
    native : the table as it was given
    arrow : its columns
    kind : `pandas`, `polars`, `arrow` or `numpy`
    source : what to call it in messages
    first : number of its first row in messages
    """

    native: Any
    arrow: pa.Table
    kind: TableKind
    source: str = "table"
    first: int = 0

    @classmethod
    def of(cls, data: Any, source: str = "table", first: int = 0) -> Table:
        """A pandas or polars DataFrame, a pyarrow Table, or a 2-D NumPy array, whose columns are called x0, x1, ….

        Raises `DataError` for anything else, for columns of mixed types, and for columns of one name.
        """
        kind = table_frames.kind_of(data, source)
        return cls(data, table_frames.to_arrow(data, kind, source), kind, source, first)

    def __len__(self) -> int:
        return self.arrow.num_rows

    @property
    def names(self) -> tuple[str, ...]:
        """Of all columns."""
        return tuple(self.arrow.column_names)

    def take(self, rows: slice | np.ndarray) -> Table:
        """The table of some rows, by number or by a mask `(n,)`."""
        start = rows.indices(len(self))[0] if isinstance(rows, slice) else 0
        return replace(
            self,
            native=table_frames.take(self.native, self.kind, rows),
            arrow=table_frames.take(self.arrow, "arrow", rows),
            first=self.first + start,
        )

    def cells(self, schema: TableSchema) -> np.ndarray:
        """The schema's columns as encoded cells `(n, d)`, float64; NaN is missing.

        Columns go by their names, those of NumPy arrays by their places. Others are ignored. Categories that were not
        met in the fit get their code, with a warning.

        Raises `DataError` if a column lacks, can't be converted, or has infinite values.
        """
        cells = np.empty((len(self), schema.size))
        unseen = []
        for number, (column, at) in enumerate(zip(schema.columns, self.places(schema), strict=True)):
            values = self.arrow.column(at)
            cells[:, number] = encode_column(values, column, self.source, self.first)
            if column.kind == "category" and len(new := np.flatnonzero(cells[:, number] == len(column.categories))):
                example = values[int(new[0])].as_py()
                unseen.append(f"column {column.name!r} has {len(new)} (such as {str(example)[:80]!r})")
        if unseen:
            warnings.warn(
                f"{self.source}: cells of categories that the model has not met: {', '.join(unseen)}", stacklevel=2
            )
        return cells

    def replace(self, schema: TableSchema, cells: np.ndarray, where: np.ndarray) -> Any:
        """A table of the same kind, columns, types and index that has the encoded `cells` `(n, d)` at `where`.

        All other cells stay as they are, to the bit; also those whose new value is missing or of no known category.
        """
        new = {}
        for number, (column, at) in enumerate(zip(schema.columns, self.places(schema), strict=True)):
            known = ~np.isnan(cells[:, number])
            if column.kind == "category":
                known &= cells[:, number] < len(column.categories)
            rows = where[:, number] & known
            if rows.any():
                new[at] = rows, decode_column(column, cells[rows, number], self.arrow.schema.field(at).type)
        return table_frames.put(self.native, self.kind, new)

    def exact(self, schema: TableSchema) -> tuple[TableKind, pa.Table]:
        """Its kind, and all that it holds: NaN as they are, the index of pandas; the schema's columns by their names."""
        arrow = table_frames.to_exact(self.native, self.kind, self.arrow)
        names = arrow.column_names
        for column, at in zip(schema.columns, self.places(schema), strict=True):
            names[at] = column.name
        return self.kind, arrow.rename_columns(names).replace_schema_metadata(arrow.schema.metadata)

    def like(self, columns: Mapping[str, np.ndarray]) -> Any:
        """A new table of the same kind and index of these columns `(n,)`; for NumPy a 2-D array of float64."""
        return table_frames.like(self.native, self.kind, columns)

    def places(self, schema: TableSchema) -> list[int]:
        """Where the schema's columns are; raises `DataError` if any lacks."""
        if self.kind == "numpy":
            return self._places_by_number(schema)
        places = {name: at for at, name in enumerate(self.names)}
        if lacking := [name for name in schema.names if name not in places]:
            raise DataError(
                f"{self.source}: must have {_list(lacking)} {FITTED}, got {_list(self.names) if places else 'no column'}"
            )
        return [places[name] for name in schema.names]

    def _places_by_number(self, schema: TableSchema) -> list[int]:
        fitted = [*schema.names, *(name for name, _ in schema.carried)]
        width = len(self.names)
        if set(fitted) == {f"x{at}" for at in range(len(fitted))}:
            places, asked = [int(name[1:]) for name in schema.names], len(fitted)
        else:
            places, asked = list(range(schema.size)), schema.size
        if width != asked:
            raise DataError(f"{self.source}: must have {asked} column{'s' * (asked > 1)} {FITTED}, got {width}")
        return places


def decode_rows(schema: TableSchema, cells: np.ndarray) -> pa.Table:
    """Encoded cells `(n, d)` as new rows, of the Arrow types that were fitted."""
    columns = [decode_column(column, cells[:, at], decode_type(column)) for at, column in enumerate(schema.columns)]
    return pa.table(columns, list(schema.names))


def as_items(cells: np.ndarray, schema: TableSchema, source: str) -> Items:
    """Encoded cells `(n, d)` as items `(n, 1, d, 1)`."""
    return Items(cells[:, None, :, None], schema, source)


def _list(names: list[str] | tuple[str, ...], most: int = 12) -> str:
    shown = ", ".join(map(repr, names[:most]))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"column{'s' if len(names) > 1 else ''} {shown}{more}"
