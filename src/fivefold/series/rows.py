"""Series as rows of tables, part by part, and back: what archives hold of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.errors import DataError
from fivefold.series.dataset import _is_table as is_table
from fivefold.series.dataset import _table as open_table
from fivefold.series.dataset import flattened
from fivefold.series.schema import SeriesSchema
from fivefold.tables.files import TableReader
from fivefold.tables.frames import TableKind
from fivefold.tables.table import Table

_NUMBER = "series"  # column that says of which series a row of an array is


@dataclass(frozen=True)
class SeriesRows:
    """Series as rows of tables.

    Attributes
    ----------
    parts : the rows, with what kind of table they are from
    rows : how many there are, if that is known
    bytes : of what they are from
    ids : column that says of which series a row is, or None
    form : what the rows are to become again, in plain JSON values; empty for tables. `shape` of an array, or None for a list
        of arrays; `sound`: its rate and width
    """

    parts: Iterable[tuple[TableKind, pa.Table]]
    rows: int | None
    bytes: int
    ids: str | None
    form: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Any, schema: SeriesSchema, rows: int) -> SeriesRows:
        """See `read_series` for sources; `rows` of a part.

        Raises `DataError` if they can't be read, or have other channels.
        """
        channels = schema.channels
        if is_table(source) and not isinstance(source, list | tuple):
            if isinstance(source, str | Path):
                reader = TableReader(source, channels, rows)
                parts: Iterable[Table] = reader
                count, size, names = reader.rows, reader.path.stat().st_size, reader.names
            else:
                table = open_table(source, channels)
                parts, count, size, names = [table], len(table), table.arrow.nbytes, table.names
            ids = schema.ids if schema.ids in names else None
            return cls((part.exact(channels) for part in parts if len(part)), count, size, ids)
        series = flattened(source)
        if series.flat.shape[1] != channels.size:
            raise DataError(
                f"{series.source}: must have {channels.size} channel(s) as the model was fitted, got {series.flat.shape[1]}"
            )
        form = {"shape": series.shape, "sound": series.sound}
        name = _free(_NUMBER, channels.names)
        return cls(
            _numbered(series.flat, series.lengths, name, schema, rows), len(series.flat), series.flat.nbytes, name, form
        )


def _numbered(
    flat: np.ndarray, lengths: np.ndarray, name: str, schema: SeriesSchema, rows: int
) -> Iterator[tuple[TableKind, pa.Table]]:
    ends = np.cumsum(lengths)
    for first in range(0, len(flat), rows):
        part = flat[first : first + rows]
        number = np.searchsorted(ends, np.arange(first, first + len(part)), side="right").astype(np.uint32)
        columns = dict(zip(schema.channels.names, map(pa.array, np.ascontiguousarray(part.T)), strict=True))
        yield "numpy", pa.table({name: pa.array(number), **columns})


def _free(name: str, taken: Iterable[str]) -> str:
    while name in taken:
        name += "_"
    return name
